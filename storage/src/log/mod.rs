//! The write-ahead log: what makes a batch durable.
//!
//! ```text
//! stage   a batch gets its position, unless its sequence was taken before
//! commit  all staged batches become one group: written, one fdatasync; then they are durable
//! truncate  whole segments go once the tables cover them
//! recover   the groups come back in order, one at a time
//! look      the same without changing anything, to verify or to copy
//! ```
//! Promises: after `commit` returned, its batches survive `kill -9` and power loss; each comes back
//! once; positions rise by one and are never given out twice. After a failed write or sync the log
//! takes nothing more, but for a full disk: then the same commit may be tried again. One thread owns it; its calls block. docs/formats/log.md draws every byte.

mod definition;
mod disk;
mod folder;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod group;
mod inspect;
mod layouts;
mod producers;
mod reader;
mod recovery;
mod segment;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use disk::{Step, volume};
pub(crate) use group::{Entry, Group};
pub(crate) use inspect::Look;
pub(crate) use recovery::Recovery;

use crate::error::{ErrorKind, StorageError};
use crate::model::{Batch, Layout, Position, ProducerId, Sequence};
use disk::Failed;
pub(crate) use folder::Folder;
use format::Header;
use group::{Encoded, Plan};
use layouts::LayoutTable;
use producers::Producers;
use segment::Segment;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use uuid::Uuid;

/// Where a log lies and how large its segments are.
#[derive(Clone, Debug)]
pub(crate) struct LogOptions {
    pub(crate) dir: PathBuf,
    /// A segment is preallocated to this and ends before it, unless one group alone is larger.
    pub(crate) segment_bytes: u64,
}

/// A log open for writing, held against other processes.
#[derive(Debug)]
pub(crate) struct Log {
    folder: Folder,
    segment_bytes: u64,
    incarnation: Uuid,
    producers: Producers,
    layouts: LayoutTable,
    sealed: VecDeque<Sealed>,
    open: Segment,
    staged: Vec<Batch>,
    staged_bytes: usize,
    /// The group that found no room on the disk: no other may take its place.
    pending: Option<(Encoded, Group)>,
    /// The staged batches begin a new segment, whatever room the open one has.
    must_roll: bool,
    next: Position,
    failed: bool,
}

/// A segment that is not written any more.
#[derive(Clone, Copy, Debug)]
struct Sealed {
    first: Position,
    bytes: u64,
}

impl Log {
    /// Locks the folder and begins to read the log in it back; an empty folder is an empty log.
    pub(crate) fn recover(options: &LogOptions) -> Result<Recovery, StorageError> {
        Recovery::begin(options)
    }

    /// The log's own number, drawn when it was made.
    pub(crate) fn incarnation(&self) -> Uuid {
        self.incarnation
    }

    /// Puts a batch into the open group. `None` if its sequence is at or below the producer's
    /// last: it has been taken before.
    pub(crate) fn stage(&mut self, batch: Batch) -> Result<Option<Position>, StorageError> {
        self.check_usable()?;
        self.check_size(&batch)?;
        if self.next > format::MAX_POSITION {
            let what = "the write-ahead log has no positions left and takes nothing more";
            return Err(StorageError::new(ErrorKind::Closed, what));
        }
        if !self.producers.stage(&batch.producer, batch.sequence) {
            return Ok(None);
        }
        let position = self.next;
        self.next += 1;
        self.staged_bytes += group::batch_bytes(&batch);
        self.staged.push(batch);
        Ok(Some(position))
    }

    /// Bytes that `commit` will write, definitions of new layouts not counted.
    pub(crate) fn staged_bytes(&self) -> usize {
        self.staged_bytes
    }

    /// Makes the staged batches durable and gives them back over the log's own bytes. Without
    /// staged batches the disk is left alone. After an error of kind `Retry` the disk is full:
    /// nothing of them is durable, and the call may be made again.
    pub(crate) fn commit(&mut self) -> Result<Group, StorageError> {
        self.check_usable()?;
        if self.staged.is_empty() && self.pending.is_none() {
            return Ok(Group::default());
        }
        self.write_staged().map_err(|failed| match failed {
            Failed::Full(error) => {
                let what = "the disk of the write-ahead log is full";
                StorageError::because(ErrorKind::Retry, what, error)
            }
            Failed::Broken(error) => {
                self.failed = true;
                let what = "the write-ahead log could not be written and takes nothing more: mend the disk and restart";
                StorageError::because(ErrorKind::Closed, what, error)
            }
        })
    }

    /// Deletes the segments all of whose positions are at or below `covered`, oldest first, never
    /// the open one. Returns the bytes freed.
    pub(crate) fn truncate(&mut self, covered: Position) -> Result<u64, StorageError> {
        self.check_usable()?;
        let mut freed = 0;
        while let Some(oldest) = self.sealed.front().copied() {
            let next_first = self.sealed.get(1).map_or(self.open.first(), |next| next.first);
            if next_first - 1 > covered {
                break;
            }
            // One by one: a crash must not leave a later one deleted and an earlier one there.
            self.folder.delete(oldest.first).map_err(|error| {
                let name = folder::segment_name(oldest.first);
                let what = format!("log segment {name} cannot be deleted");
                StorageError::because(ErrorKind::Retry, what, error)
            })?;
            self.sealed.pop_front();
            freed += oldest.bytes;
        }
        Ok(freed)
    }

    /// The last position given out, staged ones included; 0 if there is none.
    pub(crate) fn end(&self) -> Position {
        self.next - 1
    }

    /// Bytes on disk, preallocated ones included.
    pub(crate) fn bytes(&self) -> u64 {
        self.sealed.iter().map(|segment| segment.bytes).sum::<u64>() + self.open.bytes()
    }

    /// The last durable sequence of each producer, in no order.
    pub(crate) fn producers(&self) -> impl Iterator<Item = (&ProducerId, Sequence)> {
        self.producers.iter()
    }

    fn check_usable(&self) -> Result<(), StorageError> {
        if self.failed {
            let what = "the write-ahead log failed earlier and takes nothing more: mend the disk and restart";
            return Err(StorageError::new(ErrorKind::Closed, what));
        }
        Ok(())
    }

    /// A record's length is told in 32 bits.
    fn check_size(&self, batch: &Batch) -> Result<(), StorageError> {
        let definition = |layout: &Arc<Layout>| self.layouts.definition_bytes(layout);
        let definitions = batch.blocks.iter().map(|block| definition(block.layout()));
        let largest = definitions.max().unwrap_or(0).max(group::batch_bytes(batch));
        if largest > format::MAX_RECORD_BYTES {
            return Err(StorageError::rejected(format!(
                "a batch or layout of {largest} bytes is larger than a log record can be ({} bytes): send it in parts",
                format::MAX_RECORD_BYTES
            )));
        }
        Ok(())
    }

    fn write_staged(&mut self) -> Result<Group, Failed> {
        let (encoded, group) = match self.pending.take() {
            Some(pending) => pending,
            None => self.encode_staged()?,
        };
        if let Err(failed) = self.open.append(&encoded) {
            self.pending = Some((encoded, group));
            return Err(failed);
        }
        for entry in &group.entries {
            self.producers.settle(&entry.producer, entry.sequence);
        }
        Ok(group)
    }

    /// The staged batches as the next group of the segment that takes it. A plan numbers new
    /// layouts in the open segment, so one that did not go there must lead to another segment,
    /// however often that is tried.
    fn encode_staged(&mut self) -> Result<(Encoded, Group), Failed> {
        let first = self.next - self.staged.len() as u64;
        let mut plan = Plan::new(&self.staged, &mut self.layouts, self.open.seed());
        self.must_roll |= !self.open.takes(plan.length());
        if self.must_roll {
            self.roll(first)?;
            self.must_roll = false;
            plan = Plan::new(&self.staged, &mut self.layouts, self.open.seed());
        }
        let staged = std::mem::take(&mut self.staged);
        self.staged_bytes = 0;
        Ok(plan.encode(staged, first, self.open.end(), self.open.seed()))
    }

    /// Goes on in a new segment that begins with position `first`.
    fn roll(&mut self, first: Position) -> Result<(), Failed> {
        let header = Header { incarnation: self.incarnation, first };
        let next = Segment::create(&self.folder, &header, &self.producers, self.segment_bytes)?;
        let full = std::mem::replace(&mut self.open, next);
        self.sealed.push_back(Sealed { first: full.first(), bytes: full.bytes() });
        self.layouts.begin_segment();
        Ok(())
    }
}
