//! Moves buffered rows into files: seal, sort, write, commit, publish, tell the log.
//!
//! ```text
//! seal      under the lock: the active generations end at position P
//! write     per table and day one monotone and, where there are late rows, one late file
//! commit    files and P in one commit of the table's log
//! publish   under the lock: the files come, the sealed rows go; the newest row of each series has
//!           been kept while the rows passed
//! covered   once every sealed table is committed: the log may drop segments up to P
//! ```
//! A table that cannot be committed keeps its sealed rows and is tried again; the others are not
//! written twice.

use crate::buffer::{Generation, Keep, Scan};
use crate::error::{ErrorKind, StorageError};
use crate::latest::{Passing, StoredLatest};
use crate::machine::{blocking, uptime};
use crate::metrics::Counters;
use crate::model::{Position, TableSchema};
use crate::open_tables::OpenTables;
use crate::snapshot::{FileKind, Level, TimeRange};
use crate::state::{Sealed, State, Stored};
use crate::table::{Effort, FileAbout, FileWriter, Table, Tables, WrittenFile};
use chrono::{Days, NaiveDate};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use uuid::Uuid;

#[derive(Debug)]
pub(crate) struct Flusher {
    state: Arc<Mutex<State>>,
    tables: Arc<Tables>,
    counters: Arc<Counters>,
    incarnation: Uuid,
    open: Arc<OpenTables>,
    /// What the flush under way covers; stays until it has succeeded.
    sealed: Option<Sealed>,
}

/// The rows of one flush of one table.
struct Job {
    number: usize,
    schema: Arc<TableSchema>,
    generation: Generation,
}

/// What a flush of a table has written.
#[derive(Default)]
struct Written {
    files: Vec<WrittenFile>,
    /// What is newest in each file; no two files have a key in common.
    newest: Vec<Passing>,
}

impl Flusher {
    pub(crate) fn new(
        state: Arc<Mutex<State>>,
        tables: Arc<Tables>,
        counters: Arc<Counters>,
        incarnation: Uuid,
        open: Arc<OpenTables>,
    ) -> Self {
        Self { state, tables, counters, incarnation, open, sealed: None }
    }

    /// Commits everything published so far and answers with the position it covers. After an
    /// error of kind `Retry` a second call continues where this one stopped.
    pub(crate) async fn flush(&mut self) -> Result<Position, StorageError> {
        if self.sealed.is_some() {
            self.commit_sealed().await?;
        }
        self.sealed = Some(self.state.lock().seal());
        self.commit_sealed().await
    }

    async fn commit_sealed(&mut self) -> Result<Position, StorageError> {
        let position = self.sealed.as_ref().expect("a flush is under way").position;
        let jobs = self.jobs();
        let any = !jobs.is_empty();
        let mut failure = None;
        for job in jobs {
            if let Err(error) = self.flush_table(&job, position).await {
                self.counters.flush_failures.fetch_add(1, Relaxed);
                failure = failure.or(Some(error));
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        let sealed = self.sealed.take().expect("a flush is under way");
        if any {
            self.counters.flushes.fetch_add(1, Relaxed);
            self.counters.flush.add(uptime().saturating_sub(sealed.at));
        }
        let mut state = self.state.lock();
        for (producer, sequence) in sealed.producers {
            state.acknowledge(&producer, |to| to.stored = to.stored.max(sequence));
        }
        state.forget_layouts();
        Ok(position)
    }

    fn jobs(&self) -> Vec<Job> {
        let state = self.state.lock();
        let jobs = state.tables().iter().enumerate().filter_map(|(number, table)| {
            let generation = table.sealed()?.clone();
            Some(Job { number, schema: table.schema().clone(), generation })
        });
        jobs.collect()
    }

    async fn flush_table(&self, job: &Job, position: Position) -> Result<(), StorageError> {
        let handle = match self.open.get(&job.schema.table) {
            Some(handle) => handle,
            None => self.open.insert(self.create(&job.schema).await?),
        };
        let writer = {
            let mut table = handle.lock().await;
            if **table.schema() != *job.schema {
                table.evolve(&job.schema).await?;
            }
            // Where it is covered, an earlier try was committed after all; its answer was lost.
            let covered = table.covered(self.incarnation) >= Some(position);
            (!covered).then(|| table.writer())
        };
        let Written { files, newest } = match &writer {
            Some(writer) => self.write(writer, job).await?,
            None => Written { files: Vec::new(), newest: seen_again(job).await? },
        };
        let mut table = handle.lock().await;
        if writer.is_some() {
            self.commit(&mut table, files, position).await?;
        }
        self.publish(&table, job, newest).await
    }

    /// A new table. Where it is there already and has rows of this very log, a second process is
    /// writing under the log's number: this one stops.
    async fn create(&self, schema: &TableSchema) -> Result<Table, StorageError> {
        let mut table = self.tables.create_table(schema).await?;
        match table.look_up_covered(self.incarnation).await? {
            None => Ok(table),
            Some(position) => Err(StorageError::new(
                ErrorKind::Fenced,
                format!(
                    "table {} was made by another process with a copy of log {}, which committed \
                     up to position {position}",
                    schema.table, self.incarnation
                ),
            )),
        }
    }

    async fn write(&self, writer: &FileWriter, job: &Job) -> Result<Written, StorageError> {
        let mut written = Written::default();
        for day in job.generation.days() {
            for (kind, keep) in kinds(&job.generation) {
                self.write_file(writer, job, *day, kind, keep, &mut written).await?;
            }
        }
        Ok(written)
    }

    async fn commit(
        &self,
        table: &mut Table,
        files: Vec<WrittenFile>,
        position: Position,
    ) -> Result<(), StorageError> {
        let rows: u64 = files.iter().map(WrittenFile::rows).sum();
        let bytes: u64 = files.iter().map(WrittenFile::bytes).sum();
        let begun = uptime();
        table.commit(files, self.incarnation, position).await?;
        self.counters.table_commit.add(uptime().saturating_sub(begun));
        self.counters.flushed_rows.fetch_add(rows, Relaxed);
        self.counters.flushed_bytes.fetch_add(bytes, Relaxed);
        Ok(())
    }

    /// Shows readers the files instead of the sealed rows. The newest rows of the files are those
    /// before and what these have over them, unless others changed the files as well.
    async fn publish(
        &self,
        table: &Table,
        job: &Job,
        newest: Vec<Passing>,
    ) -> Result<(), StorageError> {
        let (schema, stored) = (table.schema().clone(), Stored::of(table, self.incarnation));
        let (known, is_ours) = {
            let state = self.state.lock();
            let before = state.table(job.number);
            (before.stored_latest().clone(), before.stored().foreign == stored.foreign)
        };
        let latest = if is_ours {
            let newest = newest.into_iter().filter_map(Passing::finish);
            blocking(move || Ok(known.with(schema, newest.collect()))).await?
        } else {
            StoredLatest::of_files(schema, stored.files.clone())
        };
        self.state.lock().table_mut(job.number).flushed(stored, latest);
        Ok(())
    }

    async fn write_file(
        &self,
        writer: &FileWriter,
        job: &Job,
        day: i64,
        kind: FileKind,
        keep: Keep,
        written: &mut Written,
    ) -> Result<(), StorageError> {
        let date = date(day)?;
        let about = FileAbout {
            date,
            kind,
            writer: self.incarnation,
            positions: job.generation.positions(),
            level: Level::Flush,
            version: None,
            effort: Effort::Little,
        };
        let passing = Arc::new(Mutex::new(Passing::new(&job.schema)));
        let seen = passing.clone();
        let rows = scan(job, TimeRange::of_day(date), keep);
        let rows = rows.inspect(move |rows| seen.lock().look_at(rows));
        written.files.extend(writer.write(rows.map(Ok), about).await?);
        let passing = Arc::into_inner(passing).expect("all rows are written");
        written.newest.push(passing.into_inner());
        Ok(())
    }
}

fn kinds(generation: &Generation) -> Vec<(FileKind, Keep)> {
    let newest = generation.newest();
    match generation.late() {
        None => vec![(FileKind::Monotone, Keep::All)],
        Some(_) => vec![
            (FileKind::Monotone, Keep::Monotone(newest.clone())),
            (FileKind::Late, Keep::Late(newest.clone())),
        ],
    }
}

fn scan(job: &Job, times: TimeRange, keep: Keep) -> Scan {
    let columns: Vec<usize> = (0..job.schema.arrow().fields().len()).collect();
    let generations = std::slice::from_ref(&job.generation);
    Scan::new(job.schema.clone(), generations, &columns, times, keep, &[])
}

/// The newest rows of a flush that an earlier try has written.
async fn seen_again(job: &Job) -> Result<Vec<Passing>, StorageError> {
    let mut passing = Passing::new(&job.schema);
    let rows = scan(job, TimeRange::ALL, Keep::All);
    let look = move || {
        rows.for_each(|rows| passing.look_at(&rows));
        Ok(vec![passing])
    };
    blocking(look).await
}

fn date(day: i64) -> Result<NaiveDate, StorageError> {
    let epoch = NaiveDate::default();
    let date = match u64::try_from(day) {
        Ok(after) => epoch.checked_add_days(Days::new(after)),
        Err(_) => epoch.checked_sub_days(Days::new(day.unsigned_abs())),
    };
    date.ok_or_else(|| {
        StorageError::new(ErrorKind::Internal, format!("day {day} since 1970 is no date"))
    })
}
