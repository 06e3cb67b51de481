//! The last row of every series of a table, without reading its history.
//!
//! Promises: for each identity the row of the greatest time in the snapshot, with the last write
//! of each attribute and field within that key: what
//! `SELECT DISTINCT ON (identity) * FROM t ORDER BY identity, time DESC` gives over the same
//! snapshot. Rows older than their series' newest change nothing.
//!
//! ```text
//! files        LatestRows: the row of each series, copied       as a flush's rows pass into files
//! generations  Heads: the place of each series' newest row      looked for when asked, and kept
//! Latest       both, merged by identity: a newer time replaces, an equal one adds its writes
//! ```
//! A write costs nothing: buffered blocks are looked at by the first reader after them, each
//! once. No row in `LatestRows` holds a block or a file.

mod heads;
mod kept;
mod passing;
mod picks;
mod rows;
mod stored;

pub(crate) use heads::{Heads, Place};
pub(crate) use kept::{LatestRows, Rows};
pub(crate) use passing::Passing;
pub(crate) use picks::Picks;
pub(crate) use rows::Source;
pub(crate) use stored::StoredLatest;

pub use rows::Latest;
