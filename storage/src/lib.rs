//! Warpline's storage: a write-ahead log and buffer in front of Parquet files in a Delta table.
//!
//! Promises: what was acknowledged as durable survives `kill -9` and power loss of a machine whose
//! disk survives; each acknowledged row is in every later snapshot exactly once; a log segment is
//! deleted only after the tables cover it.
//!
//! # The way of one sample
//!
//! 1. An agent packs a tick into a frame and streams it: `warpline_ingest::StreamClient::send`.
//! 2. `ingest` verifies it ([`model::Block::parse`]) and makes a [`model::Batch`], under a layout
//!    that [`Storage::admit`] took.
//! 3. [`Storage::append`] waits for room in the memory budget and hands the batch to the writer
//!    task (`writer::Writer::run`), which gives it a position (`log::Log::stage`).
//! 4. `log::Log::commit` writes and syncs the group; `state::State::publish` puts the same bytes
//!    into the table's buffer (`buffer::Generation::push`) and tells the producer: [`Acknowledged`].
//! 5. `flush::Flusher::flush` seals the buffer, reads it in key order (`buffer::Scan`), writes
//!    Parquet (`table::Table::write`), commits files and covered position in one Delta commit
//!    (`table::Table::commit`), publishes both in one step (`state::TableState::flushed`), and lets
//!    the log drop what is covered (`log::Log::truncate`).
//! 6. A query takes one [`Snapshot`]: files of one version and a [`BufferSlice`] per table.

mod audit;
mod backup;
mod buffer;
mod error;
mod flush;
mod foreign;
#[doc(hidden)]
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod handle;
mod latest;
mod log;
mod machine;
mod maintenance;
mod merge;
mod metrics;
mod open_tables;
mod rules;
#[cfg(test)]
mod sim;
mod snapshot;
mod state;
mod store;
mod table;
#[cfg(test)]
mod testing;
mod writer;

pub mod model;
pub mod rollup;

pub use audit::{AuditOptions, AuditReport, Finding, FindingKind, audit};
pub use backup::{BackedUpTable, BackupPlace, BackupReport, RestoreReport, backup, restore};
pub use buffer::{BufferSlice, RowOrder, TagValues};
pub use error::{ErrorKind, StorageError};
pub use foreign::{ForeignParquet, ParquetExport};
pub use handle::{Acknowledged, Admission, Limits, Storage, StorageOptions};
pub use latest::Latest;
pub use maintenance::{MaintenanceOptions, Merged, Retention};
pub use metrics::{LATENCY_BOUNDS, Latency, LatencyCounts, LevelMetrics, Metrics};
pub use rules::{contested, merged};
pub use snapshot::{
    DataFile, FileKind, FileOrder, Level, Snapshot, TableSnapshot, TierSnapshot, TimeRange,
};
pub use table::encoded;
