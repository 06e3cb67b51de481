//! A table's versions, and what is true at each of them.

use super::rows::{Row, Rows, day, write_all};
use super::runs::{Cells, cells_of};
use crate::snapshot::{DataFile, FileKind, FileOrder, Level, TimeRange};
use chrono::DateTime;
use object_store::path::Path;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) about: Arc<DataFile>,
    pub(super) rows: Arc<Rows>,
}

#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) number: u64,
    /// In the order of writes.
    pub(super) files: Vec<File>,
    /// What the log says of them.
    pub(super) log: Vec<Arc<DataFile>>,
    pub(super) covered: BTreeMap<Uuid, u64>,
    /// The first day that retention has left.
    pub(super) kept_from: i64,
    /// What a reader of this version must see.
    pub(super) truth: Rows,
    pub(super) small: Cells,
    pub(super) large: Cells,
}

/// What a version changes.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) removed: Vec<Arc<DataFile>>,
    pub(super) added: Vec<File>,
    pub(super) covered: Option<(Uuid, u64)>,
    pub(super) kept_from: Option<i64>,
    /// The rows that come with it, in the order of their writes.
    pub(super) written: Vec<Row>,
}

#[derive(Debug)]
pub(super) struct Table {
    /// By number.
    pub(super) versions: Vec<Version>,
    written: Vec<Vec<Row>>,
    /// Rows of files of other programs, each of one day, in the order of the day's files.
    foreign: Vec<(Path, Vec<Row>)>,
    names: u64,
}

impl Table {
    pub(super) fn new() -> Self {
        let empty = Version {
            number: 0,
            files: Vec::new(),
            log: Vec::new(),
            covered: BTreeMap::new(),
            kept_from: i64::MIN,
            truth: Rows::new(),
            small: Cells::new(),
            large: Cells::new(),
        };
        Self { versions: vec![empty], written: Vec::new(), foreign: Vec::new(), names: 0 }
    }

    pub(super) fn newest(&self) -> &Version {
        self.versions.last().expect("there is version 0")
    }

    pub(super) fn at(&self, number: u64) -> &Version {
        &self.versions[number as usize]
    }

    /// A version that was the newest a little while ago.
    pub(super) fn recent(&self, age: u8) -> &Version {
        let last = self.versions.len() - 1;
        &self.versions[last.saturating_sub(usize::from(age))]
    }

    /// A name; which of two is first is not said by which was made first.
    pub(super) fn name(&mut self, prefix: u8) -> Path {
        self.names += 1;
        format!("t/{prefix:03}-{:06}", self.names).into()
    }

    pub(super) fn commit(&mut self, change: Change) -> &Version {
        let before = self.newest();
        let removed: HashSet<_> = change.removed.iter().map(|file| &file.path).collect();
        let mut files = before.files.clone();
        files.retain(|file| !removed.contains(&file.about.path));
        files.extend(change.added);
        files.sort_by(|a, b| place(&a.about).cmp(&place(&b.about)));
        let mut covered = before.covered.clone();
        covered.extend(change.covered);
        let kept_from = before.kept_from.max(change.kept_from.unwrap_or(i64::MIN));
        let number = before.number + 1;
        self.written.push(change.written);
        let truth = self.truth(kept_from);
        let log = files.iter().map(|file| file.about.clone()).collect();
        let (small, large) = (cells_of(&truth, SMALL), cells_of(&truth, LARGE));
        self.versions.push(Version { number, files, log, covered, kept_from, truth, small, large });
        self.newest()
    }

    /// A file of another program comes: older than all of ours, and between others of its kind
    /// where its name says.
    pub(super) fn commit_foreign(&mut self, file: File, rows: Vec<Row>) -> &Version {
        let path = file.about.path.clone();
        let unmerged: HashSet<_> =
            self.newest().files.iter().map(|file| file.about.path.clone()).collect();
        let date = day(rows[0].key.1);
        let after = |(other, those): &(Path, Vec<Row>)| {
            day(those[0].key.1) == date && unmerged.contains(other) && *other > path
        };
        let at = self.foreign.iter().position(after).unwrap_or(self.foreign.len());
        self.foreign.insert(at, (path, rows));
        self.commit(Change { added: vec![file], ..Change::default() })
    }

    fn truth(&self, kept_from: i64) -> Rows {
        let foreign = self.foreign.iter().flat_map(|(_, rows)| rows);
        let ours = self.written.iter().flatten();
        let mut truth = Rows::new();
        let kept = foreign.chain(ours).filter(|row| day(row.key.1) >= kept_from);
        write_all(&mut truth, kept.copied());
        truth
    }
}

pub(super) const SMALL: i64 = 2 * super::rows::SLOT;
pub(super) const LARGE: i64 = 2 * SMALL;

fn place(file: &DataFile) -> (FileOrder, &Path) {
    (file.order, &file.path)
}

/// What the log is told of a file apart from its rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub(super) kind: FileKind,
    pub(super) writer: Uuid,
    pub(super) version: u64,
    pub(super) level: Level,
}

impl File {
    /// A file of rows of one day, of which there are some.
    pub(super) fn new(path: Path, rows: Rows, about: About) -> Self {
        let times = rows.keys().map(|(_, time)| TimeRange { first: *time, last: *time });
        let times = times.reduce(TimeRange::span).expect("a file has rows");
        let date = DateTime::from_timestamp_micros(times.first).expect("a near time");
        let About { kind, writer, version, level } = about;
        let about = DataFile {
            path,
            bytes: rows.len() as u64,
            rows: rows.len() as u64,
            times,
            order: FileOrder { version, kind },
            writer,
            kind,
            level,
            date: date.date_naive(),
        };
        Self { about: Arc::new(about), rows: Arc::new(rows) }
    }
}
