//! Merges chosen files of a table and puts the result in their place.

use super::Maintenance;
use super::options::MergeLimits;
use super::plan::{Choice, Due, next_merge};
use crate::error::StorageError;
use crate::machine::{new_id, uptime};
use crate::merge::{Merge, Wanted};
use crate::model::Timestamp;
use crate::rules::{late_stays, merged_version, merged_writer};
use crate::snapshot::{DataFile, FileKind, TimeRange};
use crate::table::{Effort, FileAbout, FileWriter, WrittenFile, row_bytes};
use arrow::array::RecordBatch;
use chrono::NaiveDate;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A day that is over is merged once nothing has come for so long,
const QUIET: Duration = Duration::from_mins(10);
/// or once what came has waited for so long.
const PATIENCE: Duration = Duration::from_hours(1);

/// Since when a day has had files that came lately.
#[derive(Clone, Copy, Debug)]
struct Arrivals {
    version: u64,
    /// Both are times of [`uptime`].
    first: Duration,
    last: Duration,
}

/// When days of tables got their newest files.
#[derive(Debug, Default)]
pub(super) struct Days(Mutex<HashMap<(Arc<str>, NaiveDate), Arrivals>>);

/// What one merge has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merged {
    pub files: usize,
    pub rows: u64,
    /// Bytes of the files that were read, and of those that were written.
    pub read: u64,
    pub written: u64,
}

impl Maintenance {
    /// Makes the next merge of a table that is due, or that could be if `all` days were over.
    /// `None` as well where the files have changed meanwhile.
    pub(super) async fn merge_next(
        &self,
        table: &Arc<str>,
        now: Timestamp,
        all: bool,
    ) -> Result<Option<Merged>, StorageError> {
        let Some((_, stored)) = self.stored(table) else { return Ok(None) };
        let handle = self.open.of(table)?;
        let writer = handle.lock().await.writer();
        let limits = MergeLimits {
            memory: self.options.merge_memory,
            target_bytes: self.options.file_size,
            row_bytes: row_bytes(&writer.schema().arrow()) as u64,
        };
        let due =
            |date| if all { Due::Day } else { self.days.due(table, date, &stored.files, now) };
        let Some(choice) = next_merge(&stored.files, due, &limits) else { return Ok(None) };
        let started = uptime();
        let mut outputs = Vec::new();
        let written = write(&writer, &choice, &stored.files, limits.target_bytes, &mut outputs);
        if let Err(error) = written.await {
            self.discard(&writer, &outputs).await;
            return Err(error);
        }
        let done = Merged {
            files: choice.inputs.len(),
            rows: outputs.iter().map(WrittenFile::rows).sum(),
            read: choice.inputs.iter().map(|file| file.bytes).sum(),
            written: outputs.iter().map(WrittenFile::bytes).sum(),
        };
        let mut held = handle.lock().await;
        let replaced = held.replace(&choice.inputs, outputs.clone()).await?;
        self.publish(&held, None)?;
        drop(held);
        if replaced {
            self.count(done, uptime().saturating_sub(started));
        } else {
            self.discard(&writer, &outputs).await;
        }
        Ok(replaced.then_some(done))
    }

    fn count(&self, done: Merged, time: Duration) {
        let counters = &self.counters;
        counters.merges.fetch_add(1, Relaxed);
        counters.merged_rows.fetch_add(done.rows, Relaxed);
        counters.merge_read_bytes.fetch_add(done.read, Relaxed);
        counters.merge_written_bytes.fetch_add(done.written, Relaxed);
        counters.merge_micros.fetch_add(time.as_micros() as u64, Relaxed);
    }
}

impl Days {
    fn due(
        &self,
        table: &Arc<str>,
        date: NaiveDate,
        files: &[Arc<DataFile>],
        now: Timestamp,
    ) -> Due {
        let own = files.iter().filter(|file| file.date == date);
        let version = own.map(|file| file.order.version).max().unwrap_or(0);
        let instant = uptime();
        let mut days = self.0.lock();
        let new = Arrivals { version, first: instant, last: instant };
        let arrivals = days.entry((table.clone(), date)).or_insert(new);
        if arrivals.version != version {
            *arrivals = Arrivals { version, last: instant, ..*arrivals };
        }
        if TimeRange::of_day(date).last >= now {
            arrivals.first = instant;
            return Due::Hours(now);
        }
        let since = |then: Duration| instant.saturating_sub(then);
        if since(arrivals.last) < QUIET && since(arrivals.first) < PATIENCE {
            return Due::Overflow;
        }
        arrivals.first = instant;
        Due::Day
    }

    /// Forgets days that have no files any more.
    pub(super) fn keep(&self, table: &Arc<str>, files: &[Arc<DataFile>]) {
        let there = |date: &NaiveDate| files.iter().any(|file| file.date == *date);
        self.0.lock().retain(|(name, date), _| name != table || there(date));
    }
}

/// Writes the rows of the chosen files into new ones, each about as large as a file should be.
async fn write(
    writer: &FileWriter,
    choice: &Choice,
    all: &[Arc<DataFile>],
    target_bytes: u64,
    written: &mut Vec<WrittenFile>,
) -> Result<(), StorageError> {
    let inputs = &choice.inputs;
    let (rows, bytes) =
        inputs.iter().fold((0, 0), |(rows, bytes), f| (rows + f.rows, bytes + f.bytes));
    let rows_per_file = (target_bytes * rows / bytes.max(1)).max(1) as usize;
    let stays = late_stays(inputs, all);
    let about = FileAbout {
        date: inputs[0].date,
        kind: FileKind::Monotone,
        writer: merged_writer(inputs).unwrap_or_else(new_id),
        positions: None,
        level: choice.level,
        version: Some(merged_version(inputs)),
        effort: Effort::Much,
    };
    let mut groups = vec![(Wanted::New, about)];
    if !stays.is_empty() {
        groups.push((Wanted::Late, FileAbout { kind: FileKind::Late, ..about }));
    }
    for (wanted, about) in groups {
        let (store, schema, all) = (writer.store(), writer.schema(), &[TimeRange::ALL]);
        let merge = Merge::of_files(store, schema, inputs, wanted, stays.clone(), all).await?;
        let merge = Arc::new(Mutex::new(merge));
        while let Some(file) = writer.write(Stretch::of(&merge, rows_per_file), about).await? {
            written.push(file);
        }
    }
    Ok(())
}

/// The next rows of a merge, for one file.
pub(super) struct Stretch {
    merge: Arc<Mutex<Merge>>,
    left: usize,
}

impl Stretch {
    pub(super) fn of(merge: &Arc<Mutex<Merge>>, rows: usize) -> Self {
        Self { merge: merge.clone(), left: rows }
    }
}

impl Iterator for Stretch {
    type Item = Result<RecordBatch, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let batch = self.merge.lock().next()?;
        let rows = batch.as_ref().map_or(0, RecordBatch::num_rows);
        self.left = self.left.saturating_sub(rows);
        Some(batch)
    }
}
