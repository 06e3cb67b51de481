//! A writer: a log, the rows that its tables do not have yet, and flushes.

use super::rows::{Row, Rows, day, write_all};
use super::table::{About, Change, File, Table, Version};
use crate::snapshot::{FileKind, Level, TimeRange};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What a producer sends at once.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) producer: usize,
    pub(super) sequence: usize,
    pub(super) rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Newest {
    times: BTreeMap<u8, i64>,
    floor: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Generation {
    newest: Newest,
    /// In log order.
    pub(super) rows: Vec<Row>,
    pub(super) times: Option<TimeRange>,
    pub(super) late: Option<TimeRange>,
}

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) id: Uuid,
    /// What is durable. A position is a number of batches.
    pub(super) log: Vec<Batch>,
    /// What a crash takes.
    staged: Vec<Batch>,
    latest: Newest,
    /// With the position at which it ends.
    sealed: Option<(Generation, u64)>,
    active: Generation,
    /// The version that its readers see.
    pub(super) seen: u64,
}

impl Newest {
    fn of(&self, series: u8) -> i64 {
        self.times.get(&series).copied().unwrap_or(self.floor)
    }

    fn raise(&mut self, (series, time): (u8, i64)) {
        let time = time.max(self.of(series));
        self.times.insert(series, time);
    }
}

impl Generation {
    fn new(newest: Newest) -> Self {
        Self { newest, rows: Vec::new(), times: None, late: None }
    }

    fn push(&mut self, batch: &Batch, latest: &mut Newest) {
        let times = batch.rows.iter().map(|row| TimeRange { first: row.key.1, last: row.key.1 });
        let Some(times) = times.reduce(TimeRange::span) else { return };
        self.times = Some(self.times.map_or(times, |all| all.span(times)));
        if batch.rows.iter().any(|row| row.key.1 <= self.newest.of(row.key.0)) {
            self.late = Some(self.late.map_or(times, |late| late.span(times)));
        }
        batch.rows.iter().for_each(|row| latest.raise(row.key));
        self.rows.extend(&batch.rows);
    }

    /// The rows by day and kind, as a flush writes them.
    fn groups(&self) -> BTreeMap<(i64, FileKind), Rows> {
        let mut groups: BTreeMap<_, Rows> = BTreeMap::new();
        for row in &self.rows {
            let (series, time) = row.key;
            let late = time <= self.newest.of(series);
            let kind = if late { FileKind::Late } else { FileKind::Monotone };
            write_all(groups.entry((day(time), kind)).or_default(), [*row]);
        }
        groups
    }
}

impl Writer {
    /// Opens a log over what the table has: rows that it lacks come back.
    pub(super) fn open(id: Uuid, log: Vec<Batch>, table: &Version) -> Self {
        let last = table.log.iter().map(|file| file.times.last).max();
        let latest = Newest { times: BTreeMap::new(), floor: last.unwrap_or(i64::MIN) };
        let active = Generation::new(latest.clone());
        let (staged, seen) = (Vec::new(), table.number);
        let mut writer = Self { id, log, staged, latest, sealed: None, active, seen };
        let covered = table.covered.get(&id).copied().unwrap_or(0);
        for batch in &writer.log[covered as usize..] {
            writer.active.push(batch, &mut writer.latest);
        }
        writer
    }

    /// The first sequence of a producer that the log does not have.
    pub(super) fn wanted(&self, producer: usize) -> Option<usize> {
        let batches = self.log.iter().chain(&self.staged);
        let last = batches.filter(|batch| batch.producer == producer).map(|batch| batch.sequence);
        last.max().map(|last| last + 1)
    }

    pub(super) fn stage(&mut self, batch: Batch) {
        self.staged.push(batch);
    }

    /// What was staged is durable, and readers see it.
    pub(super) fn sync(&mut self) {
        for batch in std::mem::take(&mut self.staged) {
            self.active.push(&batch, &mut self.latest);
            self.log.push(batch);
        }
    }

    pub(super) fn seal(&mut self) {
        if self.sealed.is_none() && !self.active.rows.is_empty() {
            let next = Generation::new(self.latest.clone());
            let sealed = std::mem::replace(&mut self.active, next);
            self.sealed = Some((sealed, self.log.len() as u64));
        }
    }

    /// The commit of what is sealed, unless the table has it already.
    pub(super) fn flush(&self, table: &mut Table) -> Option<Change> {
        let (generation, position) = self.sealed.as_ref()?;
        let covered = table.newest().covered.get(&self.id).copied().unwrap_or(0);
        if covered >= *position {
            return None;
        }
        let version = table.newest().number + 1;
        let mut added = Vec::new();
        for ((_, kind), rows) in generation.groups() {
            let about = About { kind, writer: self.id, version, level: Level::Flush };
            added.push(File::new(table.name(100), rows, about));
        }
        let batches = &self.log[covered as usize..*position as usize];
        Some(Change {
            added,
            covered: Some((self.id, *position)),
            written: batches.iter().flat_map(|batch| batch.rows.clone()).collect(),
            ..Change::default()
        })
    }

    /// Readers see a version from now on, and sealed rows that it covers no longer beside it.
    pub(super) fn publish(&mut self, version: &Version, keep_covered: bool) {
        if version.number < self.seen {
            return;
        }
        self.seen = version.number;
        let covered = version.covered.get(&self.id).copied().unwrap_or(0);
        if !keep_covered {
            self.sealed.take_if(|(_, position)| *position <= covered);
        }
    }

    pub(super) fn generations(&self) -> impl Iterator<Item = &Generation> {
        self.sealed.iter().map(|(sealed, _)| sealed).chain([&self.active])
    }
}
