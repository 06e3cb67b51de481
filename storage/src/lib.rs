//! Warpline's storage: a write-ahead log and buffer in front of Parquet files in a Delta table.
//!
//! Promises: what was acknowledged as durable survives `kill -9` and power loss of a machine whose
//! disk survives; each acknowledged row is in every later snapshot exactly once; a log segment is
//! deleted only after the tables cover it.

mod buffer;
mod error;
mod flush;
mod foreign;
mod handle;
mod log;
mod metrics;
mod snapshot;
mod state;
mod store;
mod table;
mod writer;

pub mod model;

pub use buffer::BufferSlice;
pub use error::{ErrorKind, StorageError};
pub use foreign::ForeignParquet;
pub use handle::{Acknowledged, Admission, Limits, Storage, StorageOptions};
pub use metrics::Metrics;
pub use snapshot::{DataFile, FileKind, FileOrder, Snapshot, TableSnapshot, TimeRange};
