//! Warpline's storage: a write-ahead log and buffer in front of Parquet files in a Delta table.
//!
//! Promises: what was acknowledged as durable survives `kill -9` and power loss of a machine whose
//! disk survives; each acknowledged row is in every later snapshot exactly once; a log segment is
//! deleted only after the tables cover it.

mod buffer;
mod error;
mod foreign;
mod handle;
#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "the writer begins to use it"))]
mod log;
mod snapshot;
#[allow(dead_code, reason = "the writer that commits through it comes next")]
mod store;
#[allow(dead_code, reason = "the writer that commits through it comes next")]
mod table;

pub mod model;

pub use buffer::BufferSlice;
pub use error::{ErrorKind, StorageError};
pub use foreign::ForeignParquet;
pub use handle::{Acknowledged, Admission, Limits, Metrics, Storage, StorageOptions};
pub use snapshot::{DataFile, FileKind, FileOrder, Snapshot, TableSnapshot, TimeRange};
