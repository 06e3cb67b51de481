//! Rollups: rows of raw tables summed up by minute and hour, as tables of their own.
//!
//! Pure functions from sorted batches to sorted batches; nothing here reads a file or a clock.
//! docs/formats/rollup.md says what each column holds.
//!
//! ```text
//! tier      which tiers there are, and the schema of a tier's table
//! columns   which column of a tier holds what of a raw field
//! reduce    raw rows -> rows of a tier
//! combine   rows of a tier -> rows of a wider one
//! compare   rows of a tier against what they should be
//! ```
//!
//! Promises: combining rows of a tier gives what reducing the raw rows gives, to the bit for all
//! but totals of doubles, which are the same up to the order of additions. What a column cannot
//! hold is NULL, never wrong.

mod cells;
mod columns;
mod combine;
mod compare;
mod cut;
mod lane;
mod reduce;
mod table;
mod tags;
#[cfg(test)]
mod tests;
mod tier;
mod whole;

pub use columns::{FieldColumns, Kept};
pub use combine::{Combine, Combiner};
pub(crate) use compare::{Compared, compare};
pub use reduce::{Reduce, Reducer};
pub use tier::{FieldKinds, TIERS, Tier, as_begun, tier_schema};
