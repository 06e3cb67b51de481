//! A producer's frames on its own disk, oldest first, until a server has them.
//!
//! ```text
//! append -> memory -> segments in a folder (bounded; the oldest is dropped) -> read -> stream
//!             ^ stays there without a folder, and while the disk takes nothing
//! ```
//! Promises: what [`Spool::append`] wrote survives the death of the process at any instant; nothing
//! is dropped without being counted and logged; frames are read back one at a time, so memory does
//! not grow with what is kept; appending never waits for a server.
//!
//! A frame has a *place* of its own, counted from 1. Its sequence on the wire is place + *shift*.
//! The shift rises when a server is met that has frames of this producer which the spool does not
//! know (it lost its folder, or its last seconds to a power cut): then all that is kept is sent
//! behind them. That may repeat frames, which is harmless: rows of one key are one row.

mod folder;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod losses;
mod segment;
mod standing;
#[cfg(test)]
mod tests;

pub use losses::SpoolCounts;
pub(crate) use standing::{Cursor, Found};

use bytes::Bytes;
use folder::Folder;
use format::{Frame, Header};
use losses::Losses;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::{info, warn};
use warpline_storage::Acknowledged;
use warpline_storage::model::{Layout, Sequence, Timestamp};

/// A frame's number in the spool.
pub(crate) type Place = u64;
/// A layout's number in the spool; equal layouts may have several.
pub(crate) type LayoutId = u64;

/// A tick of more than this becomes several frames, so that every server takes them.
const FRAME_BYTES: usize = 1 << 20;
/// Frames that the disk does not take are kept in memory up to this.
const MEMORY_BYTES: u64 = 16 << 20;
/// Layouts that are recognised when they come again, or so many times those of a tick.
const MANY_LAYOUTS: usize = 64;
const MANY_TIMES: usize = 4;

/// Until when a frame is kept for being sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Until it is in the server's log, synced.
    Durable,
    /// Until it is committed in the tables: a server whose disk died is refilled from what is kept.
    Stored,
}

#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// Where frames are kept; without a folder they are kept in memory.
    pub folder: Option<PathBuf>,
    /// How much may be kept; beyond it the oldest is dropped.
    pub bytes: u64,
    pub keep: Keep,
}

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("the spool {path}: {error}", path = path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error(
        "the spool {path} is used by another process: give each its own folder",
        path = path.display()
    )]
    Locked { path: PathBuf },
    #[error(
        "{path} is of spool format {version}, and this build reads {known}: update it, or name \
         another folder and this one later",
        path = path.display(),
        known = format::VERSION
    )]
    Newer { path: PathBuf, version: u32 },
}

impl SpoolError {
    fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.to_owned(), error }
    }
}

impl From<SpoolError> for io::Error {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::Io { error, .. } => error,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}

#[derive(Debug)]
pub struct Spool {
    folder: Option<Folder>,
    limit: u64,
    /// Frames that are not in a segment: all without a folder, else what the disk did not take.
    memory: VecDeque<Held>,
    memory_bytes: u64,
    keep: Keep,
    next: Place,
    shift: u64,
    /// The last sequence that may be on a server by this spool's account.
    claimed: Sequence,
    /// Whether this process has met a server.
    contact: bool,
    /// How far servers are known to be, in places.
    had: Acknowledged,
    layouts: Vec<(Arc<Layout>, LayoutId)>,
    next_layout: LayoutId,
    losses: Losses,
    /// Whether the disk takes frames; its last error is logged when that changes.
    writing: bool,
}

#[derive(Debug)]
struct Held {
    frame: Frame,
    layouts: Vec<Arc<Layout>>,
}

impl Held {
    fn bytes(&self) -> u64 {
        format::frame_bytes(self.frame.blocks.iter().map(|(_, data)| data.len())) as u64
    }
}

impl Spool {
    pub fn open(options: &SpoolOptions) -> Result<Self, SpoolError> {
        let opened = options.folder.as_ref().map(|path| Folder::open(path, options.bytes));
        let (folder, left) = opened.transpose()?.unzip();
        let left = left.unwrap_or_default();
        let mut spool = Self {
            folder,
            limit: options.bytes,
            memory: VecDeque::new(),
            memory_bytes: 0,
            keep: options.keep,
            next: left.last.saturating_add(1),
            shift: left.shift,
            claimed: left.claimed,
            contact: false,
            had: Acknowledged::default(),
            layouts: Vec::new(),
            next_layout: left.last_layout.saturating_add(1),
            losses: Losses::default(),
            writing: true,
        };
        spool.losses.found_unreadable(left.unreadable);
        while spool.bytes() > spool.limit && spool.drop_segment() {}
        Ok(spool)
    }

    /// Takes what was measured at a tick. `now` is the time of the clock.
    pub fn append(&mut self, blocks: Vec<(Arc<Layout>, Bytes)>, now: Timestamp) {
        self.forget_layouts(blocks.len());
        let mut layouts = Vec::new();
        let mut named: Vec<(LayoutId, Bytes)> = Vec::new();
        let mut bytes = 0;
        for (layout, data) in blocks {
            if bytes > 0 && bytes + data.len() > FRAME_BYTES {
                self.hold(std::mem::take(&mut named), std::mem::take(&mut layouts), now);
                bytes = 0;
            }
            bytes += data.len();
            named.push((self.layout_id(&layout), data));
            layouts.push(layout);
        }
        if !named.is_empty() {
            self.hold(named, layouts, now);
        }
        self.settle();
    }

    fn hold(&mut self, blocks: Vec<(LayoutId, Bytes)>, layouts: Vec<Arc<Layout>>, time: Timestamp) {
        let held = Held { frame: Frame { place: self.next, time, blocks }, layouts };
        self.next += 1;
        self.memory_bytes += held.bytes();
        self.losses.count_append(held.bytes());
        self.memory.push_back(held);
    }

    fn layout_id(&mut self, layout: &Arc<Layout>) -> LayoutId {
        let known = self.layouts.iter().position(|(known, _)| Arc::ptr_eq(known, layout));
        let known = known.or_else(|| self.layouts.iter().position(|(known, _)| known == layout));
        let entry = known.map_or_else(
            || {
                self.next_layout += 1;
                (layout.clone(), self.next_layout - 1)
            },
            |at| self.layouts.remove(at),
        );
        let id = entry.1;
        self.layouts.push(entry);
        id
    }

    /// Forgets layouts that have not come for long, so that a tick's own are not among them.
    fn forget_layouts(&mut self, in_use: usize) {
        let many = MANY_LAYOUTS.max(MANY_TIMES * in_use);
        self.layouts.drain(..self.layouts.len().saturating_sub(many));
    }

    /// Moves frames from memory to the disk, and drops the oldest where the bound is met.
    fn settle(&mut self) {
        let outcome = self.write_out();
        self.tell_writing(&outcome);
        let bound = if self.folder.is_some() { MEMORY_BYTES.min(self.limit) } else { self.limit };
        if self.memory_bytes <= bound {
            return;
        }
        let full = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        };
        if outcome.is_err_and(|error| full(&error)) && self.drop_segment() {
            return self.settle();
        }
        // One drop makes room for a while.
        while self.memory_bytes > bound - bound / 8 && self.memory.len() > 1 {
            self.drop_held();
        }
        if self.memory_bytes > bound {
            self.drop_held();
        }
    }

    fn write_out(&mut self) -> io::Result<()> {
        let claimed = if self.contact { Sequence::MAX } else { self.claimed };
        let header = Header { first: self.next, shift: self.shift, claimed };
        while let (Some(folder), Some(held)) = (&mut self.folder, self.memory.front()) {
            let record = folder.record(&held.frame, &held.layouts, &header);
            let too_large = record.len() > self.limit;
            if !too_large && folder.bytes() + record.len() <= self.limit {
                folder.write(&record, &held.frame)?;
                self.memory_bytes -= held.bytes();
                self.memory.pop_front();
            } else if too_large || !self.drop_segment() {
                self.drop_held();
            }
        }
        Ok(())
    }

    fn tell_writing(&mut self, outcome: &io::Result<()>) {
        match outcome {
            Err(error) if self.writing => warn!(
                "the spool cannot be written: {error}; frames stay in memory, up to {} MiB, and \
                 are lost if this process ends",
                MEMORY_BYTES.min(self.limit) >> 20
            ),
            Ok(()) if !self.writing => info!("the spool is written again"),
            _ => {}
        }
        self.writing = outcome.is_ok();
    }

    /// Drops the oldest segment; `false` where there is none.
    fn drop_segment(&mut self) -> bool {
        let Some(segment) = self.folder.as_mut().and_then(Folder::drop_oldest) else {
            return false;
        };
        let above = |place: Place| segment.frames.min(segment.last.saturating_sub(place));
        let (lost, kept_there) = (above(self.had.durable), above(self.had.stored));
        self.losses.drop(lost, segment.times);
        self.losses.forget(kept_there - lost);
        true
    }

    fn drop_held(&mut self) {
        let Some(held) = self.memory.pop_front() else { return };
        self.memory_bytes -= held.bytes();
        if held.frame.place > self.had.durable {
            self.losses.drop(1, Some((held.frame.time, held.frame.time)));
        } else {
            self.losses.forget(1);
        }
    }

    pub fn counts(&self) -> SpoolCounts {
        let segments = self.folder.iter().flat_map(Folder::segments);
        SpoolCounts {
            frames: segments.map(|segment| segment.frames).sum::<u64>() + self.memory.len() as u64,
            disk_bytes: self.bytes(),
            memory_bytes: self.memory_bytes,
            ..self.losses.counts()
        }
    }

    fn bytes(&self) -> u64 {
        self.folder.as_ref().map_or(0, Folder::bytes)
    }
}
