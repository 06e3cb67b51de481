//! Deletes files that no version needs any more.
//!
//! A replaced file stays for a while for readers that stand at an older version, and for as long
//! as a statement of this process holds it. A file that no version has ever named is what a
//! flush or a merge left behind when it failed.

use super::Maintenance;
use crate::error::StorageError;
use crate::machine::now;
use crate::snapshot::DataFile;
use crate::store::store_error;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A file that no version names may be one whose commit is under way.
const ORPHANED_AFTER: Duration = Duration::from_hours(24);

/// Files that were replaced while this process ran, for as long as somebody holds them.
#[derive(Debug, Default)]
pub(super) struct Replaced(Mutex<HashMap<Path, Weak<DataFile>>>);

impl Replaced {
    pub(super) fn add(&self, files: impl Iterator<Item = Arc<DataFile>>) {
        let mut held = self.0.lock();
        held.retain(|_, file| file.strong_count() > 0);
        held.extend(files.map(|file| (file.path.clone(), Arc::downgrade(&file))));
    }

    fn is_held(&self, path: &Path) -> bool {
        self.0.lock().get(path).is_some_and(|file| file.strong_count() > 0)
    }
}

impl Maintenance {
    /// Deletes what was replaced long enough ago; answers how many files that were.
    pub(super) async fn delete_replaced(&self, table: &Arc<str>) -> Result<usize, StorageError> {
        let handle = self.open.of(table)?;
        let (removed, files) = {
            let held = handle.lock().await;
            (held.removed().await?, held.files())
        };
        let there: HashSet<&Path> = files.iter().map(|file| &file.path).collect();
        let before = now() / 1_000
            - i64::try_from(self.options.delete_after.as_millis()).unwrap_or(i64::MAX);
        let due = |(path, at): &(Path, i64)| {
            *at <= before && !there.contains(path) && !self.replaced.is_held(path)
        };
        let paths: Vec<_> = (removed.into_iter().filter(due).map(|(path, _)| path))
            .filter(|path| !self.deleted.lock().contains(path))
            .collect();
        self.delete(&paths).await?;
        self.deleted.lock().extend(paths.iter().cloned());
        Ok(paths.len())
    }

    /// Deletes data files that the table's log does not know.
    pub(crate) async fn delete_orphans(&self, table: &Arc<str>) -> Result<usize, StorageError> {
        let handle = self.open.of(table)?;
        let listed = self.list(table).await?;
        let held = handle.lock().await;
        let mut known: HashSet<Path> = held.files().iter().map(|file| file.path.clone()).collect();
        known.extend(held.removed().await?.into_iter().map(|(path, _)| path));
        drop(held);
        let orphans: Vec<_> = listed.into_iter().filter(|path| !known.contains(path)).collect();
        self.delete(&orphans).await?;
        Ok(orphans.len())
    }

    /// The table's data files that have lain in the store for long.
    async fn list(&self, table: &Arc<str>) -> Result<Vec<Path>, StorageError> {
        let before = now() - ORPHANED_AFTER.as_micros() as i64;
        let store = self.tables.store();
        let listed = store.list(Some(&Path::from(&**table))).try_collect::<Vec<_>>().await;
        let listed = listed.map_err(|e| store_error(format!("{table} cannot be listed"), e))?;
        let is_old_data = |entry: &ObjectMeta| {
            entry.location.extension() == Some("parquet")
                && !entry.location.as_ref().contains("/_delta_log/")
                && entry.last_modified.timestamp_micros() < before
        };
        Ok(listed.into_iter().filter(is_old_data).map(|entry| entry.location).collect())
    }

    async fn delete(&self, paths: &[Path]) -> Result<(), StorageError> {
        let paths: Vec<_> = paths.iter().cloned().map(Ok).collect();
        let mut gone = self.tables.store().delete_stream(futures::stream::iter(paths).boxed());
        while let Some(result) = gone.next().await {
            match result {
                Ok(_) => self.counters.deleted_files.fetch_add(1, Relaxed),
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(error) => return Err(store_error("a replaced file was not deleted", error)),
            };
        }
        Ok(())
    }
}
