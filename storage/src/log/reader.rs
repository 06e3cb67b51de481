//! Reads one segment, group by group.
//!
//! Promises: one group in memory at a time, verified whole before any of it is used; nothing is
//! allocated by a length that the file does not have.

use super::disk::DiskFile;
use super::format::{
    HEADER_BYTES, Header, HeaderError, Kind, MARK_BYTES, Malformed, Mark, RECORD_HEADER_BYTES,
    Record, seed,
};
use super::producers::Producers;
use crate::model::Position;
use bytes::Bytes;
use std::io;
use std::ops::Range;

const SCAN_BYTES: usize = 1 << 20;

/// Why reading stopped.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    /// The segment has this later format version.
    Newer(u32),
    /// What stands at the offset is not what the log writes.
    Damage {
        offset: u64,
        what: Malformed,
    },
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[derive(Debug)]
pub(super) struct SegmentReader {
    pub(super) file: DiskFile,
    pub(super) first: Position,
    /// Where the next group is expected: everything before has been read.
    pub(super) offset: u64,
    /// Where the first group stands.
    start: u64,
    length: u64,
    seed: u32,
}

/// A group whose records' checksums match.
#[derive(Debug)]
pub(super) struct RawGroup {
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
    pub(super) batches: u32,
    /// The records behind the mark: kind and where in `bytes` the body lies.
    pub(super) records: Vec<(Kind, Range<usize>)>,
}

impl SegmentReader {
    pub(super) fn new(file: DiskFile, first: Position) -> io::Result<Self> {
        let length = file.length()?;
        Ok(Self { file, first, offset: 0, start: 0, length, seed: seed(first) })
    }

    /// Reads what stands before the groups.
    pub(super) fn start(&mut self) -> Result<(Header, Producers), Fault> {
        let header = Header::decode(&self.read(0, HEADER_BYTES)?).map_err(|error| match error {
            HeaderError::Newer(version) => Fault::Newer(version),
            HeaderError::Malformed(what) => Fault::Damage { offset: 0, what },
        })?;
        if header.first != self.first {
            let what = Malformed("the header tells another first position than the name");
            return Err(Fault::Damage { offset: 0, what });
        }
        let offset = HEADER_BYTES as u64;
        let damage = |what| Fault::Damage { offset, what };
        let length = Record::length(&self.read(offset, RECORD_HEADER_BYTES)?).map_err(damage)?;
        let bytes = self.read(offset, length)?;
        let record = Record::read(&bytes, self.seed).map_err(damage)?;
        if record.kind != Kind::Producers {
            return Err(damage(Malformed("the producers' snapshot was expected")));
        }
        let producers = Producers::read(record.body).map_err(damage)?;
        self.start = offset + length as u64;
        self.offset = self.start;
        Ok((header, producers))
    }

    pub(super) fn has_read_groups(&self) -> bool {
        self.offset > self.start
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The next group, `None` where zeros or the end of the file stand in its place.
    pub(super) fn group(&mut self) -> Result<Option<RawGroup>, Fault> {
        let offset = self.offset;
        let front = self.read(offset, MARK_BYTES)?;
        if is_zero(&front) {
            return Ok(None);
        }
        let mark =
            Mark::read(&front, offset, self.seed).map_err(|what| Fault::Damage { offset, what })?;
        if mark.length > self.length - offset {
            let what = Malformed("the segment ends within a group");
            return Err(Fault::Damage { offset: self.length, what });
        }
        let bytes = Bytes::from(self.read(offset, mark.length as usize)?);
        let mut records = Vec::new();
        let mut at = MARK_BYTES;
        while at < bytes.len() {
            let record = Record::read(&bytes[at..], self.seed)
                .map_err(|what| Fault::Damage { offset: offset + at as u64, what })?;
            let end = at + record.bytes();
            records.push((record.kind, at + RECORD_HEADER_BYTES..end));
            at = end;
        }
        self.offset += mark.length;
        Ok(Some(RawGroup { offset, bytes, batches: mark.batches, records }))
    }

    /// Whether a group begins at the reader's place. If so, all before it is known to be durable.
    pub(super) fn at_mark(&self) -> io::Result<bool> {
        let front = self.read(self.offset, MARK_BYTES)?;
        Ok(Mark::read(&front, self.offset, self.seed).is_ok())
    }

    /// Whether a group begins anywhere behind `offset`. If so, what stands at `offset` had been
    /// durable.
    pub(super) fn has_mark_behind(&self, offset: u64) -> io::Result<bool> {
        let mut buffer = vec![0; SCAN_BYTES];
        let mut at = offset.saturating_add(1);
        while at < self.length {
            let length = (self.length - at).min(SCAN_BYTES as u64) as usize;
            self.file.read_at(&mut buffer[..length], at)?;
            if holds_mark(&buffer[..length], at, self.seed) {
                return Ok(true);
            }
            at += (SCAN_BYTES - (MARK_BYTES - 1)) as u64;
        }
        Ok(false)
    }

    /// Up to `length` bytes from `offset`: fewer where the file ends.
    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let there = self.length.saturating_sub(offset).min(length as u64);
        let mut bytes = vec![0; there as usize];
        self.file.read_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |any, byte| any | byte) == 0
}

/// `bytes` stand at `offset` of their segment.
fn holds_mark(bytes: &[u8], offset: u64, seed: u32) -> bool {
    let pattern = Mark::pattern();
    let is_mark = |(at, window): (u64, &[u8])| {
        window[4..9] == pattern && Mark::read(window, at, seed).is_ok()
    };
    !is_zero(bytes) && (offset..).zip(bytes.windows(MARK_BYTES)).any(is_mark)
}
