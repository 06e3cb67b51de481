//! Looks at a log without changing it: for those who verify it or copy it.
//!
//! Promises: the log stays as it is, a torn tail too. Where no process writes it, none begins to
//! while the look is held.

use super::folder::{Folder, segment_name};
use super::recovery::{ReadSegment, Recovery};
use crate::error::{ErrorKind, StorageError};
use crate::model::Position;
use std::io;
use std::path::Path;
use uuid::Uuid;

/// How often a log is read anew because segments went away meanwhile.
const ATTEMPTS: usize = 5;

/// A log as it was found. Held, it keeps a server from starting on the log.
#[derive(Debug)]
pub(crate) struct Look {
    folder: Folder,
    /// `None` where the folder holds no segment that says it.
    pub(crate) incarnation: Option<Uuid>,
    /// The segments that are sound, oldest first.
    pub(crate) segments: Vec<ReadSegment>,
    /// The position of the last batch.
    pub(crate) end: Position,
    pub(crate) batches: u64,
    /// A write that did not finish, which a server cuts: in a sentence.
    pub(crate) torn: Option<String>,
    /// Why nothing behind the sound segments was read.
    pub(crate) damage: Option<StorageError>,
}

impl Look {
    /// Reads the log in a folder; `None` where there is no such folder. `seen` hears of bytes.
    pub(crate) fn at(dir: &Path, mut seen: impl FnMut(u64)) -> Result<Option<Self>, StorageError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let folder = match Folder::look(dir) {
                Ok(folder) => folder,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => {
                    let what = format!("the log folder {} cannot be read", dir.display());
                    return Err(StorageError::because(ErrorKind::Retry, what, error));
                }
            };
            let look = Self::read(folder, &mut seen)?;
            let gone = look.damage.as_ref().is_some_and(is_not_found);
            if !(gone && look.is_written() && attempts < ATTEMPTS) {
                return Ok(Some(look));
            }
        }
    }

    fn read(folder: Folder, seen: &mut impl FnMut(u64)) -> Result<Self, StorageError> {
        let names = folder.path().to_owned();
        let mut recovery = match Recovery::look(folder) {
            Ok(recovery) => recovery,
            Err(error) => return Self::unread(&names, error),
        };
        let (mut batches, mut damage) = (0, None);
        for group in recovery.by_ref() {
            match group {
                Ok(group) => {
                    batches += group.entries.len() as u64;
                    let blocks = group.entries.iter().flat_map(|entry| &entry.blocks);
                    seen(blocks.map(|block| block.bytes().len() as u64).sum());
                }
                Err(error) => damage = Some(error),
            }
        }
        let torn = recovery.torn.map(|torn| {
            format!("segment {}, offset {}: {}", segment_name(torn.segment), torn.offset, torn.what)
        });
        Ok(Self {
            incarnation: recovery.incarnation,
            segments: std::mem::take(&mut recovery.read),
            end: recovery.end(),
            batches,
            torn,
            damage,
            folder: recovery.into_folder(),
        })
    }

    /// A log whose first segment does not even begin as one.
    fn unread(dir: &Path, error: StorageError) -> Result<Self, StorageError> {
        let folder = Folder::look(dir)
            .map_err(|e| StorageError::because(ErrorKind::Retry, "the log cannot be read", e))?;
        Ok(Self {
            folder,
            incarnation: None,
            segments: Vec::new(),
            end: 0,
            batches: 0,
            torn: None,
            damage: Some(error),
        })
    }

    /// Whether a server writes the log: then its last segment may have been read in part.
    pub(crate) fn is_written(&self) -> bool {
        self.folder.is_written()
    }

    /// The first position that the log has; 0 where it has no segment.
    pub(crate) fn first(&self) -> Position {
        self.segments.first().map_or(0, |segment| segment.first)
    }

    /// The bytes of a segment up to the end of its last group, and its name.
    pub(crate) fn bytes_of(&self, segment: &ReadSegment) -> io::Result<(String, Vec<u8>)> {
        use std::io::Read;
        let mut bytes = Vec::new();
        let file = std::fs::File::open(self.folder.segment(segment.first))?;
        file.take(segment.end).read_to_end(&mut bytes)?;
        Ok((segment_name(segment.first), bytes))
    }
}

fn is_not_found(error: &StorageError) -> bool {
    let cause = std::error::Error::source(error);
    let cause = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}
