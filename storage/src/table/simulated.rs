//! For tests: the logs of all tables in memory, reached over a line that loses, delays and repeats.
//!
//! A version is taken once, by whoever comes first; what has been taken never changes.

use super::Tables;
use super::chunk::Effort;
use super::files::FileAbout;
use super::log::{Change, Entry, LogState, Mark, TableLog, TableLogs};
use super::writer::FileWriter;
use crate::error::{ErrorKind, StorageError};
use crate::machine::{new_id, now};
use crate::model::TableSchema;
use crate::sim::Line;
use crate::snapshot::{FileKind, Level};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use chrono::NaiveDate;
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// All logs there are, as the store keeps them.
#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<BTreeMap<String, Vec<Version>>>);

/// A table at one version, and what made it so.
#[derive(Clone, Debug)]
struct Version {
    state: LogState,
    entry: Entry,
    marks: BTreeMap<String, i64>,
    removed: Vec<(Path, i64)>,
}

impl Shared {
    /// The version after `version`, where that is the newest.
    fn land(&self, table: &str, change: &Change) -> Result<(), StorageError> {
        let mut tables = self.0.lock();
        let versions = tables.get_mut(table).expect("a log that is open has begun");
        let newest = versions.last().expect("a log has a version");
        if change.version != newest.state.version + 1 {
            let text = format!("table {table}: version {} is taken", change.version);
            return Err(StorageError::new(ErrorKind::Retry, text));
        }
        let mut next = newest.clone();
        next.state.version = change.version;
        next.entry = Entry { id: Some(change.id), marks: change.marks.clone() };
        for Mark { name, value } in &change.marks {
            next.marks.insert(name.clone(), *value);
        }
        for file in &change.removed {
            next.state.files.retain(|kept| kept.path != file.path);
            next.removed.push((file.path.clone(), now() / 1_000));
        }
        for file in &change.files {
            next.state.files.push(file.committed(table, change.version)?);
        }
        if let Some(schema) = &change.schema {
            next.state.schema = schema.clone();
        }
        next.state.deduplicated_until = change.deduplicated_until.or(next.state.deduplicated_until);
        versions.push(next);
        Ok(())
    }

    fn begin(&self, schema: &TableSchema) {
        let state = LogState {
            version: 0,
            schema: schema.clone(),
            id: new_id().to_string().into(),
            deduplicated_until: None,
            files: Vec::new(),
        };
        let (entry, marks, removed) = Default::default();
        let first = Version { state, entry, marks, removed };
        self.0.lock().entry(schema.table.to_string()).or_insert_with(|| vec![first]);
    }

    /// Another program adds rows of one day; answers the version, where there is such a table.
    pub(crate) async fn add_foreign(
        &self,
        table: &str,
        store: Arc<dyn ObjectStore>,
        rows: impl FnOnce(SchemaRef) -> (NaiveDate, RecordBatch),
    ) -> Option<u64> {
        let schema = Arc::new(self.0.lock().get(table)?.last()?.state.schema.clone());
        let (date, rows) = rows(schema.arrow());
        let about = FileAbout {
            date,
            kind: FileKind::Late,
            writer: Uuid::nil(),
            positions: None,
            level: Level::Flush,
            version: Some(0),
            effort: Effort::Little,
        };
        let writer = FileWriter { schema, store };
        let file = writer.write(std::iter::once(Ok(rows)), about).await.ok()??;
        let mut tables = self.0.lock();
        let versions = tables.get_mut(table)?;
        let mut next = versions.last()?.clone();
        next.state.version += 1;
        next.entry = Entry::default();
        next.state.files.push(file.committed(table, 0).ok()?);
        versions.push(next);
        Some(versions.len() as u64 - 1)
    }
}

/// The logs as one process reaches them.
#[derive(Debug)]
pub(crate) struct Logs {
    shared: Arc<Shared>,
    line: Arc<Line>,
}

impl Tables {
    /// The tables of a store whose logs are simulated.
    pub(crate) fn simulated(
        store: Arc<dyn ObjectStore>,
        shared: Arc<Shared>,
        line: Arc<Line>,
    ) -> Self {
        Self { store, logs: Arc::new(Logs { shared, line }) }
    }
}

#[async_trait]
impl TableLogs for Logs {
    async fn names(&self) -> Result<Vec<String>, StorageError> {
        self.line.read::<StorageError>("names").await?;
        let names = self.shared.0.lock().keys().cloned().collect();
        self.line.back("names").await.map(|()| names)
    }

    fn open(&self, table: &str) -> Result<Box<dyn TableLog>, StorageError> {
        let (shared, line) = (self.shared.clone(), self.line.clone());
        Ok(Box::new(Log { table: table.into(), shared, line, at: 0, removed: Vec::new() }))
    }

    async fn create(&self, schema: &TableSchema) -> Result<Box<dyn TableLog>, StorageError> {
        let (shared, own) = (self.shared.clone(), schema.clone());
        let begin = move || {
            shared.begin(&own);
            Ok::<_, StorageError>(())
        };
        self.line.write(&format!("create {}", schema.table), begin).await?;
        self.open(&schema.table)
    }
}

#[derive(Debug)]
struct Log {
    table: String,
    shared: Arc<Shared>,
    line: Arc<Line>,
    at: usize,
    removed: Vec<(Path, i64)>,
}

impl Log {
    fn version<T>(&self, version: usize, read: impl FnOnce(&Version) -> T) -> T {
        read(&self.shared.0.lock()[&self.table][version])
    }
}

#[async_trait]
impl TableLog for Log {
    async fn load(&mut self) -> Result<LogState, StorageError> {
        self.line.read::<StorageError>(&format!("load {}", self.table)).await?;
        self.at = self.shared.0.lock()[&self.table].len() - 1;
        let state = self.version(self.at, |version| version.state.clone());
        self.line.back("load").await.map(|()| state)
    }

    async fn append(&mut self, change: &Change) -> Result<(), StorageError> {
        let what = format!(
            "append {} {}: {} files, {} removed, {:?}",
            self.table,
            change.version,
            change.files.len(),
            change.removed.len(),
            change.marks
        );
        let (shared, table, own) = (self.shared.clone(), self.table.clone(), change.clone());
        let lies = self.line.lies(false);
        self.line
            .write(&what, move || if lies { Ok(()) } else { shared.land(&table, &own) })
            .await?;
        self.at = change.version as usize;
        Ok(())
    }

    async fn read(&self, version: u64) -> Result<Entry, StorageError> {
        self.line.read::<StorageError>(&format!("read {} {version}", self.table)).await?;
        Ok(self.version(version as usize, |version| version.entry.clone()))
    }

    async fn mark(&mut self, name: &str) -> Result<Option<i64>, StorageError> {
        self.line.read::<StorageError>(&format!("mark {}", self.table)).await?;
        Ok(self.version(self.at, |version| version.marks.get(name).copied()))
    }

    async fn removed(&mut self) -> Result<&[(Path, i64)], StorageError> {
        self.line.read::<StorageError>(&format!("removed {}", self.table)).await?;
        self.removed = self.version(self.at, |version| version.removed.clone());
        Ok(&self.removed)
    }
}
