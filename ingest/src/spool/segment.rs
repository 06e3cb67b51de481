//! One file of a spool: what is known of it, and reading its records in order.
//!
//! A segment is written once and never changed; a write that was cut short, or a page that power
//! loss left unwritten, ends what can be read of it.

use super::format::{
    self, Frame, HEADER_BYTES, Header, HeaderError, MAX_FOUND, RECORD_BYTES, Record,
};
use super::{LayoutId, Place, SpoolError};
use crate::frame::{self, Message};
use bytes::Bytes;
use hashbrown::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use warpline_storage::model::{Layout, Sequence, Timestamp};

#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) first: Place,
    /// The highest place in it; below `first` where it has no frame.
    pub(super) last: Place,
    pub(super) frames: u64,
    /// Bytes that can be read: header and whole records.
    pub(super) bytes: u64,
    /// When its first and last frames were appended.
    pub(super) times: Option<(Timestamp, Timestamp)>,
}

impl Segment {
    pub(super) fn new(path: PathBuf, first: Place) -> Self {
        let last = first.saturating_sub(1);
        Self { path, first, last, frames: 0, bytes: 0, times: None }
    }

    pub(super) fn add(&mut self, place: Place, time: Timestamp) {
        self.last = place;
        self.frames += 1;
        self.times = Some((self.times.map_or(time, |(first, _)| first), time));
    }
}

/// What reading a segment from end to end found.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) segment: Segment,
    pub(super) header: Header,
    pub(super) shift: u64,
    /// Whether its frames may have been sent.
    pub(super) contact: bool,
    pub(super) last_layout: LayoutId,
    /// Bytes behind the last whole record.
    pub(super) unreadable: u64,
}

/// Verifies a segment; `None` where it has no readable header.
pub(super) fn scan(path: &Path) -> Result<Option<Scan>, SpoolError> {
    let reader = Reader::open(path)?.filter(|reader| reader.first() <= MAX_FOUND);
    let Some(mut reader) = reader else { return Ok(None) };
    let length = reader.file.metadata().map_err(|error| SpoolError::io(path, error))?.len();
    let header = reader.header;
    let mut scan = Scan {
        segment: Segment::new(path.to_owned(), header.first),
        header,
        shift: header.shift,
        contact: header.claimed == Sequence::MAX,
        last_layout: 0,
        unreadable: 0,
    };
    loop {
        let record = match reader.record(length) {
            Ok(Some(record)) => record,
            Ok(None) => break,
            Err(error) if is_damage(&error) => break,
            Err(error) => return Err(SpoolError::io(path, error)),
        };
        match record {
            Record::Layout { id, .. } if id <= MAX_FOUND => {
                scan.last_layout = scan.last_layout.max(id);
            }
            Record::Contact { shift } => (scan.shift, scan.contact) = (shift, true),
            Record::Frame(frame) if (scan.segment.last + 1..=MAX_FOUND).contains(&frame.place) => {
                scan.segment.add(frame.place, frame.time);
            }
            Record::Layout { .. } | Record::Frame(_) => break,
        }
        scan.segment.bytes = reader.offset;
    }
    scan.segment.bytes = scan.segment.bytes.max(HEADER_BYTES as u64);
    scan.unreadable = length.saturating_sub(scan.segment.bytes);
    Ok(Some(scan))
}

/// Reads a segment's records in order. It remembers where layouts stand, not what they are.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    header: Header,
    seed: u32,
    offset: u64,
    layouts: HashMap<LayoutId, (u64, usize)>,
}

impl Reader {
    /// `None` where the header is none: its writing was cut short.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, SpoolError> {
        let file = File::open(path).map_err(|error| SpoolError::io(path, error))?;
        let mut bytes = [0; HEADER_BYTES];
        let length = file.metadata().map_err(|error| SpoolError::io(path, error))?.len();
        let at_hand = HEADER_BYTES.min(usize::try_from(length).unwrap_or(HEADER_BYTES));
        file.read_exact_at(&mut bytes[..at_hand], 0)
            .map_err(|error| SpoolError::io(path, error))?;
        match Header::decode(&bytes) {
            Ok(header) => {
                let (seed, offset) = (format::seed(header.first), HEADER_BYTES as u64);
                Ok(Some(Self { file, header, seed, offset, layouts: HashMap::new() }))
            }
            Err(HeaderError::Malformed) => Ok(None),
            Err(HeaderError::Newer(version)) => {
                Err(SpoolError::Newer { path: path.to_owned(), version })
            }
        }
    }

    pub(super) fn first(&self) -> Place {
        self.header.first
    }

    /// The next record before `end`; `None` there. What is no record is an error.
    pub(super) fn record(&mut self, end: u64) -> io::Result<Option<Record>> {
        if self.offset == end {
            return Ok(None);
        }
        let room = end.saturating_sub(self.offset);
        let mut bytes = [0; RECORD_BYTES];
        if room < RECORD_BYTES as u64 {
            return Err(damaged());
        }
        self.file.read_exact_at(&mut bytes, self.offset)?;
        let header = format::RecordHeader::decode(&bytes);
        let body_bytes = header.body_bytes().ok_or_else(damaged)?;
        if body_bytes as u64 > room - RECORD_BYTES as u64 {
            return Err(damaged());
        }
        let at = self.offset + RECORD_BYTES as u64;
        let body = self.read(at, body_bytes)?;
        if !header.matches(self.seed, &body) {
            return Err(damaged());
        }
        let record = Record::decode(header.kind, &body).map_err(|_| damaged())?;
        if let Record::Layout { id, define } = &record {
            self.layouts.insert(*id, (at + (body_bytes - define.len()) as u64, define.len()));
        }
        self.offset = at + body_bytes as u64;
        Ok(Some(record))
    }

    /// The next frame before `end` whose place is `from` or higher.
    pub(super) fn frame(&mut self, end: u64, from: Place) -> io::Result<Frame> {
        loop {
            match self.record(end)?.ok_or_else(damaged)? {
                Record::Frame(frame) if frame.place >= from => return Ok(frame),
                _ => {}
            }
        }
    }

    /// A layout that a record before the present offset defined.
    pub(super) fn layout(&self, id: LayoutId) -> io::Result<Arc<Layout>> {
        let (offset, bytes) = *self.layouts.get(&id).ok_or_else(damaged)?;
        let define = self.read(offset, bytes)?;
        match frame::decode(&define) {
            Ok(Message::Define(define)) => Ok(Arc::new(define.layout().map_err(io::Error::other)?)),
            _ => Err(damaged()),
        }
    }

    fn read(&self, offset: u64, bytes: usize) -> io::Result<Bytes> {
        let mut read = vec![0; bytes];
        self.file.read_exact_at(&mut read, offset)?;
        Ok(read.into())
    }
}

/// Whether bytes are gone or are not those that were written. After any other error, such as too
/// many open files, they can be read later.
pub(super) fn is_damage(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    let kinds = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof, io::ErrorKind::NotFound];
    kinds.contains(&error.kind()) || error.raw_os_error() == Some(EIO)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "bytes that are no record")
}
