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
use crate::table::{FileWriter, WrittenFile};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A file that no version names may be one whose commit is under way.
const ORPHANED_AFTER: Duration = Duration::from_hours(24);

impl Maintenance {
    /// Deletes what was replaced long enough ago; answers how many files that were.
    pub(super) async fn delete_replaced(&self, table: &Arc<str>) -> Result<usize, StorageError> {
        let handle = self.open.of(table)?;
        let paths = {
            let mut held = handle.lock().await;
            let files = held.files();
            self.due(table, held.removed().await?, &files)
        };
        self.delete(&paths).await?;
        self.deleted.lock().entry(table.clone()).or_default().extend(paths.iter().cloned());
        Ok(paths.len())
    }

    /// Which of the files that were removed may be deleted now. One that the log no longer names
    /// is not looked for again.
    fn due(&self, table: &str, removed: &[(Path, i64)], files: &[Arc<DataFile>]) -> Vec<Path> {
        let before = now() / 1_000
            - i64::try_from(self.options.delete_after.as_millis()).unwrap_or(i64::MAX);
        let (state, mut deleted) = (self.state.lock(), self.deleted.lock());
        let number = state.number(table);
        let none = HashSet::new();
        if let Some(deleted) = deleted.get_mut(table).filter(|known| known.len() > removed.len()) {
            let named: HashSet<&Path> = removed.iter().map(|(path, _)| path).collect();
            deleted.retain(|path| named.contains(path));
        }
        let deleted = deleted.get(table).unwrap_or(&none);
        let there: HashSet<&Path> = files.iter().map(|file| &file.path).collect();
        let is_held = |path: &Path| number.is_some_and(|number| state.table(number).is_held(path));
        let due = removed.iter().filter(|(_, at)| *at <= before).map(|(path, _)| path);
        due.filter(|path| !deleted.contains(path) && !there.contains(path) && !is_held(path))
            .cloned()
            .collect()
    }

    /// Deletes files that were written for a commit that will not be made.
    pub(super) async fn discard(&self, writer: &FileWriter, files: &[WrittenFile]) {
        self.counters.deleted_files.fetch_add(writer.discard(files).await, Relaxed);
    }

    /// Deletes data files that the table's log does not know.
    pub(crate) async fn delete_orphans(&self, table: &Arc<str>) -> Result<usize, StorageError> {
        let handle = self.open.of(table)?;
        let listed = self.list(table).await?;
        let mut held = handle.lock().await;
        // What others have committed since is known to them alone.
        if !held.refresh().await? {
            return Ok(0);
        }
        self.publish(&held, None)?;
        let mut known: HashSet<Path> = held.files().iter().map(|file| file.path.clone()).collect();
        known.extend(held.removed().await?.iter().map(|(path, _)| path.clone()));
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
