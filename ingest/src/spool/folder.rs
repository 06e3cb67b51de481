//! The segments of a spool in their folder: found when it is opened, appended to, dropped.
//!
//! Nothing is synced: what was written survives the death of the process, not that of the machine.
//! Each process begins a segment of its own, so that one which was cut short is never written again.

use super::format::{self, Frame, Header};
use super::segment::{Scan, Segment, scan};
use super::{LayoutId, Place, SpoolError};
use crate::frame;
use hashbrown::HashSet;
use std::collections::VecDeque;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::warn;
use warpline_storage::model::{Layout, Sequence};

const ENDING: &str = "spool";
/// A full spool loses one of so many parts at a time.
const PARTS: u64 = 16;
const MAX_SEGMENT_BYTES: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Held for as long as the folder is ours.
    _lock: File,
    segments: VecDeque<Segment>,
    /// The file of the last segment, once this process has begun one.
    active: Option<Active>,
    segment_bytes: u64,
}

#[derive(Debug)]
struct Active {
    file: File,
    seed: u32,
    layouts: HashSet<LayoutId>,
}

/// What earlier processes left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) last: Place,
    pub(super) last_layout: LayoutId,
    pub(super) shift: u64,
    /// The last sequence that may have been sent.
    pub(super) claimed: Sequence,
    pub(super) unreadable: u64,
}

/// Bytes ready to be written, and whether they begin a segment.
#[derive(Debug)]
pub(super) struct Record {
    bytes: Vec<u8>,
    begins: bool,
}

impl Record {
    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

impl Folder {
    /// Opens or makes the folder and reads what is in it.
    pub(super) fn open(path: &Path, limit: u64) -> Result<(Self, Left), SpoolError> {
        std::fs::create_dir_all(path).map_err(|error| SpoolError::io(path, error))?;
        let lock = lock(path)?;
        let (mut segments, mut left, mut sent) = (VecDeque::new(), Left::default(), 0);
        for file in list(path)? {
            let Some(scan) = scan(&file)? else {
                warn!("{}: has no header that can be read, and is dropped", file.display());
                left.unreadable += std::fs::metadata(&file).map_or(0, |known| known.len());
                remove(&file);
                continue;
            };
            left.see(&scan, &mut sent);
            if scan.segment.frames > 0 {
                segments.push_back(scan.segment);
            } else {
                remove(&file);
            }
        }
        if sent > 0 {
            left.claimed = left.claimed.max(left.shift.saturating_add(sent));
        }
        let segment_bytes = (limit / PARTS).min(MAX_SEGMENT_BYTES);
        Ok((
            Self { path: path.to_owned(), _lock: lock, segments, active: None, segment_bytes },
            left,
        ))
    }

    pub(super) fn segments(&self) -> &VecDeque<Segment> {
        &self.segments
    }

    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Bytes of a frame as they would be written now, its unknown layouts before it.
    pub(super) fn record(&self, frame: &Frame, layouts: &[Arc<Layout>], header: &Header) -> Record {
        if let (Some(active), Some(segment)) = (&self.active, self.segments.back()) {
            let bytes = encode(Vec::new(), active.seed, &active.layouts, frame, layouts);
            if segment.bytes + bytes.len() as u64 <= self.segment_bytes {
                return Record { bytes, begins: false };
            }
        }
        let header = Header { first: frame.place, ..*header };
        let seed = format::seed(header.first);
        let bytes = encode(header.encode(), seed, &HashSet::new(), frame, layouts);
        Record { bytes, begins: true }
    }

    /// Writes what [`Folder::record`] made of `frame`. After an error nothing has changed.
    pub(super) fn write(&mut self, record: &Record, frame: &Frame) -> io::Result<()> {
        if record.begins {
            self.begin(record, frame)?;
        } else {
            self.extend(&record.bytes)?;
        }
        let active = self.active.as_mut().expect("begun above");
        active.layouts.extend(frame.blocks.iter().map(|(id, _)| *id));
        let segment = self.segments.back_mut().expect("the active segment is the last");
        segment.add(frame.place, frame.time);
        Ok(())
    }

    fn begin(&mut self, record: &Record, frame: &Frame) -> io::Result<()> {
        let path = self.path.join(format!("{:020}.{ENDING}", frame.place));
        let file = File::options().write(true).create(true).truncate(true).open(&path)?;
        if let Err(error) = file.write_all_at(&record.bytes, 0) {
            remove(&path);
            return Err(error);
        }
        let seed = format::seed(frame.place);
        self.active = Some(Active { file, seed, layouts: HashSet::new() });
        let segment = Segment::new(path, frame.place);
        self.segments.push_back(Segment { bytes: record.len(), ..segment });
        Ok(())
    }

    fn extend(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (Some(active), Some(segment)) = (&self.active, self.segments.back_mut()) else {
            return Ok(());
        };
        if let Err(error) = active.file.write_all_at(bytes, segment.bytes) {
            // What was written of it gives its room back; if not, it is written over.
            let _ = active.file.set_len(segment.bytes);
            return Err(error);
        }
        segment.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Notes that frames of this process may be sent. A segment begun later says it by its header.
    pub(super) fn contact(&mut self, shift: u64) -> io::Result<()> {
        let Some(active) = &self.active else { return Ok(()) };
        let mut bytes = Vec::new();
        format::put_contact(&mut bytes, active.seed, shift);
        self.extend(&bytes)
    }

    /// Drops the oldest segment.
    pub(super) fn drop_oldest(&mut self) -> Option<Segment> {
        let oldest = self.segments.pop_front()?;
        if self.segments.is_empty() {
            self.active = None;
        }
        remove(&oldest.path);
        Some(oldest)
    }

    /// Drops segments that hold nothing above `place`; the one that is written to stays.
    pub(super) fn trim(&mut self, place: Place) {
        let spared = usize::from(self.active.is_some());
        while self.segments.len() > spared && self.segments[0].last <= place {
            self.drop_oldest();
        }
    }
}

impl Left {
    fn see(&mut self, scan: &Scan, sent: &mut Place) {
        self.last = self.last.max(scan.segment.last);
        self.last_layout = self.last_layout.max(scan.last_layout);
        self.shift = self.shift.max(scan.shift);
        self.unreadable += scan.unreadable;
        if scan.contact {
            *sent = (*sent).max(scan.segment.last);
        } else {
            self.claimed = self.claimed.max(scan.header.claimed);
        }
    }
}

fn encode(
    mut out: Vec<u8>,
    seed: u32,
    written: &HashSet<LayoutId>,
    frame: &Frame,
    layouts: &[Arc<Layout>],
) -> Vec<u8> {
    let mut written = written.clone();
    for ((id, _), layout) in frame.blocks.iter().zip(layouts) {
        if written.insert(*id) {
            format::put_layout(&mut out, seed, *id, &frame::define(0, layout));
        }
    }
    format::put_frame(&mut out, seed, frame);
    out
}

fn lock(path: &Path) -> Result<File, SpoolError> {
    let file = path.join("LOCK");
    let lock = File::options().create(true).truncate(false).write(true).open(&file);
    let lock = lock.map_err(|error| SpoolError::io(&file, error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(SpoolError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(SpoolError::io(&file, error)),
    }
}

/// The segments' files, oldest first. Others are left alone.
fn list(path: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let failed = |error| SpoolError::io(path, error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let numbered = file.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| {
            stem.len() == 20 && stem.bytes().all(|digit| digit.is_ascii_digit())
        });
        if numbered && file.extension().is_some_and(|ending| ending == ENDING) {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        warn!("{}: {error}: its frames will be sent again by the next start", path.display());
    }
}
