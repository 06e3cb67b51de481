//! One table: its files at a version, and the commits that take it to the next.

use super::files::{FileAbout, WrittenFile, new_path};
use super::log::{Change, Covered, LogState, TableLog};
use super::parquet::encode;
use super::schema::widened;
use crate::error::{ErrorKind, StorageError};
use crate::model::{Position, TableSchema};
use crate::snapshot::DataFile;
use crate::store::store_error;
use arrow::array::RecordBatch;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// Each attempt fails only where another handle has taken the version it aimed at.
const ATTEMPTS: usize = 20;

/// A handle on one table. What it knows of the table changes only through its own calls.
#[derive(Debug)]
pub(crate) struct Table {
    name: Arc<str>,
    log: Box<dyn TableLog>,
    store: Arc<dyn ObjectStore>,
    schema: Arc<TableSchema>,
    version: u64,
    /// In commit order.
    files: Arc<[Arc<DataFile>]>,
    covered: HashMap<Uuid, Position>,
    /// Incarnations under which another handle has committed since this one was opened.
    fenced: HashSet<Uuid>,
    /// Changes of ours that may be in the log or may yet get there. Each aims at the version after
    /// this one or at an older one, so all are settled once that version is known.
    unresolved: HashSet<Uuid>,
}

impl Table {
    pub(super) async fn open(
        mut log: Box<dyn TableLog>,
        store: Arc<dyn ObjectStore>,
        name: &str,
    ) -> Result<Self, StorageError> {
        let state = log.load().await?;
        let mut covered = HashMap::new();
        let writers: HashSet<Uuid> = state.files.iter().map(|file| file.writer).collect();
        for writer in writers {
            if let Some(position) = log.covered(writer).await? {
                covered.insert(writer, position);
            }
        }
        let mut table = Self {
            name: name.into(),
            log,
            store,
            schema: Arc::new(state.schema.clone()),
            version: state.version,
            files: Arc::default(),
            covered,
            fenced: HashSet::new(),
            unresolved: HashSet::new(),
        };
        table.adopt(state);
        Ok(table)
    }

    pub(crate) fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The files of this version in commit order.
    pub(crate) fn files(&self) -> Arc<[Arc<DataFile>]> {
        self.files.clone()
    }

    /// Up to which position the table has the rows of a log; `None` where it has none of them.
    pub(crate) fn covered(&self, incarnation: Uuid) -> Option<Position> {
        self.covered.get(&incarnation).copied()
    }

    /// Takes the incarnation over: whoever held it before can no longer commit under it. Call it
    /// before `covered` is relied upon.
    pub(crate) async fn fence(&mut self, incarnation: Uuid) -> Result<(), StorageError> {
        if let Some(position) = self.log.covered(incarnation).await? {
            self.covered.insert(incarnation, position);
        }
        self.apply(|table| {
            let position = table.covered(incarnation).unwrap_or(0);
            Ok(Some(table.change(Vec::new(), Some(Covered { incarnation, position }), None)))
        })
        .await?;
        self.fenced.remove(&incarnation);
        Ok(())
    }

    /// Adds the attributes and fields of `schema` that the table lacks.
    pub(crate) async fn evolve(&mut self, schema: &TableSchema) -> Result<(), StorageError> {
        self.apply(|table| {
            let wide = widened(&table.schema, schema)?;
            Ok((wide != *table.schema).then(|| table.change(Vec::new(), None, Some(wide))))
        })
        .await
    }

    /// Writes rows into a file that awaits its commit; `None` where there are no rows. The rows
    /// are sorted by identity, then time, with unique keys, all on the day of `about`.
    pub(crate) async fn write(
        &self,
        batches: impl Iterator<Item = RecordBatch> + Send + 'static,
        about: FileAbout,
    ) -> Result<Option<WrittenFile>, StorageError> {
        let schema = self.schema.clone();
        let encoding = tokio::task::spawn_blocking(move || encode(&schema, batches, about.level));
        let encoded = encoding.await.map_err(|error| {
            StorageError::because(ErrorKind::Internal, "a file was not encoded", error)
        })??;
        let Some((bytes, contents)) = encoded else { return Ok(None) };
        let path = new_path(&about);
        let file = WrittenFile { about, path, bytes: bytes.len() as u64, contents };
        let location = Path::from(format!("{}/{}", self.name, file.path));
        let put = self.store.put(&location, PutPayload::from(bytes)).await;
        put.map_err(|e| store_error(format!("{location} was not written"), e))?;
        Ok(Some(file))
    }

    /// Makes files visible and says, in the same commit, that the table now has all rows of the
    /// log up to `covered`, which must be past what it has.
    ///
    /// After an error of kind Retry, call again with the same files and position: the commit may
    /// have been made, which the next call finds out. An error of kind Fenced is final.
    pub(crate) async fn commit(
        &mut self,
        files: Vec<WrittenFile>,
        incarnation: Uuid,
        covered: Position,
    ) -> Result<(), StorageError> {
        let advance = Covered { incarnation, position: covered };
        let before = self.covered(incarnation);
        if self.unresolved.is_empty() && before.is_some_and(|before| before >= covered) {
            return Err(StorageError::internal(format!(
                "table {}: a commit up to position {covered} where {before:?} is covered already",
                self.name
            )));
        }
        self.apply(|table| {
            table.check_fence(incarnation)?;
            match table.covered(incarnation) {
                now if now == before => Ok(Some(table.change(files.clone(), Some(advance), None))),
                Some(now) if now >= covered => Ok(None),
                now => Err(StorageError::new(
                    ErrorKind::Retry,
                    format!(
                        "table {}: an earlier commit up to {now:?} was made after all; flush \
                         again from there",
                        table.name
                    ),
                )),
            }
        })
        .await
    }

    fn check_fence(&self, incarnation: Uuid) -> Result<(), StorageError> {
        if self.fenced.contains(&incarnation) {
            return Err(StorageError::new(
                ErrorKind::Fenced,
                format!(
                    "table {}: another process has taken over the log {incarnation}",
                    self.name
                ),
            ));
        }
        Ok(())
    }

    fn change(
        &self,
        files: Vec<WrittenFile>,
        covered: Option<Covered>,
        schema: Option<TableSchema>,
    ) -> Change {
        Change { id: Uuid::new_v4(), version: self.version + 1, files, covered, schema }
    }

    /// Commits what `plan` makes of the newest known version, again where another handle has
    /// taken that version's successor, until it is in the log or `plan` wants nothing more.
    async fn apply(
        &mut self,
        mut plan: impl FnMut(&Self) -> Result<Option<Change>, StorageError> + Send,
    ) -> Result<(), StorageError> {
        if !self.unresolved.is_empty() {
            self.catch_up().await?;
        }
        for _ in 0..ATTEMPTS {
            let Some(change) = plan(self)? else { return Ok(()) };
            self.unresolved.insert(change.id);
            let Err(error) = self.log.append(&change).await else {
                return self.accept(change);
            };
            let landed = self.catch_up().await?;
            if landed.contains(&change.id) {
                return Ok(());
            }
            if self.version < change.version {
                return Err(error);
            }
        }
        Err(StorageError::new(
            ErrorKind::Retry,
            format!("table {}: others committed first {ATTEMPTS} times in a row", self.name),
        ))
    }

    /// Takes over a change that has become the next version.
    fn accept(&mut self, change: Change) -> Result<(), StorageError> {
        assert_eq!(change.version, self.version + 1, "a change follows the version it was made on");
        let mut files = self.files.to_vec();
        for file in &change.files {
            files.push(Arc::new(file.committed(&self.name, change.version)?));
        }
        files.sort_by_key(|file| file.order);
        self.files = files.into();
        if let Some(Covered { incarnation, position }) = change.covered {
            self.covered.insert(incarnation, position);
        }
        if let Some(schema) = change.schema {
            self.schema = Arc::new(schema);
        }
        self.version = change.version;
        self.unresolved.clear();
        Ok(())
    }

    /// Moves to the newest version and reads what came in on the way: which of our changes were
    /// made after all, and which incarnations others have committed under.
    async fn catch_up(&mut self) -> Result<HashSet<Uuid>, StorageError> {
        let state = self.log.load().await?;
        let mut entries = Vec::new();
        for version in self.version + 1..=state.version {
            entries.push(self.log.read(version).await?);
        }
        let mut landed = HashSet::new();
        for entry in entries {
            let ours = entry.id.filter(|id| self.unresolved.remove(id));
            for Covered { incarnation, position } in entry.covered {
                self.covered.insert(incarnation, position);
                if ours.is_none() {
                    self.fenced.insert(incarnation);
                }
            }
            landed.extend(ours);
        }
        if state.version > self.version {
            self.unresolved.clear();
        }
        self.adopt(state);
        Ok(landed)
    }

    fn adopt(&mut self, state: LogState) {
        let mut files: Vec<_> = state.files.into_iter().map(Arc::new).collect();
        files.sort_by(|a, b| (a.order, &a.path).cmp(&(b.order, &b.path)));
        self.files = files.into();
        self.schema = Arc::new(state.schema);
        self.version = state.version;
    }
}
