//! The words every room shares: what a table, a series, a block of rows and a batch are.
//!
//! They live in storage because storage decides what is valid. Nothing here does I/O.
//!
//! ```text
//! Layout   what a producer says once: table, tag names, columns with types, its series
//! Block    rows under a layout, column-major, as bytes: the same bytes on the wire, in the
//!          log and in the buffer (docs/formats/block.md)
//! Batch    blocks of one producer under one sequence number: taken whole, exactly once
//! ```

mod batch;
mod block;
mod builder;
mod field_type;
mod layout;
mod schema;

pub use batch::{Batch, ProducerId};
pub use block::{Block, BlockError, MAX_BLOCK_ROWS};
pub use builder::BlockBuilder;
pub(crate) use field_type::MAX_DIGITS;
pub use field_type::{FieldType, Value, ValueRefusal};
pub(crate) use layout::Names;
pub use layout::{Column, Layout, LayoutError, MAX_NAME_BYTES, MAX_TAG_BYTES, Series};
pub(crate) use schema::tag_type;
pub use schema::{Field, SchemaConflict, TableSchema};

use std::sync::Arc;

/// A point in time: microseconds since the Unix epoch, UTC.
pub type Timestamp = i64;

/// The ordinal of a batch in one log: 1 is the first batch the log ever took. 0 means "none yet".
pub type Position = u64;

/// A producer's own count of its batches: 1 is the first. 0 means "none yet".
pub type Sequence = u64;

/// A table's dense number for an identity, valid for one open store.
pub type SeriesId = u32;

/// The values of a series' identity tags, in the order of the table's tag names.
pub type Identity = Vec<Arc<str>>;
