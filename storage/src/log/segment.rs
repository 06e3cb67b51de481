//! The segment that groups are written to.
//!
//! Promises: when [`Segment::append`] returns, the group is on disk, whole. When
//! [`Segment::create`] returns, the segment's name, header and snapshot are.

use super::disk::DiskFile;
use super::folder::Folder;
use super::format::{Header, Kind, append_record, seed};
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
    /// A segment without groups, in place of whatever unfinished one has its name.
    pub(super) fn create(
        folder: &Folder,
        header: &Header,
        producers: &Producers,
        capacity: u64,
    ) -> io::Result<Self> {
        let seed = seed(header.first);
        let mut start = header.encode();
        append_record(&mut start, seed, Kind::Producers, |out| producers.append(out));
        let file = DiskFile::create(&folder.segment(header.first))?;
        file.preallocate(capacity)?;
        file.write_at(&start, 0)?;
        file.sync_file()?;
        folder.sync()?;
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

    /// One write, one sync.
    pub(super) fn append(&mut self, group: &[u8]) -> io::Result<()> {
        self.file.write_at(group, self.end)?;
        self.file.sync_data()?;
        self.end += group.len() as u64;
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
