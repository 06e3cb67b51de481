//! Reads a log back after it was closed, killed or cut off from power.
//!
//! Promises: every group whose commit returned comes back, whole and in order, or an error names
//! the segment and offset; of a group whose commit did not return, all or nothing comes back; what
//! is handed out is durable. Nothing before the last whole group is ever changed.
//!
//! 1. All segments but the newest were durable whole before the next was made: any fault there is
//!    corruption, and so is a step in the positions from one to the next.
//! 2. In the newest, what is bad at an offset was durable if a group mark stands anywhere behind:
//!    corruption. Otherwise it is a torn write, and the group it belongs to is cut.
//! 3. The last whole group is written and synced again before it is handed out: its own sync may
//!    have failed, and the kernel may hold pages for clean that the disk never took.
//! 4. A newest segment without groups is made anew: its making may not have been finished.
//!
//! A log can also be read by one who only looks, while it is written or not: then nothing of it is
//! changed, and what a server would cut is told instead.

use super::disk::DiskFile;
use super::folder::{Folder, segment_name};
use super::format::{HEADER_BYTES, Header, Kind, Malformed};
use super::group::{Group, Replay};
use super::layouts::LayoutTable;
use super::producers::Producers;
use super::reader::{Fault, RawGroup, SegmentReader};
use super::segment::Segment;
use super::{Log, LogOptions, Sealed};
use crate::error::{ErrorKind, StorageError};
use crate::machine::new_id;
use crate::model::Position;
use std::collections::VecDeque;
use std::io;
use uuid::Uuid;

/// A log being read. Each call of `next` reads one group, so a caller that waits holds back the
/// reading. After an error it ends.
#[derive(Debug)]
pub(crate) struct Recovery {
    folder: Folder,
    segment_bytes: u64,
    pub(super) incarnation: Option<Uuid>,
    sealed: VecDeque<Sealed>,
    reader: Option<SegmentReader>,
    /// Segments not opened yet.
    waiting: VecDeque<Position>,
    replay: Replay,
    state: State,
    looks: bool,
    /// The segments that have been read to their end.
    pub(super) read: Vec<ReadSegment>,
    /// What stands at the end of the newest segment and is no group.
    pub(super) torn: Option<TornTail>,
}

/// A segment that has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadSegment {
    pub(crate) first: Position,
    /// Where its last group ends.
    pub(crate) end: u64,
}

/// A write that did not finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TornTail {
    pub(crate) segment: Position,
    pub(crate) offset: u64,
    pub(crate) what: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    Finished,
    Failed,
}

impl Recovery {
    pub(super) fn begin(options: &LogOptions) -> Result<Self, StorageError> {
        let mut recovery = Self::of(Folder::lock(&options.dir)?, options.segment_bytes, false)?;
        recovery.open_next()?;
        recovery.incarnation.get_or_insert_with(new_id);
        Ok(recovery)
    }

    /// Reads a log without changing it.
    pub(super) fn look(folder: Folder) -> Result<Self, StorageError> {
        let mut recovery = Self::of(folder, 0, true)?;
        recovery.open_next()?;
        Ok(recovery)
    }

    fn of(folder: Folder, segment_bytes: u64, looks: bool) -> Result<Self, StorageError> {
        Ok(Self {
            waiting: folder.segments().map_err(unreadable)?.into(),
            folder,
            segment_bytes,
            incarnation: None,
            sealed: VecDeque::new(),
            reader: None,
            replay: Replay {
                producers: Producers::default(),
                layouts: LayoutTable::default(),
                next: 1,
            },
            state: State::Reading,
            looks,
            read: Vec::new(),
            torn: None,
        })
    }

    /// The position of the last batch that was read; 0 where there is none.
    pub(super) fn end(&self) -> Position {
        self.replay.next - 1
    }

    /// The log's folder, once nothing more is to be read.
    pub(super) fn into_folder(self) -> Folder {
        self.folder
    }

    /// The log's own number, drawn when it was made.
    pub(crate) fn incarnation(&self) -> Uuid {
        self.incarnation.expect("begin sets it")
    }

    /// The log, ready to be written. All groups must have been read.
    pub(crate) fn into_log(self) -> Result<Log, StorageError> {
        if self.state != State::Finished {
            return Err(StorageError::internal("the log has not been read to its end"));
        }
        let incarnation = self.incarnation();
        let Replay { producers, mut layouts, next } = self.replay;
        let open = match self.reader {
            Some(reader) if reader.has_read_groups() => {
                Segment::resume(reader.file, reader.first, reader.offset, self.segment_bytes)
            }
            _ => {
                layouts.begin_segment();
                let header = Header { incarnation, first: next };
                Segment::create(&self.folder, &header, &producers, self.segment_bytes)
                    .map_err(io::Error::from)
            }
        };
        Ok(Log {
            open: open.map_err(unreadable)?,
            folder: self.folder,
            segment_bytes: self.segment_bytes,
            incarnation,
            producers,
            layouts,
            sealed: self.sealed,
            staged: Vec::new(),
            staged_bytes: 0,
            pending: None,
            must_roll: false,
            next,
            failed: false,
        })
    }

    fn advance(&mut self) -> Result<Option<Group>, StorageError> {
        while let Some(reader) = &mut self.reader {
            let newest = self.waiting.is_empty();
            match reader.group() {
                Ok(Some(raw)) => return self.take(&raw).map(Some),
                Ok(None) if !newest => self.open_next()?,
                Ok(None) => {
                    let offset = reader.offset;
                    return self.finish(offset, None);
                }
                Err(Fault::Damage { offset, what }) if newest => {
                    return self.finish(offset, Some(what));
                }
                Err(fault) => return Err(failure(fault, reader.first)),
            }
        }
        self.state = State::Finished;
        Ok(None)
    }

    /// Ends reading before what is bad at `offset` of the newest segment, or before zeros, if that
    /// was never durable. Of a segment that is being written it cannot be told.
    fn finish(
        &mut self,
        offset: u64,
        bad: Option<Malformed>,
    ) -> Result<Option<Group>, StorageError> {
        let reader = self.reader.as_ref().expect("the newest segment is open");
        let (segment, end) = (reader.first, reader.offset);
        if !self.folder.is_written() && reader.has_mark_behind(offset).map_err(unreadable)? {
            let what = bad.unwrap_or(Malformed("zeros stand where a group was"));
            return Err(failure(Fault::Damage { offset, what }, segment));
        }
        self.torn = bad.map(|Malformed(what)| TornTail { segment, offset, what });
        self.read.push(ReadSegment { first: segment, end });
        self.state = State::Finished;
        Ok(None)
    }

    fn take(&mut self, raw: &RawGroup) -> Result<Group, StorageError> {
        let reader = self.reader.as_ref().expect("the group came from it");
        let group = decode(raw, &mut self.replay).map_err(|fault| failure(fault, reader.first))?;
        if !self.looks && self.waiting.is_empty() && !reader.at_mark().map_err(unreadable)? {
            let file = &reader.file;
            file.write_at(&raw.bytes, raw.offset).map_err(unreadable)?;
            file.sync_file().map_err(unreadable)?;
            self.folder.sync().map_err(unreadable)?;
        }
        Ok(group)
    }

    /// Goes on to the next segment. There is no reader afterwards if it has to be made anew, or
    /// if the folder holds none.
    fn open_next(&mut self) -> Result<(), StorageError> {
        let Some(first) = self.waiting.pop_front() else { return Ok(()) };
        match self.reader.take() {
            None => self.replay.next = first,
            Some(before) if self.replay.next == first => {
                self.read.push(ReadSegment { first: before.first, end: before.offset });
                self.sealed.push_back(Sealed { first: before.first, bytes: before.length() });
            }
            Some(before) => return Err(self.gap(&before, first)),
        }
        let open = if self.looks { DiskFile::open_to_read } else { DiskFile::open };
        let file = open(&self.folder.segment(first));
        let reader = file.and_then(|file| SegmentReader::new(file, first));
        let mut reader = reader.map_err(unreadable)?;
        match reader.start() {
            Ok((header, producers)) => self.check_start(&header, producers)?,
            Err(Fault::Damage { offset, what: Malformed(what) })
                if self.may_be_unfinished(first) =>
            {
                if !self.folder.is_written()
                    && reader.has_mark_behind(offset).map_err(unreadable)?
                {
                    let what = Malformed("the segment's start is damaged");
                    return Err(failure(Fault::Damage { offset, what }, first));
                }
                self.torn = Some(TornTail { segment: first, offset, what });
                return Ok(());
            }
            Err(fault) => return Err(failure(fault, first)),
        }
        self.reader = Some(reader);
        Ok(())
    }

    /// Whether a crash can have kept this segment's start from the disk: only while it is the
    /// newest, and an older one holds what its snapshot tells, if there is anything to tell.
    fn may_be_unfinished(&self, first: Position) -> bool {
        self.waiting.is_empty() && (first == 1 || !self.sealed.is_empty())
    }

    fn check_start(&mut self, header: &Header, producers: Producers) -> Result<(), StorageError> {
        let damage = |offset, what| {
            Err(failure(Fault::Damage { offset, what: Malformed(what) }, header.first))
        };
        if *self.incarnation.get_or_insert(header.incarnation) != header.incarnation {
            return damage(0, "the segment belongs to another log");
        }
        if self.sealed.is_empty() {
            self.replay.producers = producers;
        } else if !self.replay.producers.agrees(&producers) {
            let what = "the producers' snapshot differs from the segments before";
            return damage(HEADER_BYTES as u64, what);
        }
        self.replay.layouts.begin_segment();
        Ok(())
    }

    fn gap(&self, before: &SegmentReader, first: Position) -> StorageError {
        let end = self.replay.next - 1;
        StorageError::corrupt(format!(
            "log segment {} ends at offset {} with position {end}, and the next one is {}: what lies between is missing. Put the segment back, or give up the log",
            segment_name(before.first),
            before.offset,
            segment_name(first),
        ))
    }
}

impl Iterator for Recovery {
    type Item = Result<Group, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state != State::Reading {
            return None;
        }
        let group = self.advance();
        if group.is_err() {
            self.state = State::Failed;
        }
        group.transpose()
    }
}

fn decode(raw: &RawGroup, replay: &mut Replay) -> Result<Group, Fault> {
    let mut group = Group::default();
    for (kind, place) in &raw.records {
        let body = &raw.bytes[place.clone()];
        let done = match kind {
            Kind::Shape => replay.layouts.read_shape(body),
            Kind::Layout => replay.layouts.read_layout(body),
            Kind::Batch => replay.batch(body, &raw.bytes).map(|entry| group.entries.push(entry)),
            Kind::Producers | Kind::Mark => {
                Err(Malformed("a record of this kind does not stand in a group"))
            }
        };
        let offset = raw.offset + place.start as u64;
        done.map_err(|what| Fault::Damage { offset, what })?;
    }
    if group.entries.len() == raw.batches as usize {
        Ok(group)
    } else {
        let what = Malformed("the group has another number of batches than its mark says");
        Err(Fault::Damage { offset: raw.offset, what })
    }
}

fn failure(fault: Fault, first: Position) -> StorageError {
    let name = segment_name(first);
    match fault {
        Fault::Io(error) => unreadable(error),
        Fault::Newer(version) => StorageError::rejected(format!(
            "log segment {name} has format version {version}, this program reads up to {}: use a newer Warpline",
            super::format::VERSION
        )),
        Fault::Damage { offset, what: Malformed(what) } => StorageError::corrupt(format!(
            "log segment {name} is corrupt at offset {offset}: {what}. What follows was acknowledged: restore the segment, or give up the log"
        )),
    }
}

fn unreadable(error: io::Error) -> StorageError {
    StorageError::because(ErrorKind::Retry, "the log cannot be opened", error)
}
