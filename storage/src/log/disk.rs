//! What the log asks of the disk, each step once and by name.
//!
//! Promises: a write is whole or an error; a sync that returned has reached the disk. Nothing is
//! tried again: after a failed sync the kernel may have dropped the very pages it failed on. A full
//! disk is told apart where it is met before any sync: the same step may then be taken again.

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

#[cfg(test)]
pub(super) mod trace;
#[cfg(test)]
pub(crate) mod volume;

/// A step that changes the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create,
    Preallocate,
    Cut,
    Write,
    SyncData,
    SyncFile,
    SyncFolder,
    Delete,
}

/// What a step is taken with, beside its place.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "tests watch steps"))]
enum With<'a> {
    Nothing,
    Length(u64),
    Bytes(&'a [u8], u64),
}

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "tests make steps fail")]
fn step(_step: Step, _place: &Path, _with: With<'_>) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
fn step(step: Step, place: &Path, with: With<'_>) -> io::Result<()> {
    trace::step(step)?;
    volume::step(step, place, with)
}

/// Why a step was not taken.
#[derive(Debug)]
pub(super) enum Failed {
    /// The disk has no room, and nothing has been lost: the step may be taken again.
    Full(io::Error),
    /// Nothing more can be relied on.
    Broken(io::Error),
}

impl Failed {
    /// Of a step that can be taken again, other than a sync.
    pub(super) fn of(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(error),
            _ => Self::Broken(error),
        }
    }
}

impl From<Failed> for io::Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Full(error) | Failed::Broken(error) => error,
        }
    }
}

/// An open segment file.
#[derive(Debug)]
pub(super) struct DiskFile {
    file: File,
    path: PathBuf,
}

impl DiskFile {
    /// An empty file at `path`, whatever was there.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        step(Step::Create, path, With::Nothing)?;
        Self::opened(OpenOptions::new().read(true).write(true).create(true).truncate(true), path)
    }

    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::opened(OpenOptions::new().read(true).write(true), path)
    }

    fn opened(options: &OpenOptions, path: &Path) -> io::Result<Self> {
        Ok(Self { file: options.open(path)?, path: path.to_owned() })
    }

    /// A file that is not to be changed.
    pub(super) fn open_to_read(path: &Path) -> io::Result<Self> {
        Self::opened(OpenOptions::new().read(true), path)
    }

    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Fills `buffer` from `offset`; the file must reach that far.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        step(Step::Write, &self.path, With::Bytes(bytes, offset))?;
        self.file.write_all_at(bytes, offset)
    }

    pub(super) fn sync_data(&self) -> io::Result<()> {
        step(Step::SyncData, &self.path, With::Nothing)?;
        self.file.sync_data()
    }

    /// Syncs the data and all that the file system keeps about the file.
    pub(super) fn sync_file(&self) -> io::Result<()> {
        step(Step::SyncFile, &self.path, With::Nothing)?;
        self.file.sync_all()
    }

    /// Ends the file at `length`; what lay behind it reads as zero if the file grows again.
    pub(super) fn cut(&self, length: u64) -> io::Result<()> {
        step(Step::Cut, &self.path, With::Length(length))?;
        self.file.set_len(length)
    }

    /// Reserves space up to `capacity`, which reads as zero. Where the file system cannot, the
    /// file grows as it is written.
    pub(super) fn preallocate(&self, capacity: u64) -> io::Result<()> {
        step(Step::Preallocate, &self.path, With::Length(capacity))?;
        let length = self.length()?;
        if capacity <= length {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), length, capacity - length)
        {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

pub(super) fn delete(path: &Path) -> io::Result<()> {
    step(Step::Delete, path, With::Nothing)?;
    std::fs::remove_file(path)
}

/// Makes created, renamed and deleted names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    step(Step::SyncFolder, path, With::Nothing)?;
    File::open(path)?.sync_all()
}

/// Makes a folder and those above it, each durable in the one that holds it.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    create_folder(parent)?;
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(parent),
    }
}
