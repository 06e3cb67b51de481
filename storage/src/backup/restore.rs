//! Makes a store of a backup.
//!
//! Promises: nothing is written unless the manifest is sound and every file it names is there in
//! its size; nothing that is there is written over, even if something else begins to write; no server
//! starts on the log folder meanwhile. What makes tables readable comes last, so a server does not
//! start on half a store either.

use super::manifest::{BackedUpTable, Entry, Manifest};
use super::{BackupPlace, MANIFEST, Progress, STORE, path, read};
use crate::error::{ErrorKind, StorageError};
use crate::handle::StorageOptions;
use crate::log::Folder;
use crate::store::{DurableLocal, is_there, open_store, store_error};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectStore, PutMode, PutPayload};
use std::collections::HashMap;
use std::io;
use std::path::Path as FilePath;
use std::sync::Arc;

/// What was restored.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    pub tables: Vec<BackedUpTable>,
    /// Whether the log came back too.
    pub log: bool,
    pub files: u64,
    pub bytes: u64,
    /// When the backup was made, in RFC 3339.
    pub made: String,
}

/// Copies the backup at `source` into an empty store and data folder.
pub async fn restore(
    source: &BackupPlace,
    into: &StorageOptions,
    progress: Progress<'_>,
) -> Result<RestoreReport, StorageError> {
    if !is_there(&source.url) {
        let text = format!("there is no folder {}: name a backup", source.url.path());
        return Err(StorageError::rejected(text));
    }
    let from = open_store(&source.url, &source.options)?;
    let manifest = read(&*from, &path(MANIFEST)?).await?.ok_or_else(|| {
        StorageError::rejected(format!(
            "there is no {MANIFEST}: this is no backup, or one that was not finished. Name the \
             folder that a backup was made to, or take another one"
        ))
    })?;
    let manifest = Manifest::decode(&manifest)?;
    check_sizes(&*from, &manifest).await?;
    check_empty(&into.data_dir)?;
    let store = open_store(&into.store_url, &into.store_options)?;
    if store.list(None).next().await.is_some() {
        return Err(not_empty("the store at its URL"));
    }
    let log = into.data_dir.join("log");
    // Until all is there, no server may start on it.
    let _held = Folder::lock(&log)?;
    let log = manifest.log.is_some().then(|| DurableLocal::open(&log)).transpose();
    let log = log.map_err(|error| {
        StorageError::because(ErrorKind::Retry, "the log folder cannot be made", error)
    })?;
    let total = manifest.files.iter().map(|file| file.bytes).sum();
    let log = log.map(|log| Arc::new(log) as Arc<dyn ObjectStore>);
    Restoring { from, store, log, progress, done: 0, total }.run(&manifest).await?;
    Ok(RestoreReport {
        log: manifest.log.is_some(),
        files: manifest.files.len() as u64,
        bytes: total,
        made: manifest.made,
        tables: manifest.tables,
    })
}

/// Every file is there in the size that the manifest says.
async fn check_sizes(from: &dyn ObjectStore, manifest: &Manifest) -> Result<(), StorageError> {
    let listed = from.list(None).map_ok(|entry| (entry.location.to_string(), entry.size));
    let sizes: HashMap<String, u64> =
        listed.try_collect().await.map_err(|e| store_error("the backup cannot be listed", e))?;
    for Entry { path, bytes, .. } in &manifest.files {
        let found = match sizes.get(path) {
            Some(size) if size == bytes => continue,
            Some(size) => format!("has {size} bytes instead of {bytes}"),
            None => "is missing".to_owned(),
        };
        return Err(untrusted(path, &found));
    }
    Ok(())
}

fn untrusted(path: &str, found: &str) -> StorageError {
    StorageError::corrupt(format!(
        "{path} of the backup {found}: the backup cannot be trusted. Put the file back or use \
         another backup"
    ))
}

fn check_empty(dir: &FilePath) -> Result<(), StorageError> {
    match std::fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(not_empty(&format!("the data folder {}", dir.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            let what = format!("the data folder {} cannot be read", dir.display());
            Err(StorageError::because(ErrorKind::Retry, what, error))
        }
    }
}

fn not_empty(what: &str) -> StorageError {
    StorageError::rejected(format!(
        "{what} is not empty, and a backup is never restored over anything: name an empty one"
    ))
}

struct Restoring<'a> {
    from: Arc<dyn ObjectStore>,
    store: Arc<dyn ObjectStore>,
    log: Option<Arc<dyn ObjectStore>>,
    progress: Progress<'a>,
    done: u64,
    total: u64,
}

impl Restoring<'_> {
    /// The logs of tables without their beginnings, then everything else, then the beginnings.
    async fn run(&mut self, manifest: &Manifest) -> Result<(), StorageError> {
        let is_log = |file: &&Entry| file.path.contains("/_delta_log/");
        let (logs, others): (Vec<_>, Vec<_>) =
            manifest.files.iter().filter(|file| !file.head).partition(is_log);
        let heads = manifest.files.iter().filter(|file| file.head);
        for entry in logs.into_iter().chain(others).chain(heads) {
            self.copy(entry).await?;
        }
        Ok(())
    }

    async fn copy(&mut self, entry: &Entry) -> Result<(), StorageError> {
        let content = read(&*self.from, &path(&entry.path)?).await?;
        let content = content.ok_or_else(|| untrusted(&entry.path, "is missing"))?;
        if crc32c::crc32c(&content) != entry.crc32c {
            return Err(untrusted(
                &entry.path,
                "has other bytes than were copied, and what was restored before it is not whole \
                 (remove it)",
            ));
        }
        let (to, place) = self.place(&entry.path)?;
        let put = to.put_opts(&place, PutPayload::from(content), PutMode::Create.into()).await;
        put.map_err(|error| match error {
            Error::AlreadyExists { .. } => StorageError::rejected(format!(
                "{place} is there already, so something else writes to the store: stop it, remove \
                 what is there, and restore anew"
            )),
            error => store_error(format!("{place} was not restored"), error),
        })?;
        self.done += entry.bytes;
        (self.progress)(self.done, self.total);
        Ok(())
    }

    /// Where a file of the backup belongs.
    fn place(&self, from: &str) -> Result<(Arc<dyn ObjectStore>, Path), StorageError> {
        let (folder, rest) = from.split_once('/').unwrap_or(("", from));
        match (&self.log, folder) {
            (_, STORE) => Ok((self.store.clone(), path(rest)?)),
            (Some(log), _) => Ok((log.clone(), path(rest)?)),
            _ => Err(untrusted(from, "belongs to nothing")),
        }
    }
}
