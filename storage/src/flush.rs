//! Moves buffered rows into files: seal, sort, write, commit, publish, tell the log.
//!
//! ```text
//! seal      under the lock: the active generations end at position P
//! write     per table and day one monotone and, where there are late rows, one late file
//! commit    files and P in one commit of the table's log
//! publish   under the lock: the files come, the sealed rows go
//! covered   once every sealed table is committed: the log may drop segments up to P
//! ```
//! A table that cannot be committed keeps its sealed rows and is tried again; the others are not
//! written twice.

use crate::buffer::{Generation, Keep, MICROSECONDS_PER_DAY, Scan};
use crate::error::{ErrorKind, StorageError};
use crate::latest::StoredLatest;
use crate::metrics::Counters;
use crate::model::{Position, TableSchema};
use crate::snapshot::{DataFile, FileKind, Level, TimeRange};
use crate::state::{Sealed, State};
use crate::table::{FileAbout, Table, Tables, WrittenFile};
use chrono::{Days, NaiveDate};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use uuid::Uuid;

#[derive(Debug)]
pub(crate) struct Flusher {
    state: Arc<Mutex<State>>,
    tables: Arc<Tables>,
    counters: Arc<Counters>,
    incarnation: Uuid,
    /// Handles of the tables that have been opened or made.
    open: BTreeMap<Arc<str>, Table>,
    /// What the flush under way covers; stays until it has succeeded.
    sealed: Option<Sealed>,
}

/// The rows of one flush of one table.
struct Job {
    number: usize,
    schema: Arc<TableSchema>,
    generation: Generation,
    /// The table before the flush.
    files: Arc<[Arc<DataFile>]>,
    version: u64,
    latest: Arc<StoredLatest>,
}

impl Flusher {
    pub(crate) fn new(
        state: Arc<Mutex<State>>,
        tables: Arc<Tables>,
        counters: Arc<Counters>,
        incarnation: Uuid,
        open: BTreeMap<Arc<str>, Table>,
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
        self.counters.flushes.fetch_add(u64::from(any), Relaxed);
        let sealed = self.sealed.take().expect("a flush is under way");
        let mut state = self.state.lock();
        for (producer, sequence) in sealed.producers {
            state.acknowledge(&producer, |to| to.stored = to.stored.max(sequence));
        }
        Ok(position)
    }

    fn jobs(&self) -> Vec<Job> {
        let state = self.state.lock();
        let jobs = state.tables().iter().enumerate().filter_map(|(number, table)| {
            let generation = table.sealed()?.clone();
            Some(Job {
                number,
                schema: table.schema().clone(),
                generation,
                files: table.files().clone(),
                version: table.version(),
                latest: table.stored_latest().clone(),
            })
        });
        jobs.collect()
    }

    async fn flush_table(&mut self, job: &Job, position: Position) -> Result<(), StorageError> {
        let name = &job.schema.table;
        let mut table = match self.open.remove(name) {
            Some(table) => table,
            None => self.create(&job.schema).await?,
        };
        let result = self.write_and_commit(&mut table, job, position).await;
        let (schema, files, version) = (table.schema().clone(), table.files(), table.version());
        self.open.insert(name.clone(), table);
        result?;
        let latest = self.latest(job, schema, files.clone()).await?;
        self.state.lock().table_mut(job.number).flushed(files, version, latest);
        Ok(())
    }

    /// The newest rows in the files: those before and what the generation has over them, unless
    /// others have changed the files as well.
    async fn latest(
        &self,
        job: &Job,
        schema: Arc<TableSchema>,
        files: Arc<[Arc<DataFile>]>,
    ) -> Result<StoredLatest, StorageError> {
        if !self.is_only_ours(job, &files) {
            return Ok(StoredLatest::of_files(schema, files));
        }
        let (latest, generation) = (job.latest.clone(), job.generation.clone());
        let merging = tokio::task::spawn_blocking(move || latest.with(schema, generation));
        merging.await.map_err(|error| {
            StorageError::because(ErrorKind::Internal, "newest rows were not merged", error)
        })
    }

    /// Whether the table's files are those before the job's flush and those of the flush.
    fn is_only_ours(&self, job: &Job, files: &[Arc<DataFile>]) -> bool {
        let before: HashSet<_> = job.files.iter().map(|file| &file.path).collect();
        let (kept, new): (Vec<_>, Vec<_>) =
            files.iter().partition(|file| before.contains(&file.path));
        let ours = |file: &&Arc<DataFile>| {
            file.writer == self.incarnation && file.order.version > job.version
        };
        kept.len() == before.len() && new.iter().all(ours)
    }

    /// A new table. Where it is there already and has rows of this very log, a second process is
    /// writing under the log's number: this one stops.
    async fn create(&self, schema: &TableSchema) -> Result<Table, StorageError> {
        let table = self.tables.create_table(schema).await?;
        match table.covered(self.incarnation) {
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

    async fn write_and_commit(
        &self,
        table: &mut Table,
        job: &Job,
        position: Position,
    ) -> Result<(), StorageError> {
        if **table.schema() != *job.schema {
            table.evolve(&job.schema).await?;
        }
        if table.covered(self.incarnation) >= Some(position) {
            // An earlier try was committed after all; its answer was lost.
            return Ok(());
        }
        let mut written = Vec::new();
        for day in job.generation.days() {
            written.extend(self.write_day(table, job, *day).await?);
        }
        let rows: u64 = written.iter().map(WrittenFile::rows).sum();
        let bytes: u64 = written.iter().map(WrittenFile::bytes).sum();
        table.commit(written, self.incarnation, position).await?;
        self.counters.flushed_rows.fetch_add(rows, Relaxed);
        self.counters.flushed_bytes.fetch_add(bytes, Relaxed);
        Ok(())
    }

    async fn write_day(
        &self,
        table: &Table,
        job: &Job,
        day: i64,
    ) -> Result<Vec<WrittenFile>, StorageError> {
        let newest = job.generation.newest();
        let kinds = match job.generation.late() {
            None => vec![(FileKind::Monotone, Keep::All)],
            Some(_) => vec![
                (FileKind::Monotone, Keep::Monotone(newest.clone())),
                (FileKind::Late, Keep::Late(newest.clone())),
            ],
        };
        let mut written = Vec::new();
        for (kind, keep) in kinds {
            written.extend(self.write_file(table, job, day, kind, keep).await?);
        }
        Ok(written)
    }

    async fn write_file(
        &self,
        table: &Table,
        job: &Job,
        day: i64,
        kind: FileKind,
        keep: Keep,
    ) -> Result<Option<WrittenFile>, StorageError> {
        let first = day * MICROSECONDS_PER_DAY;
        let times = TimeRange { first, last: first + MICROSECONDS_PER_DAY - 1 };
        let columns: Vec<usize> = (0..job.schema.arrow().fields().len()).collect();
        let generations = std::slice::from_ref(&job.generation);
        let scan = Scan::new(job.schema.clone(), generations, &columns, times, keep);
        let (first, last) = job.generation.positions().expect("a sealed generation has rows");
        let about = FileAbout {
            date: date(day)?,
            kind,
            writer: self.incarnation,
            first,
            last,
            level: Level::Flush,
            version: None,
        };
        table.write(scan, about).await
    }
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
