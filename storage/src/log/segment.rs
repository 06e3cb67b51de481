//! The segment that groups are written to.
//!
//! Promises: when [`Segment::append`] returns, the group is on disk, whole. When
//! [`Segment::create`] returns, the segment's name, header and snapshot are.

use super::disk::{self, DiskFile, Failed};
use super::folder::Folder;
use super::format::{Header, Kind, append_record, seed};
use super::group::Encoded;
use super::producers::Producers;
use crate::model::Position;
use std::io;

#[derive(Debug)]
pub(super) struct Segment {
    file: DiskFile,
    first: Position,
    seed: u32,
    /// Where the next group goes: everything before is durable.
    end: u64,
    capacity: u64,
    empty: bool,
}

impl Segment {
    /// A segment without groups, in place of whatever unfinished one has its name. Where the disk
    /// is full, nothing of it stays.
    pub(super) fn create(
        folder: &Folder,
        header: &Header,
        producers: &Producers,
        capacity: u64,
    ) -> Result<Self, Failed> {
        let seed = seed(header.first);
        let mut start = header.encode();
        append_record(&mut start, seed, Kind::Producers, |out| producers.append(out));
        let path = folder.segment(header.first);
        let begin = || {
            let file = DiskFile::create(&path)?;
            file.preallocate(capacity)?;
            file.write_at(&start, 0)?;
            Ok(file)
        };
        let file = begin().map_err(|error| {
            let failed = Failed::of(error);
            if matches!(failed, Failed::Full(_)) {
                // What cannot be deleted is made anew by the next try, or by recovery.
                let _ = disk::delete(&path);
            }
            failed
        })?;
        file.sync_file().map_err(Failed::Broken)?;
        folder.sync().map_err(Failed::Broken)?;
        Ok(Self { file, first: header.first, seed, end: start.len() as u64, capacity, empty: true })
    }

    /// A segment that has groups up to `end`. What lies behind it is cut.
    pub(super) fn resume(
        file: DiskFile,
        first: Position,
        end: u64,
        capacity: u64,
    ) -> io::Result<Self> {
        file.cut(end)?;
        file.preallocate(capacity)?;
        file.sync_file()?;
        Ok(Self { file, first, seed: seed(first), end, capacity, empty: false })
    }

    /// Whether a group of that length goes here. The first one always does.
    pub(super) fn takes(&self, length: u64) -> bool {
        self.empty || self.end + length <= self.capacity
    }

    /// One write, or two where the group defines layouts, and one sync. Where the disk is full, the
    /// same group must be appended again before any other: it writes over what reached the file.
    pub(super) fn append(&mut self, group: &Encoded) -> Result<(), Failed> {
        let mut end = self.end;
        for part in group.parts() {
            self.file.write_at(part, end).map_err(Failed::of)?;
            end += part.len() as u64;
        }
        self.file.sync_data().map_err(Failed::Broken)?;
        self.end = end;
        self.empty = false;
        Ok(())
    }

    pub(super) fn first(&self) -> Position {
        self.first
    }

    pub(super) fn seed(&self) -> u32 {
        self.seed
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes that the segment takes on disk, the preallocated ones included.
    pub(super) fn bytes(&self) -> u64 {
        self.capacity.max(self.end)
    }
}
