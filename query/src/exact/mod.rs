//! Sums and averages that are exact: `sum` and `avg` over integers and scaled fields.
//!
//! DataFusion's own sum of Int64 wraps silently, its sum of a narrow decimal overflows silently
//! and its sum of doubles depends on their order. Here a scaled double is turned back into the
//! stored integer, integers are added in 128 bits, and the answer is rounded once at the end; so
//! it is the same in any order, over any files, and equals what another reader of the table gets.

mod accumulate;
mod aggregate;
mod groups;
mod lineage;
mod rounding;
mod rule;

pub(crate) use accumulate::Total;
pub use aggregate::{Ask, ExactAggregate};
pub(crate) use aggregate::{Measure, bigint};
pub(crate) use lineage::scaled_expr;
pub(crate) use rounding::{power_of_ten, ratio, recover};
pub use rule::ExactSums;

#[cfg(test)]
mod tests;
