//! `increase`, `delta` and `rate`: what counters and gauges did from sample to sample.
//!
//! ```text
//! series    the rows that agree in the keys; of one of our tables, its identity tags
//! sample    a row of the series with a value and a time
//! step      from a sample to the next in time; it belongs to the row of the later one
//!
//! increase  sum of the steps, each v - p, or v where v < p: the counter began anew at zero
//! delta     sum of the steps, each v - p
//! rate      increase / seconds of the steps, for each series; then summed over the series
//! ```
//! Steps are taken over all rows that reach the aggregate, before they are grouped: a bucket holds
//! the step that leads into it, and neighbouring buckets add up to the whole. So these aggregates
//! are more than a function of their group's rows, and a plan keeps that in three places:
//!
//! ```text
//! increase(v)                  as written
//!   | SeriesArguments          analyzer: adds the time and identity columns of v's table
//! increase(v, time, key...)    an aggregate like any other, while the optimizer works;
//!   | FiltersAboveCounters     optimizer: no HAVING sinks below it, where it would take samples
//!   | LowerCounters            optimizer, last: computes steps below the aggregate
//! sum(increase_step(v, time) OVER (PARTITION BY key... ORDER BY time))
//! ```
//! Steps of integers and scaled fields are differences of the stored integers, and summed exactly.

mod barrier;
mod call;
mod function;
mod lower;
mod rate;
mod series;
mod step;

pub(super) use barrier::FiltersAboveCounters;
pub(super) use call::SeriesArguments;
pub(super) use function::time_type;
pub(crate) use function::{Counter, Kind};
pub(super) use lower::LowerCounters;
