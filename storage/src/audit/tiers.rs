//! Whether rollups are what their source reduces to, in buckets that they say they have.
//!
//! The minutes are held against raw rows, the hours against the minutes that they were made of, or
//! raw rows where there are no minutes. A day at a time, or an hour where a day has many files.

use super::{Audit, FindingKind, Opened};
use crate::buffer::MICROSECONDS_PER_DAY;
use crate::error::{ErrorKind, StorageError};
use crate::maintenance::{over, reach};
use crate::merge::{Batches, Merge, Wanted};
use crate::model::{TableSchema, Timestamp};
use crate::rollup::{Combine, Compared, Reduce, Tier, compare};
use crate::snapshot::{DataFile, TableSnapshot, TierSnapshot, TimeRange};
use crate::state::{Reach, Rolled};
use crate::table::{Table, Tables};
use chrono::DateTime;
use std::collections::BTreeSet;
use std::sync::Arc;

const OPEN_FILES: usize = 64;
const HOUR: i64 = MICROSECONDS_PER_DAY / 24;

/// A rollup and what it was made from.
struct Pair<'a> {
    raw: &'a Arc<TableSchema>,
    source: &'a Table,
    tier: TierSnapshot,
    /// The source has nothing before this.
    kept_from: Timestamp,
}

impl Audit<'_> {
    /// `tiers` from the widest on.
    pub(super) async fn tiers(
        &mut self,
        tables: &Tables,
        raw: &Opened,
        tiers: &mut [(Tier, Opened)],
    ) -> Result<(), StorageError> {
        let reaches = reaches(raw, tiers).await?;
        let mut narrower: Option<(&Opened, Reach)> = None;
        for ((tier, opened), own) in tiers.iter().zip(reaches).rev() {
            let source = narrower.map_or(raw, |(source, _)| source);
            let Some(own) = own else {
                self.leave_out(format!(
                    "rollup {}: it was not made from {} as it is, and is computed anew",
                    opened.name, source.name
                ));
                continue;
            };
            let files = source.table.files();
            let (reach, stale) = over(own, narrower.map(|(_, below)| (below, &*files)));
            let pair = Pair {
                raw: raw.table.schema(),
                source: &source.table,
                tier: snapshot(*tier, opened, raw, reach, stale),
                kept_from: source.table.kept_from(),
            };
            match pair.compare().await {
                Ok((rows, difference)) => {
                    self.report.rollup_rows += rows;
                    if let Some(found) = difference {
                        self.find(FindingKind::Rollup, &*opened.name, found);
                    }
                }
                Err(error) => {
                    let what = format!("rollup {}: {error}", opened.name);
                    self.lost(tables, source, what, error).await?;
                }
            }
            narrower = Some((opened, reach));
        }
        Ok(())
    }
}

/// How far each tier has come with what it is made of: the next narrower one that has come any way,
/// or raw rows.
async fn reaches(
    raw: &Opened,
    tiers: &mut [(Tier, Opened)],
) -> Result<Vec<Option<Reach>>, StorageError> {
    let mut source = raw.table.id().clone();
    let mut reaches = Vec::new();
    for (_, opened) in tiers.iter_mut().rev() {
        let own = reach(&mut opened.table, &source).await?;
        if own.is_some() {
            source = opened.table.id().clone();
        }
        reaches.push(own);
    }
    reaches.reverse();
    Ok(reaches)
}

/// The rollup as readers are shown it, beside raw rows that are all in files.
fn snapshot(
    tier: Tier,
    opened: &Opened,
    raw: &Opened,
    reach: Reach,
    stale: Vec<TimeRange>,
) -> TierSnapshot {
    let table = &opened.table;
    let mut rolled = Rolled::new(tier, opened.name.clone(), reach, stale, table.kept_from());
    rolled.see(&raw.table.files(), raw.table.kept_from());
    let store = table.writer().store().clone();
    let files =
        TableSnapshot::of_files(table.schema().clone(), table.version(), table.files(), store);
    rolled.snapshot(Arc::new(files), &[])
}

impl Pair<'_> {
    /// How many rows were compared, and the first difference.
    async fn compare(&self) -> Result<(u64, Option<String>), StorageError> {
        let mut rows = 0;
        for slice in self.slices() {
            let Compared { rows: more, difference } = self.compare_slice(slice).await?;
            rows += more;
            if let Some(found) = difference {
                let bucket = DateTime::from_timestamp_micros(found.bucket).unwrap_or_default();
                let (identity, what) = (found.identity.join(", "), found.found);
                return Ok((rows, Some(format!("({identity}) at {bucket}: {what}"))));
            }
        }
        Ok((rows, None))
    }

    /// Whole days that either has rows of, or the hours of such days.
    fn slices(&self) -> Vec<TimeRange> {
        let source = self.source.files();
        let all = || source.iter().chain(self.tier.table.files.iter());
        let days: BTreeSet<i64> =
            all().map(|file| file.times.first.div_euclid(MICROSECONDS_PER_DAY)).collect();
        let of = |first: i64, width: i64| TimeRange { first, last: first + width - 1 };
        let slices = days.into_iter().flat_map(|day| {
            let whole = of(day * MICROSECONDS_PER_DAY, MICROSECONDS_PER_DAY);
            let files = all().filter(|file| file.times.meets(whole)).count();
            let width = if files > OPEN_FILES { HOUR } else { MICROSECONDS_PER_DAY };
            let parts = 0..MICROSECONDS_PER_DAY / width;
            parts.map(move |part| of(whole.first + part * width, width))
        });
        slices.collect()
    }

    async fn compare_slice(&self, slice: TimeRange) -> Result<Compared, StorageError> {
        let own = rows(&self.tier.table, slice).await?;
        let source = self.source;
        let files = source.files();
        let store = source.writer().store().clone();
        let of = TableSnapshot::of_files(source.schema().clone(), source.version(), files, store);
        let from = rows(&of, slice).await?;
        let (raw, tier, kept_from) = (self.raw.clone(), self.tier.clone(), self.kept_from);
        let from_schema = source.schema().clone();
        let comparing = tokio::task::spawn_blocking(move || {
            let schema = &tier.table.schema;
            let wanted: Batches = if from_schema.table == raw.table {
                Box::new(Reduce::new(&raw, tier.tier, schema, from)?)
            } else {
                Box::new(Combine::new(&raw, &from_schema, tier.tier, schema, from)?)
            };
            compare(&raw, schema, own, wanted, |start| tier.has(start, kept_from))
        });
        comparing
            .await
            .map_err(|e| StorageError::because(ErrorKind::Internal, "rows not compared", e))?
    }
}

/// The rows of a table's files in a slice of time, last write per field.
async fn rows(table: &TableSnapshot, slice: TimeRange) -> Result<Batches, StorageError> {
    let meets = |file: &&Arc<DataFile>| file.times.meets(slice);
    let files: Vec<_> = table.files.iter().filter(meets).cloned().collect();
    let (store, schema) = (&table.store, &table.schema);
    let merge = Merge::of_files(store, schema, &files, Wanted::New, Vec::new(), &[slice]).await?;
    Ok(Box::new(merge))
}
