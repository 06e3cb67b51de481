//! Keeps the rollups of a table behind its rows.
//!
//! ```text
//! pin      the table's files at version V
//! choose   T, the end of the last bucket that is complete; the buckets before it of which rows
//!          came after the tier's last version, and those between its last T and this one
//! compute  these buckets, from all rows of the files at V
//! commit   the tier's files without and with them, V and T in one commit
//! ```
//! docs/decisions/2026-11-24-merges-and-rollups.md says why that is right, and
//! docs/formats/rollup.md what lies in a tier's table.

use super::Maintenance;
use crate::buffer::MICROSECONDS_PER_DAY;
use crate::error::StorageError;
use crate::machine::{blocking, uptime};
use crate::maintenance::merging::Stretch;
use crate::merge::{Batches, Merge, Wanted, batches_of, outside};
use crate::model::{TableSchema, Timestamp};
use crate::rollup::{Combine, Reduce, TIERS, Tier, as_begun, tier_schema};
use crate::rules::{FOREIGN, dirty, merged, whole_buckets};
use crate::snapshot::{DataFile, FileKind, Level, TimeRange};
use crate::state::{Reach, Rolled, Stored};
use crate::table::{Effort, FileAbout, FileWriter, Mark, Table, WrittenFile};
use arrow::array::RecordBatch;
use chrono::NaiveDate;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::Mutex as AsyncMutex;
use uuid::Uuid;

/// A tier is made only of a table that has so many samples in a bucket.
const SAMPLES_PER_BUCKET: usize = 20;
/// Rows that this is judged by.
const JUDGED_ROWS: usize = 1 << 20;
/// How many versions later a table that was too sparse is looked at again: the next, then always
/// twice as many, up to this. The first flush may have caught a part of its rows alone.
const JUDGED_AGAIN: u64 = 64;
/// How far the last complete bucket stays behind the newest row: rows of one instant reach the
/// files in two flushes.
const SETTLING: i64 = 60_000_000;

/// A table whose rows were too few a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sparse {
    /// In versions.
    wait: u64,
    /// The version that it is looked at again.
    again: u64,
}

/// What a tier is made from.
struct Source {
    name: Arc<str>,
    id: Arc<str>,
    schema: Arc<TableSchema>,
    stored: Stored,
}

/// One run of a tier.
struct Run<'a> {
    raw: &'a Arc<TableSchema>,
    source: &'a Source,
    tier: Tier,
    /// To be computed: whole buckets, disjoint, ascending.
    buckets: Vec<TimeRange>,
    reach: Reach,
    /// The version of the tier that it follows: after any other the buckets may be there already.
    follows: u64,
}

impl Maintenance {
    /// Brings a raw table's rollups as far as they can go. With `now`, merges what is due of a tier
    /// before the next is made: of all files of its buckets at once, which are few then.
    pub(super) async fn roll(
        &self,
        table: &Arc<str>,
        now: Option<Timestamp>,
    ) -> Result<(), StorageError> {
        let Some(raw) = self.source(table).await? else { return Ok(()) };
        let schema = raw.schema.clone();
        let mut source = Some(raw);
        for tier in TIERS {
            let Some(from) = source.take() else { break };
            while self.advance(&schema, &from, tier).await? {}
            self.publish_tiers(table).await?;
            let name = tier.table(table).into();
            if let Some(now) = now {
                self.merge_due(&name, now).await?;
            }
            let narrower = self.source(&name).await?;
            source = Some(narrower.unwrap_or(from));
        }
        Ok(())
    }

    /// Up to where all rollups that a table has have its rows, and those that a rollup is read
    /// for have its own; for ever where there are none.
    pub(super) fn rolled_until(&self, table: &Arc<str>) -> Timestamp {
        let state = self.state.lock();
        let Some(number) = state.number(table) else { return Timestamp::MAX };
        let own = state.table(number).tiers();
        let wider = state.tables().iter().find_map(|raw| {
            let place = raw.tiers().iter().position(|rolled| rolled.table == *table)?;
            Some(&raw.tiers()[place + 1..])
        });
        let all = own.iter().chain(wider.unwrap_or_default());
        all.map(Rolled::until).min().unwrap_or(Timestamp::MAX)
    }

    async fn source(&self, name: &Arc<str>) -> Result<Option<Source>, StorageError> {
        let Some((_, stored)) = self.stored(name) else { return Ok(None) };
        let Some(handle) = self.open.get(name) else { return Ok(None) };
        let held = handle.lock().await;
        let (id, schema) = (held.id().clone(), held.schema().clone());
        Ok(Some(Source { name: name.clone(), id, schema, stored }))
    }

    /// Computes what the tier lacks, at most to the end of one day; answers whether more may be
    /// left.
    async fn advance(
        &self,
        raw: &Arc<TableSchema>,
        source: &Source,
        tier: Tier,
    ) -> Result<bool, StorageError> {
        let name: Arc<str> = tier.table(&raw.table).into();
        let (before, follows) = match self.open.get(&name) {
            Some(handle) => {
                let mut held = handle.lock().await;
                held.complete().await?;
                (reach(&mut held, &source.id).await?, held.version())
            }
            None => (None, 0),
        };
        let end = source.end(tier, self.state.lock().table_until(source.name.as_ref()));
        let Some(until) = source.next_end(before, end) else { return Ok(false) };
        let buckets = source.buckets(before, until, tier);
        let since = before.map_or(Timestamp::MIN, |before| before.until);
        if buckets.is_empty() && until == since {
            return Ok(false);
        }
        let reach = Reach { version: source.stored.version, until };
        let run = Run { raw, source, tier, buckets, reach, follows };
        let Some(handle) = self.tier_table(&name, &run).await? else { return Ok(false) };
        self.compute(&handle, &run).await?;
        Ok(until < end)
    }

    /// The tier's table, made where there is none and the rows are dense enough.
    async fn tier_table(
        &self,
        name: &Arc<str>,
        run: &Run<'_>,
    ) -> Result<Option<Arc<AsyncMutex<Table>>>, StorageError> {
        let schema = match tier_schema(run.raw, run.tier, &self.options.kinds) {
            Ok(schema) => schema,
            Err(error) => {
                tracing::debug!(%error, "no rollups");
                return Ok(None);
            }
        };
        if let Some(handle) = self.open.get(name) {
            let mut held = handle.lock().await;
            if held.schema().identity != schema.identity {
                tracing::debug!(%name, "no rollups: a table of that name is something else");
                return Ok(None);
            }
            let schema = as_begun(schema, run.raw, held.schema());
            if **held.schema() != schema {
                held.evolve(&schema).await?;
            }
            drop(held);
            return Ok(Some(handle));
        }
        let sparse = self.sparse.lock().get(name).copied();
        let version = run.source.stored.version;
        if run.buckets.is_empty() || sparse.is_some_and(|sparse| version < sparse.again) {
            return Ok(None);
        }
        if !self.is_dense(run, &schema).await? {
            let wait = sparse.map_or(1, |sparse| (2 * sparse.wait).min(JUDGED_AGAIN));
            self.sparse.lock().insert(name.clone(), Sparse { wait, again: version + wait });
            return Ok(None);
        }
        let table = self.tables.create_table(&schema).await?;
        let mut state = self.state.lock();
        let stored = Stored::of(&table, state.writer());
        state.add_tier(table.schema().clone(), stored);
        Ok(Some(self.open.insert(table)))
    }

    async fn is_dense(&self, run: &Run<'_>, schema: &TableSchema) -> Result<bool, StorageError> {
        let writer = self.writer_of(&run.source.name).await?;
        let Some(date) = run.dates().into_iter().next() else { return Ok(false) };
        let rows = run.source_rows(&writer, date).await?;
        let mut seen = 0;
        let first = rows.take_while(move |batch| {
            seen += batch.as_ref().map_or(0, RecordBatch::num_rows);
            seen <= JUDGED_ROWS
        });
        let counted = Arc::new(Mutex::new(0_usize));
        let count = counted.clone();
        let first = first.inspect(move |batch| {
            *count.lock() += batch.as_ref().map_or(0, RecordBatch::num_rows);
        });
        let reduced = run.reduced(Box::new(first), schema)?;
        let rows = reduced.map(|batch| batch.map(|batch| batch.num_rows()));
        let buckets = blocking(move || rows.sum::<Result<usize, _>>()).await?;
        Ok(buckets > 0 && *counted.lock() >= SAMPLES_PER_BUCKET * buckets)
    }

    async fn writer_of(&self, table: &Arc<str>) -> Result<FileWriter, StorageError> {
        Ok(self.open.of(table)?.lock().await.writer())
    }

    async fn compute(
        &self,
        handle: &Arc<AsyncMutex<Table>>,
        run: &Run<'_>,
    ) -> Result<(), StorageError> {
        let started = uptime();
        let from = self.writer_of(&run.source.name).await?;
        let (to, own) = {
            let held = handle.lock().await;
            (held.writer(), held.files())
        };
        let (mut replaced, mut written) = (Vec::new(), Vec::new());
        for date in run.dates() {
            let old = run.meeting(own.iter().filter(|file| file.date == date));
            if let Err(error) = self.day(run, date, (&from, &to), &old, &mut written).await {
                self.discard(&to, &written).await;
                return Err(error);
            }
            replaced.extend(old);
        }
        let rows: u64 = written.iter().map(WrittenFile::rows).sum();
        let bytes: u64 = written.iter().map(WrittenFile::bytes).sum();
        let mut held = handle.lock().await;
        let files = written.clone();
        let made = held.exchange(&replaced, files, run.marks(), true, Some(run.follows)).await?;
        if made {
            self.counters.rolled_rows.fetch_add(rows, Relaxed);
            self.counters.rolled_bytes.fetch_add(bytes, Relaxed);
            let micros = uptime().saturating_sub(started).as_micros() as u64;
            self.counters.roll_micros.fetch_add(micros, Relaxed);
        } else {
            self.discard(&to, &written).await;
        }
        self.publish(&held, None)
    }

    /// Writes one day of the tier: what stays of its old files, and the buckets that are computed.
    async fn day(
        &self,
        run: &Run<'_>,
        date: NaiveDate,
        (from, to): (&FileWriter, &FileWriter),
        old: &[Arc<DataFile>],
        written: &mut Vec<WrittenFile>,
    ) -> Result<(), StorageError> {
        let all: Arc<[TimeRange]> = [TimeRange::ALL].into();
        let mut sources = Vec::new();
        for file in old {
            let rows =
                batches_of(to.store().clone(), file.clone(), to.schema().clone(), all.clone());
            sources.push(outside(rows.await?, run.buckets.clone()));
        }
        sources.push(run.reduced(run.source_rows(from, date).await?, to.schema())?);
        let merge = Arc::new(Mutex::new(Merge::of(to.schema(), sources)));
        let width = 8 * to.schema().fields.len() as u64;
        let rows_per_file = (8 * self.options.file_size / width.max(1)).max(1) as usize;
        let about = FileAbout {
            date,
            kind: FileKind::Monotone,
            writer: writer_of_tiers(&run.source.id),
            positions: None,
            level: Level::Flush,
            version: None,
            effort: effort(date, run.reach.until),
        };
        while let Some(file) = to.write(Stretch::of(&merge, rows_per_file), about).await? {
            written.push(file);
        }
        Ok(())
    }

    /// Shows readers how far a table's rollups have come.
    pub(crate) async fn publish_tiers(&self, table: &Arc<str>) -> Result<(), StorageError> {
        let Some(raw) = self.source(table).await? else { return Ok(()) };
        let mut tiers: Vec<Rolled> = Vec::new();
        let mut narrower: Option<(Arc<str>, Reach, Stored)> = None;
        for tier in TIERS {
            let name: Arc<str> = tier.table(table).into();
            let Some(handle) = self.open.get(&name) else { continue };
            let from = narrower.as_ref().map_or(&raw.id, |(id, ..)| id);
            let mut held = handle.lock().await;
            held.complete().await?;
            let Some(own_reach) = reach(&mut held, from).await? else { continue };
            // How far it has come is said of these very files.
            self.publish(&held, None)?;
            let Some((number, own)) = self.stored(&name) else { continue };
            let below = narrower.as_ref().map(|(_, below, stored)| (*below, &*stored.files));
            let (reach, stale) = over(own_reach, below);
            self.state.lock().table_mut(number).make_tier(held.schema().clone());
            tiers.push(Rolled::new(tier, name, reach, stale, own.kept_from));
            narrower = Some((held.id().clone(), reach, own));
        }
        let mut state = self.state.lock();
        if let Some(number) = state.number(table) {
            state.table_mut(number).set_tiers(tiers);
        }
        Ok(())
    }
}

impl Source {
    /// The end of the last complete bucket.
    fn end(&self, tier: Tier, until: Option<Timestamp>) -> Timestamp {
        let newest = self.stored.files.iter().map(|file| file.times.last).max();
        let settled = newest.map_or(Timestamp::MIN, |newest| newest.saturating_sub(SETTLING));
        let end = until.unwrap_or(settled);
        end.div_euclid(tier.width).saturating_mul(tier.width)
    }

    /// How far to go now: at most to the end of a day that has rows. Never back.
    fn next_end(&self, before: Option<Reach>, end: Timestamp) -> Option<Timestamp> {
        let since = before.map_or(Timestamp::MIN, |before| before.until);
        if end <= since {
            return before.map(|before| before.until);
        }
        let files = self.stored.files.iter().filter(|file| file.times.last >= since);
        let first = files.map(|file| file.times.first.max(since)).min().unwrap_or(since);
        let day = first.div_euclid(MICROSECONDS_PER_DAY);
        let last = (day + 1).saturating_mul(MICROSECONDS_PER_DAY).min(end);
        (last > since).then_some(last)
    }

    fn buckets(&self, before: Option<Reach>, until: Timestamp, tier: Tier) -> Vec<TimeRange> {
        let before = before.unwrap_or(Reach { version: 0, until: Timestamp::MIN });
        // Rows of other programs are read from raw rows whatever the tier has.
        let ours = self.stored.files.iter().filter(|file| file.order.version != FOREIGN);
        let ours: Vec<_> = ours.cloned().collect();
        let mut lacking = dirty(&ours, before.version, before.until);
        if before.until < until {
            lacking.push(TimeRange { first: before.until, last: until - 1 });
        }
        let kept = TimeRange { first: self.stored.kept_from, last: Timestamp::MAX };
        let there = |range: TimeRange| {
            let own = self.stored.files.iter().filter_map(move |file| range.overlap(file.times));
            own.collect::<Vec<_>>()
        };
        let lacking: Vec<_> =
            lacking.into_iter().filter_map(|range| range.overlap(kept)).flat_map(there).collect();
        whole_buckets(&merged(lacking), tier.width)
    }
}

impl Run<'_> {
    /// The days that have buckets to be computed.
    fn dates(&self) -> BTreeSet<NaiveDate> {
        let days = self.meeting(self.source.stored.files.iter());
        days.iter().map(|file| file.date).collect()
    }

    /// The files that have rows in buckets that are computed.
    fn meeting<'a>(&self, files: impl Iterator<Item = &'a Arc<DataFile>>) -> Vec<Arc<DataFile>> {
        let meets = |file: &&Arc<DataFile>| self.buckets.iter().any(|b| b.meets(file.times));
        files.filter(meets).cloned().collect()
    }

    /// The source's rows of one day in the buckets, last write per field.
    async fn source_rows(
        &self,
        from: &FileWriter,
        date: NaiveDate,
    ) -> Result<Batches, StorageError> {
        let files = self.meeting(self.source.stored.files.iter().filter(|f| f.date == date));
        let merge = Merge::of_files(
            from.store(),
            from.schema(),
            &files,
            Wanted::New,
            Vec::new(),
            &self.buckets,
        );
        Ok(Box::new(merge.await?))
    }

    /// The tier's rows of such rows.
    fn reduced(&self, rows: Batches, schema: &TableSchema) -> Result<Batches, StorageError> {
        if self.source.name == self.raw.table {
            return Ok(Box::new(Reduce::new(self.raw, self.tier, schema, rows)?));
        }
        let from = &self.source.schema;
        Ok(Box::new(Combine::new(self.raw, from, self.tier, schema, rows)?))
    }

    fn marks(&self) -> Vec<Mark> {
        let id = &self.source.id;
        let version = self.reach.version.cast_signed();
        vec![
            Mark { name: version_mark(id), value: version },
            Mark { name: until_mark(id), value: self.reach.until },
        ]
    }
}

/// For files of a day that is made up to `until`: while the day goes on, a merge takes them, as a
/// rule, together with those of its later buckets.
fn effort(date: NaiveDate, until: Timestamp) -> Effort {
    if TimeRange::of_day(date).last < until { Effort::Much } else { Effort::Little }
}

fn version_mark(source: &str) -> String {
    format!("rollup:{source}")
}

fn until_mark(source: &str) -> String {
    format!("rollup-until:{source}")
}

/// How far a tier has come with raw rows, and which times of it are stale, where it is made of a
/// narrower one that has come so far and has these files.
pub(crate) fn over(
    own: Reach,
    below: Option<(Reach, &[Arc<DataFile>])>,
) -> (Reach, Vec<TimeRange>) {
    let Some((below, files)) = below else { return (own, Vec::new()) };
    let until = own.until.min(below.until);
    (Reach { until, ..below }, dirty(files, own.version, until))
}

/// How far a tier's table says it has come with rows of `source`.
pub(crate) async fn reach(tier: &mut Table, source: &str) -> Result<Option<Reach>, StorageError> {
    let version = tier.mark(&version_mark(source)).await?;
    let until = tier.mark(&until_mark(source)).await?;
    let reach = |(version, until): (i64, i64)| Reach { version: version.cast_unsigned(), until };
    Ok(version.zip(until).map(reach))
}

/// All files of a tier have this writer: no two of them have a key in common.
fn writer_of_tiers(source: &str) -> Uuid {
    source.parse().unwrap_or(Uuid::max())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_day_that_is_over_may_stay() {
        let date = NaiveDate::from_ymd_opt(1970, 1, 2).unwrap();
        let end = 2 * MICROSECONDS_PER_DAY;
        let of = [Timestamp::MIN, end - TIERS[0].width, end, end + TIERS[1].width];
        let efforts = of.map(|until| effort(date, until));
        assert_eq!(efforts, [Effort::Little, Effort::Little, Effort::Much, Effort::Much]);
        assert_eq!(effort(NaiveDate::MAX, Timestamp::MAX), Effort::Much);
    }
}
