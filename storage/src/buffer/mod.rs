//! Rows that are durable in the log and not yet in files.
//!
//! The buffer holds the log's own bytes: a block is copied once, into its commit group, and read
//! from there by queries and by the flush. Nothing is sorted or decoded until somebody asks.
//!
//! ```text
//! TableState     sealed generation (being flushed)  |  active generation (appended to)
//! Generation     chunks of blocks in log order; full chunks never change
//! BufferSlice    the chunks of both at one instant: what a snapshot holds
//! scan           blocks -> rows by identity and time, one per key -> record batches
//! latest         the newest row of each series
//! ```

mod budget;
mod columns;
mod fill;
mod generation;
mod latest;
mod rows;
mod scan;
mod slice;
#[cfg(test)]
mod tests;

pub(crate) use budget::{Budget, Reservation};
pub(crate) use generation::{
    Buffered, Generation, LayoutEntry, MICROSECONDS_PER_DAY, Newest, memory_of,
};
pub(crate) use latest::GenerationLatest;
pub use rows::RowOrder;
pub(crate) use scan::{Keep, Scan};
pub use slice::{BufferSlice, TagValues};
