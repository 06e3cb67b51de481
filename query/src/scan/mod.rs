//! A table of a snapshot as DataFusion reads it: files and buffer as one, last write per field.
//!
//! ```text
//! Union
//!   DataSource            files that no other source can repeat a key of: read as they are
//!   Filter, DataSource    files that meet a contested time box: their rows outside the boxes
//!   Buffer                buffered rows outside the boxes
//!   Resolve               per run of boxes: every source's rows inside, merged by key and order
//! ```
//! A contested box is a stretch of time in which two sources may hold the same key. Most scans
//! have none, and then nothing is sorted, merged or compared.

mod boxes;
mod buffer;
mod choice;
mod chunked;
mod chunks;
mod cuts;
mod field;
mod footers;
mod kept;
mod plan;
mod provider;
mod prune;
mod resolve;
mod runs;
mod sources;
mod times;

pub use buffer::BufferExec;
pub(crate) use choice::{Choice, is_calm};
pub use chunked::ChunkExec;
pub(crate) use chunks::{Chunk, ChunkFile, ChunkOpener, Chunks, chunk};
pub(crate) use cuts::{Cuts, within};
pub(crate) use field::{FieldChunk, FieldRuns};
pub(crate) use footers::Footers;
pub use provider::TableView;
pub(crate) use prune::{can_hold, tags_of};
pub use resolve::ResolveExec;
pub(crate) use runs::TagRuns;
pub(crate) use sources::{FilePiece, Sources, unqualified};
pub(crate) use times::times_apart;
