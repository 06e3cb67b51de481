//! The log's folder: its lock and the names of its segments.

use super::disk;
use crate::error::{ErrorKind, StorageError};
use crate::model::Position;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

const LOCK: &str = "LOCK";
const DIGITS: usize = 20;

/// The folder of one log, held against other processes until it is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// `None` where another process writes the log, and this one only looks.
    lock: Option<File>,
}

impl Folder {
    /// Makes the folder where it is missing and locks it.
    pub(crate) fn lock(path: &Path) -> Result<Self, StorageError> {
        let failed = |error| {
            let what = format!("the log folder {} cannot be opened", path.display());
            StorageError::because(ErrorKind::Retry, what, error)
        };
        disk::create_folder(path).map_err(failed)?;
        let file = File::options().create(true).append(true).open(path.join(LOCK));
        let lock = file.map_err(failed)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), lock: Some(lock) }),
            Err(Errno::WOULDBLOCK) => Err(StorageError::new(
                ErrorKind::Fenced,
                format!(
                    "the log folder {} is in use by another process: stop it first, or choose another folder",
                    path.display()
                ),
            )),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// The folder as it is, to be read: held against those who would write, unless one does.
    pub(super) fn look(path: &Path) -> io::Result<Self> {
        let lock = match File::open(path.join(LOCK)) {
            Ok(lock) => lock,
            // A log that was copied without its lock: nobody writes it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => File::open(path)?,
            Err(error) => return Err(error),
        };
        let held = match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Some(lock),
            Err(Errno::WOULDBLOCK) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path: path.to_owned(), lock: held })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether another process writes the log.
    pub(super) fn is_written(&self) -> bool {
        self.lock.is_none()
    }

    /// The first positions of the segments found, ascending. Other files are left alone.
    pub(super) fn segments(&self) -> io::Result<Vec<Position>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            found.extend(entry?.file_name().to_str().and_then(first_position));
        }
        found.sort_unstable();
        Ok(found)
    }

    pub(super) fn segment(&self, first: Position) -> PathBuf {
        self.path.join(segment_name(first))
    }

    /// Deletes a segment for good; one that is gone already is no error.
    pub(super) fn delete(&self, first: Position) -> io::Result<()> {
        match disk::delete(&self.segment(first)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.sync(),
        }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        disk::sync_folder(&self.path)
    }
}

pub(super) fn segment_name(first: Position) -> String {
    format!("{first:0DIGITS$}.log")
}

fn first_position(name: &str) -> Option<Position> {
    let digits = name.strip_suffix(".log")?;
    let decimal = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|first| decimal && *first > 0)
}
