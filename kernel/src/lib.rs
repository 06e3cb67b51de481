//! Warpline's kernel: slices in, facts and buckets out.
//!
//! A *stretch* is one series' rows in ascending time: a slice of times, and for each column a slice
//! of values with an optional bitmap. [`Edges`] says which rows each bucket of a [`Grid`] holds;
//! [`reduce`], [`bounds`], [`increase`] and [`m4`] turn a column into one entry a bucket.
//!
//! What holds everywhere:
//! - Integers are exact: sums and increases have a type that no column overflows.
//! - NaN, whatever its sign and payload, is the largest `f64`: the max of a bucket with a NaN is
//!   NaN, its min ignores it unless there is nothing else. A NaN answer has the bits
//!   `0x7ff8_0000_0000_0000`, also as a sum.
//! - -0.0 is below 0.0 to min and max. A sum is never -0.0.
//! - `f64` sums are made in eight lanes that begin at 0.0: the value at row `k` of a bucket is added
//!   to lane `k mod 8`, and a row without a value adds nothing. The sum is
//!   `((l0 + l4) + (l2 + l6)) + ((l1 + l5) + (l3 + l7))`. No multiply-add is fused.
//! - So one slice gives the same bits on every machine, whichever instructions it has.
//!
//! It knows nothing of tables, files or SQL, and depends on nothing.

// Generic code gets the instructions of the function it is inlined into, and no others.
#![allow(clippy::inline_always)]

mod buckets;
mod cadence;
mod counter;
mod dispatch;
mod edges;
mod grid;
mod lanes;
#[cfg(test)]
mod naive;
mod order;
mod read;
mod reduce;
#[cfg(test)]
mod tests;
mod validity;
mod value;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use edges::Edges;
pub use grid::Grid;
pub use order::{extremes, strictly_increasing};
pub use read::read;
pub use reduce::{M4Rows, NO_ROW, Reduced, bounds, increase, m4, reduce};
pub use validity::Validity;
pub use value::Value;

/// The instructions this process chose: `avx512`, `avx2`, `neon` or `scalar`.
pub fn instruction_set() -> &'static str {
    dispatch::path().name
}
