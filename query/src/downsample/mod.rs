//! Downsampling: aggregates over buckets of time and tags, computed on sorted rows by the kernel.
//!
//! ```text
//! Aggregate                     DownsampleExec
//!   Filter             ->         row groups of files, chunk by chunk
//!     TableScan                   buffer, resolved rows (plans)
//! ```
//! Rows of a series are sorted by time, so a bucket is a slice and its answer a reduction over the
//! slice; tags lie in runs, so a row is never hashed. The rule takes an aggregate only where the
//! answer is the one that the plan it replaces would give; any other keeps that plan.
//!
//! | file | what it is |
//! |---|---|
//! | `rule` | finds aggregates that can be taken, and says what they ask (`question`) |
//! | `bucket` | the grid behind the ways people write a bucket |
//! | `aggregates` | which aggregate functions, over which columns |
//! | `node`, `planner` | the aggregate in a logical plan, and on its way to an operator |
//! | `exec` | the operator: work shared out among threads |
//! | `units` | what there is to read, cut into units |
//! | `piece` | sorted rows in memory, cut into stretches of one series |
//! | `lane` | the number types that columns are stored in |
//! | `quantile` | `percentile_cont` of kept values |
//! | `route` | which stretches of time rollups answer for |
//! | `rolled` | rows of a rollup as partial buckets |
//! | `partial` | buckets of stretches, not combined yet |
//! | `combine`, `answer` | equal buckets of equal groups become one row of the answer |

mod aggregates;
mod answer;
mod bucket;
mod combine;
mod exec;
mod groups;
mod lane;
mod node;
mod partial;
mod piece;
mod planner;
mod quantile;
mod question;
mod rolled;
mod route;
mod rule;
mod units;

pub use exec::DownsampleExec;
pub(crate) use node::DownsampleNode;
pub(crate) use planner::DownsamplePlanner;
pub(crate) use route::UseRollups;
pub(crate) use rule::DownsampleRule;
