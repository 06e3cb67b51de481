//! The newest row of each series in the files of one version of a table.
//!
//! A flush takes it one step forward: what it wrote is newer than all files. What files held when
//! the store was opened, or that another program has put among them, is read when somebody asks
//! for the first time: the keys of every such file, then the newest rows alone. Two readers wait
//! for one reading, and it goes on when they give up.

use super::{Heads, Latest, LatestRows, Picks, Place, Rows, Source};
use crate::error::{ErrorKind, StorageError};
use crate::model::{Identity, TableSchema, Timestamp};
use crate::snapshot::DataFile;
use crate::table::{KeyRow, newest_keys, read_rows};
use futures::{StreamExt, TryStreamExt};
use hashbrown::HashMap;
use object_store::ObjectStore;
use std::sync::{Arc, OnceLock};
use tokio::sync::OnceCell;

/// Files that are read at once.
const READS: usize = 8;

#[derive(Debug)]
pub(crate) struct StoredLatest {
    /// As of that version, with every column that the files have.
    table: Arc<TableSchema>,
    /// Files older than `flushed`.
    unread: Option<Arc<Unread>>,
    /// What was flushed since.
    flushed: Arc<LatestRows>,
    /// Both together, once somebody has asked.
    all: OnceLock<Arc<LatestRows>>,
}

/// Files that this process has not written, until they are read.
#[derive(Debug)]
struct Unread {
    table: Arc<TableSchema>,
    files: Arc<[Arc<DataFile>]>,
    rows: OnceCell<Arc<LatestRows>>,
}

impl StoredLatest {
    /// Of files that are read when somebody asks; `table` has all their columns.
    pub(crate) fn of_files(table: Arc<TableSchema>, files: Arc<[Arc<DataFile>]>) -> Self {
        let flushed = Arc::new(LatestRows::none(&table));
        let unread = Unread::of(&table, files);
        Self { table, unread, flushed, all: OnceLock::new() }
    }

    /// Of these files and those of a flush after them, of which these are the newest rows, no two
    /// with the same key; `table` has all their columns.
    pub(crate) fn with(&self, table: Arc<TableSchema>, newer: Vec<Rows>) -> Self {
        let (unread, older) = match self.read() {
            Some(rows) => (None, rows),
            None => (self.unread.clone(), self.flushed.clone()),
        };
        let newer = newer.into_iter().map(|rows| Source::Rows(Arc::new(rows)));
        let flushed = Latest::over(table.clone(), &older, newer).into_rows();
        Self { table, unread, flushed: Arc::new(flushed), all: OnceLock::new() }
    }

    /// The same rows when they lie in other files; with `kept_from`, without those before it.
    pub(crate) fn over(&self, files: Arc<[Arc<DataFile>]>, kept_from: Option<Timestamp>) -> Self {
        let kept = |rows: Arc<LatestRows>| match kept_from {
            None => rows,
            Some(first) => Arc::new(rows.since(first)),
        };
        let table = self.table.clone();
        let (unread, flushed) = if let Some(rows) = self.read() {
            (None, rows)
        } else {
            (Unread::of(&table, files), self.flushed.clone())
        };
        Self { table, unread, flushed: kept(flushed), all: OnceLock::new() }
    }

    /// The rows; files that nobody has asked for yet are read first.
    pub(crate) async fn rows(
        &self,
        store: &Arc<dyn ObjectStore>,
    ) -> Result<Arc<LatestRows>, StorageError> {
        if let Some(unread) = self.unread.as_ref().filter(|unread| !unread.rows.initialized()) {
            unread.read_once(store).await?;
        }
        Ok(self.read().expect("all files are read"))
    }

    /// The rows, where all files are read.
    fn read(&self) -> Option<Arc<LatestRows>> {
        let Some(unread) = &self.unread else { return Some(self.flushed.clone()) };
        let read = unread.rows.get()?;
        let all = self.all.get_or_init(|| {
            let newer = Source::Rows(self.flushed.rows().clone());
            Arc::new(Latest::over(self.table.clone(), read, [newer]).into_rows())
        });
        Some(all.clone())
    }

    /// What is in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let read = self.unread.iter().filter_map(|unread| unread.rows.get());
        let rows = read.chain(self.all.get()).chain([&self.flushed]);
        rows.map(|rows| rows.bytes()).sum()
    }
}

impl Unread {
    /// `None` where there are no files.
    fn of(table: &Arc<TableSchema>, files: Arc<[Arc<DataFile>]>) -> Option<Arc<Self>> {
        let unread = Self { table: table.clone(), files, rows: OnceCell::new() };
        (!unread.files.is_empty()).then(|| Arc::new(unread))
    }

    async fn read_once(self: &Arc<Self>, store: &Arc<dyn ObjectStore>) -> Result<(), StorageError> {
        let (unread, store) = (self.clone(), store.clone());
        // A task of its own: the next reader needs it as much as this one.
        let reading = tokio::spawn(async move {
            let rows = unread.rows.get_or_try_init(|| unread.read(&store)).await;
            rows.map(|_| ())
        });
        reading.await.map_err(|error| {
            StorageError::because(ErrorKind::Internal, "files were not read", error)
        })?
    }

    async fn read(&self, store: &Arc<dyn ObjectStore>) -> Result<Arc<LatestRows>, StorageError> {
        let mut files = self.files.to_vec();
        files.sort_by_key(|file| file.order);
        let heads = self.heads(store, &files).await?;
        let mut picks = Picks::new(files.len());
        (0..heads.len() as u32).for_each(|series| picks.add(heads.writes(series)));
        let rows: Vec<_> = (files.into_iter().zip(picks.rows()))
            .map(|(file, rows)| read_rows(store.clone(), file, self.table.clone(), rows.clone()))
            .collect();
        let columns: Vec<_> = futures::stream::iter(rows).buffered(READS).try_collect().await?;
        let batch = picks.batch(self.table.arrow(), &columns);
        Ok(Arc::new(LatestRows::of(&batch, self.table.identity.len())))
    }

    /// The newest row of each series in the files, which are in the order of their writes: a
    /// place's source is a file's number.
    async fn heads(
        &self,
        store: &Arc<dyn ObjectStore>,
        files: &[Arc<DataFile>],
    ) -> Result<Heads, StorageError> {
        let mut heads = Heads::default();
        let mut numbers: HashMap<Identity, u32> = HashMap::new();
        let keys: Vec<_> = (files.iter())
            .map(|file| newest_keys(store.clone(), file.clone(), self.table.clone()))
            .collect();
        let mut keys = futures::stream::iter(keys).buffered(READS).zip(futures::stream::iter(0..));
        while let Some((keys, source)) = keys.next().await {
            for KeyRow { identity, time, row } in keys? {
                let next = numbers.len() as u32;
                let series = *numbers.entry(identity).or_insert(next);
                heads.offer(series, time, Place { source, row });
            }
        }
        Ok(heads)
    }
}
