//! What can happen, and what is looked at after it has.

use super::Flaw;
use super::merge::{Merge, Window};
use super::reader::{Raw, check_version, check_view};
use super::rollup::{Source, Tier, check_expired};
use super::rows::{DAY, Row, Rows, SLOT, day, write_all};
use super::runs::composed;
use super::table::{About, Change, File, LARGE, SMALL, Table};
use super::writer::{Batch, Writer};
use crate::rules::check::{Broken, check_flush};
use crate::snapshot::{FileKind, Level, TimeRange};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

const WRITERS: usize = 3;
const PRODUCERS: usize = 2;
/// A new writer's producers still have as many batches.
const SPOOL: usize = 3;
const WAITING_MERGES: usize = 3;
const FIRST_SLOT: i64 = -8;

/// A row at some distance from now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    series: u8,
    ahead: i8,
    values: [Option<i64>; 3],
}

/// Numbers are taken modulo what there is to choose from.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Append {
        writer: u8,
        producer: u8,
        samples: Vec<Sample>,
        durable: bool,
    },
    Resend {
        writer: u8,
        producer: u8,
    },
    Sync(u8),
    Crash(u8),
    NewWriter,
    Seal(u8),
    /// Commits what is sealed; whoever does not publish it may crash or go on.
    Commit {
        writer: u8,
        publish: bool,
    },
    Flush(u8),
    /// Takes over what others have committed.
    Publish {
        writer: u8,
        age: u8,
    },
    Merge(Window),
    PlanMerge(Window),
    CommitMerge(u8),
    Retain(u8),
    Foreign {
        prefix: u8,
        samples: Vec<Sample>,
        statistics: bool,
    },
    RollSmall {
        age: u8,
        behind: u8,
    },
    RollLarge {
        age: u8,
        behind: u8,
    },
}

fn sample() -> impl Strategy<Value = Sample> {
    let ahead = prop_oneof![6 => 0..=1_i8, 3 => -4..0_i8, 1 => -32..0_i8];
    let value = || prop::option::weighted(0.7, 0..4_i64);
    let values = (prop::option::weighted(0.8, 0..2_i64), value(), value());
    (0..3_u8, ahead, values).prop_map(|(series, ahead, (attribute, one, other))| Sample {
        series,
        ahead,
        values: [attribute, one, other],
    })
}

fn window() -> impl Strategy<Value = Window> {
    let places = (0..3_u8, 0..8_u8, 0..8_u8, 0..8_u8);
    (places, prop::bool::weighted(0.3), 0..200_u8).prop_map(
        |((age, date, start, len), cut, prefix)| Window { age, date, start, len, cut, prefix },
    )
}

fn op() -> impl Strategy<Value = Op> {
    // Mostly the first writer: that is the common case, and the one with most monotone files.
    let writer = || prop_oneof![3 => Just(0_u8), 2 => 0..3_u8];
    let samples = || prop::collection::vec(sample(), 1..5);
    prop_oneof![
        12 => (writer(), 0..2_u8, samples(), prop::bool::weighted(0.8)).prop_map(
            |(writer, producer, samples, durable)| Op::Append { writer, producer, samples, durable }
        ),
        2 => (writer(), 0..2_u8).prop_map(|(writer, producer)| Op::Resend { writer, producer }),
        1 => writer().prop_map(Op::Sync),
        2 => writer().prop_map(Op::Crash),
        3 => Just(Op::NewWriter),
        2 => writer().prop_map(Op::Seal),
        3 => (writer(), any::<bool>()).prop_map(|(writer, publish)| Op::Commit { writer, publish }),
        9 => writer().prop_map(Op::Flush),
        3 => (writer(), 0..3_u8).prop_map(|(writer, age)| Op::Publish { writer, age }),
        6 => window().prop_map(Op::Merge),
        4 => window().prop_map(Op::PlanMerge),
        4 => any::<u8>().prop_map(Op::CommitMerge),
        1 => (0..6_u8).prop_map(Op::Retain),
        3 => (0..200_u8, samples(), prop::bool::weighted(0.8)).prop_map(
            |(prefix, samples, statistics)| Op::Foreign { prefix, samples, statistics }
        ),
        5 => (0..4_u8, 0..6_u8).prop_map(|(age, behind)| Op::RollSmall { age, behind }),
        3 => (0..2_u8, 0..4_u8).prop_map(|(age, behind)| Op::RollLarge { age, behind }),
    ]
}

pub(super) fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..most)
}

#[derive(Debug)]
pub(super) struct World {
    flaw: Option<Flaw>,
    table: Table,
    writers: Vec<Writer>,
    /// What each producer has sent, by sequence.
    sent: [Vec<Vec<Row>>; PRODUCERS],
    merges: Vec<Merge>,
    small: Tier,
    large: Tier,
    now: i64,
    ids: u128,
}

impl World {
    pub(super) fn new(flaw: Option<Flaw>) -> Self {
        let mut world = Self {
            flaw,
            table: Table::new(),
            writers: Vec::new(),
            sent: Default::default(),
            merges: Vec::new(),
            small: Tier::new(SMALL),
            large: Tier::new(LARGE),
            now: 0,
            ids: 0,
        };
        world.new_writer();
        world
    }

    pub(super) fn step(&mut self, op: &Op) -> Result<(), Broken> {
        match op {
            Op::Append { writer, producer, samples, durable } => {
                let rows = self.rows(samples);
                self.now += 1;
                let producer = usize::from(*producer) % PRODUCERS;
                self.sent[producer].push(rows);
                self.deliver(*writer, producer);
                if *durable {
                    self.writer(*writer).sync();
                }
                self.view(*writer)
            }
            Op::Resend { writer, producer } => {
                self.deliver(*writer, usize::from(*producer) % PRODUCERS);
                self.view(*writer)
            }
            Op::Sync(writer) => {
                self.writer(*writer).sync();
                self.view(*writer)
            }
            Op::Crash(writer) => self.crash(*writer),
            Op::NewWriter => {
                self.new_writer();
                Ok(())
            }
            Op::Seal(writer) => {
                self.writer(*writer).seal();
                self.view(*writer)
            }
            Op::Commit { writer, publish } => self.commit(*writer, *publish),
            Op::Flush(writer) => {
                self.writer(*writer).seal();
                self.commit(*writer, true)
            }
            Op::Publish { writer, age } => self.publish(*writer, *age),
            _ => self.maintain(op),
        }
    }

    /// What no writer does.
    fn maintain(&mut self, op: &Op) -> Result<(), Broken> {
        match op {
            Op::Merge(window) => {
                let merge = self.plan(*window);
                merge.map_or(Ok(()), |merge| self.replace(merge))
            }
            Op::PlanMerge(window) => {
                let merge = self.plan(*window);
                self.merges.extend(merge);
                if self.merges.len() > WAITING_MERGES {
                    self.merges.remove(0);
                }
                Ok(())
            }
            Op::CommitMerge(number) if !self.merges.is_empty() => {
                let number = usize::from(*number) % self.merges.len();
                let merge = self.merges.swap_remove(number);
                self.replace(merge)
            }
            Op::Retain(days) => self.retain(i64::from(*days)),
            Op::Foreign { prefix, samples, statistics } => {
                self.foreign(*prefix, samples, *statistics)
            }
            Op::RollSmall { age, behind } => self.roll_small(*age, i64::from(*behind)),
            Op::RollLarge { age, behind } => self.roll_large(*age, i64::from(*behind)),
            _ => Ok(()),
        }
    }

    /// Everything is flushed; then nothing durable is missing, and all pairs of versions that a
    /// reader could have been pinned at agree.
    pub(super) fn finish(mut self) -> Result<(), Broken> {
        for writer in 0..self.writers.len() as u8 {
            for _ in 0..2 {
                self.step(&Op::Flush(writer))?;
            }
        }
        for writer in &self.writers {
            let covered = self.table.newest().covered.get(&writer.id).copied().unwrap_or(0);
            if covered != writer.log.len() as u64 {
                let found = format!("{covered} of {} batches", writer.log.len());
                return Err(Broken::new("all_that_is_durable_is_stored", found));
            }
        }
        let none = &self.large.versions[0];
        for raw in &self.table.versions {
            for small in &self.small.versions {
                Raw::of(raw).check((small, none), self.flaw)?;
            }
        }
        let newest = Raw::of(self.table.newest());
        for small in &self.small.versions {
            let pinned = Raw::of(self.table.at(small.source));
            for large in &self.large.versions {
                newest.check((small, large), self.flaw)?;
                pinned.check((small, large), self.flaw)?;
            }
        }
        Ok(())
    }

    fn id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(self.ids)
    }

    fn number(&self, writer: u8) -> usize {
        usize::from(writer) % self.writers.len()
    }

    fn writer(&mut self, writer: u8) -> &mut Writer {
        let number = self.number(writer);
        &mut self.writers[number]
    }

    fn rows(&self, samples: &[Sample]) -> Vec<Row> {
        let row = |sample: &Sample| {
            let slot = (self.now + i64::from(sample.ahead)).max(FIRST_SLOT);
            Row { key: (sample.series, slot * SLOT), values: sample.values }
        };
        samples.iter().map(row).collect()
    }

    fn new_writer(&mut self) {
        if self.writers.len() < WRITERS {
            let id = self.id();
            self.writers.push(Writer::open(id, Vec::new(), self.table.newest()));
        }
    }

    /// A producer sends what the writer does not have, in the order of its sequences.
    fn deliver(&mut self, writer: u8, producer: usize) {
        let sent = self.sent[producer].clone();
        let writer = self.writer(writer);
        let from = writer.wanted(producer).unwrap_or(sent.len().saturating_sub(SPOOL));
        for (sequence, rows) in sent.into_iter().enumerate().skip(from) {
            writer.stage(Batch { producer, sequence, rows });
        }
    }

    fn crash(&mut self, writer: u8) -> Result<(), Broken> {
        let number = self.number(writer);
        let (id, log) = {
            let writer = &mut self.writers[number];
            (writer.id, std::mem::take(&mut writer.log))
        };
        self.writers[number] = Writer::open(id, log, self.table.newest());
        self.view(writer)
    }

    fn commit(&mut self, writer: u8, publish: bool) -> Result<(), Broken> {
        let number = self.number(writer);
        if let Some(change) = self.writers[number].flush(&mut self.table) {
            let newest = self.table.newest();
            let (id, position) = change.covered.expect("a flush covers");
            let files: Vec<_> = change.added.iter().map(|file| file.about.clone()).collect();
            let covered = (newest.covered.get(&id).copied(), position);
            check_flush(&newest.log, &files, newest.number + 1, covered)?;
            self.table.commit(change);
            self.check_newest()?;
        }
        if publish { self.publish(writer, 0) } else { self.view(writer) }
    }

    fn publish(&mut self, writer: u8, age: u8) -> Result<(), Broken> {
        let number = self.number(writer);
        let keep = self.flaw == Some(Flaw::KeepsCovered);
        self.writers[number].publish(self.table.recent(age), keep);
        self.view(writer)
    }

    fn plan(&mut self, window: Window) -> Option<Merge> {
        let id = self.id();
        Merge::plan(&mut self.table, window, id, self.flaw)
    }

    fn replace(&mut self, merge: Merge) -> Result<(), Broken> {
        if merge.commit(&mut self.table, self.flaw)? {
            self.check_newest()?;
        }
        Ok(())
    }

    /// Takes the days away that are so far back.
    fn retain(&mut self, days: i64) -> Result<(), Broken> {
        let first = day(self.now * SLOT) - days;
        let gone = |file: &&File| file.rows.keys().all(|(_, time)| day(*time) < first);
        let newest = self.table.newest();
        let removed = newest.files.iter().filter(gone).map(|file| file.about.clone()).collect();
        self.table.commit(Change { removed, kept_from: Some(first), ..Change::default() });
        self.check_newest()
    }

    /// Another program adds the rows of one day.
    fn foreign(&mut self, prefix: u8, samples: &[Sample], with: bool) -> Result<(), Broken> {
        let mut rows = self.rows(samples);
        let date = day(rows[0].key.1);
        rows.retain(|row| day(row.key.1) == date);
        let mut unique = Rows::new();
        write_all(&mut unique, rows.iter().copied());
        let (kind, writer, version) = (FileKind::Late, Uuid::nil(), 0);
        let about = About { kind, writer, version, level: Level::Flush };
        let mut file = File::new(self.table.name(prefix), unique, about);
        if !with {
            Arc::make_mut(&mut file.about).times = TimeRange::ALL;
        }
        self.table.commit_foreign(file, rows);
        self.check_newest()
    }

    fn roll_small(&mut self, age: u8, behind: i64) -> Result<(), Broken> {
        let before = self.small.newest();
        let raw = self.table.recent(age);
        let raw = if raw.number < before.source { self.table.newest() } else { raw };
        let until = ((self.now - behind) * SLOT).div_euclid(SMALL) * SMALL;
        let until = until.max(before.until);
        let source = Source {
            version: raw.number,
            log: &raw.log,
            cells: &raw.small,
            kept_from: raw.kept_from,
        };
        self.small.advance(&source, until, self.flaw == Some(Flaw::RollsExpired));
        check_expired(&self.small, &source)?;
        let tiers = (self.small.newest(), self.large.newest());
        Raw::of(raw).check(tiers, self.flaw)?;
        Raw::of(self.table.newest()).check(tiers, self.flaw)
    }

    fn roll_large(&mut self, age: u8, behind: i64) -> Result<(), Broken> {
        let before = self.large.newest();
        let versions = &self.small.versions;
        let small = &versions[versions.len().saturating_sub(1 + usize::from(age))];
        let small = if small.number < before.source { self.small.newest() } else { small };
        let until = (small.until - behind * SMALL).div_euclid(LARGE) * LARGE;
        let until = until.max(before.until);
        let cells = composed(&small.cells, LARGE);
        let kept_from = self.table.at(small.source).kept_from;
        let source = Source { version: small.number, log: &small.log, cells: &cells, kept_from };
        self.large.advance(&source, until, self.flaw == Some(Flaw::RollsExpired));
        check_expired(&self.large, &source)?;
        let tiers = (self.small.newest(), self.large.newest());
        Raw::of(self.table.newest()).check(tiers, self.flaw)
    }

    fn check_newest(&self) -> Result<(), Broken> {
        let newest = self.table.newest();
        check_version(newest)?;
        Raw::of(newest).check((self.small.newest(), self.large.newest()), self.flaw)
    }

    fn view(&self, writer: u8) -> Result<(), Broken> {
        let writer = &self.writers[self.number(writer)];
        check_sequences(writer)?;
        let tiers = (self.small.newest(), self.large.newest());
        check_view(writer, self.table.at(writer.seen), tiers, self.flaw)
    }
}

/// A log takes a sequence once, and none between two.
fn check_sequences(writer: &Writer) -> Result<(), Broken> {
    let mut next: BTreeMap<usize, usize> = BTreeMap::new();
    for batch in &writer.log {
        let expected = next.entry(batch.producer).or_insert(batch.sequence);
        if *expected != batch.sequence {
            let found = format!("{} instead of {expected}", batch.sequence);
            return Err(Broken::new("a_log_takes_a_sequence_once", found));
        }
        *expected += 1;
    }
    Ok(())
}

const _: () = assert!(DAY % LARGE == 0, "buckets lie within days");
