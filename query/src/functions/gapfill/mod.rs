//! `time_bucket_gapfill`: grouping by time bucket with a row for every bucket of a range.
//!
//! ```text
//! SELECT time_bucket_gapfill('1 minute', time) AS minute, node, avg(x), locf(avg(x)) ...
//! GROUP BY minute, node
//!
//! Projection  minute, node, avg(x), locf 0
//!   GapFill   for each node the missing minutes; fills "locf 0"
//!     Projection  minute, node, avg(x), avg(x) AS "locf 0"
//!       Aggregate  date_bin('1 minute', time), node; avg(x)      HAVING stands here too
//! ```
//! An analyzer rule plans it so (`rule`), with the range from the call or from WHERE (`bounds`).
//! The operator (`exec`) takes rows by key and bucket, cuts them into series (`filler`) and fills
//! these (`series`), so that it holds the rows of one series at a time.

mod bounds;
mod call;
mod exec;
mod filler;
mod node;
mod rule;
mod series;

pub(super) use call::{Bucket, Filled};
pub(super) use node::GapFillPlanner;
pub(super) use rule::PlanGapFill;

/// How a column gets its values in buckets that were missing, or where it was NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fill {
    /// The last value before.
    Locf,
    /// Between the neighbours with a value, linear in time.
    Interpolate,
}

impl Fill {
    const fn name(self) -> &'static str {
        match self {
            Self::Locf => "locf",
            Self::Interpolate => "interpolate",
        }
    }
}
