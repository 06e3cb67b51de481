//! What is backed up comes back: the same rows, once, in a store that goes on.

use super::manifest::Manifest;
use super::*;
use crate::audit::{AuditOptions, audit};
use crate::testing::{self, BATCHES, append, assert_rows, make, producer};
use crate::{Storage, StorageOptions};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tempfile::TempDir;

fn place(dir: &FilePath) -> BackupPlace {
    let url = Url::from_directory_path(dir).unwrap();
    BackupPlace { url, options: HashMap::new() }
}

async fn back_up(from: &FilePath, to: &FilePath) -> BackupReport {
    backup(&testing::options(from), &place(to), &mut |_, _| ()).await.unwrap()
}

async fn bring_back(from: &FilePath, to: &FilePath) -> Result<RestoreReport, StorageError> {
    restore(&place(from), &testing::options(to), &mut |_, _| ()).await
}

async fn assert_clean(dir: &FilePath) {
    let report = audit(&testing::options(dir), &AuditOptions::default(), &mut |_, _| ()).await;
    assert_eq!(report.unwrap().findings, []);
}

async fn open(dir: &FilePath) -> Storage {
    Storage::open(testing::options(dir)).await.unwrap()
}

struct Folders {
    root: TempDir,
}

impl Folders {
    fn new() -> Self {
        Self { root: TempDir::new().unwrap() }
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn backup(&self) -> PathBuf {
        self.root.path().join("backup")
    }

    fn restored(&self) -> PathBuf {
        self.root.path().join("restored")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_a_server_comes_back_with_its_log() {
    let folders = Folders::new();
    make(&folders.data()).await;
    let report = back_up(&folders.data(), &folders.backup()).await;
    assert!(report.log);
    assert_eq!(report.tables.iter().find(|table| table.name == "gpu").unwrap().covered, 61);
    let restored = bring_back(&folders.backup(), &folders.restored()).await.unwrap();
    assert_eq!((restored.log, restored.files), (true, report.files));
    assert_clean(&folders.restored()).await;
    let storage = open(&folders.restored()).await;
    assert_rows(storage.snapshot().table("gpu").unwrap(), BATCHES).await;
    assert_eq!(storage.producer(&producer()).borrow().durable, BATCHES);
    append(&storage, BATCHES).await;
    append(&storage, BATCHES + 1).await;
    storage.flush().await.unwrap();
    storage.maintenance().roll_all().await.unwrap();
    storage.compact(|_, _| ()).await.unwrap();
    assert_rows(storage.snapshot().table("gpu").unwrap(), BATCHES + 1).await;
    storage.close().await.unwrap();
    assert_clean(&folders.restored()).await;
}

/// Merges and deletes what was merged, at once, so that files vanish under the backup.
fn restless(dir: &FilePath) -> StorageOptions {
    let mut options = testing::options(dir);
    options.flush_interval = Duration::from_millis(20);
    options.maintenance.background = true;
    options.maintenance.interval = Duration::from_millis(10);
    options.maintenance.merge_memory = 0;
    options.maintenance.delete_after = Duration::from_millis(50);
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_backed_up_while_it_is_written_and_merged() {
    let folders = Folders::new();
    let storage = Storage::open(restless(&folders.data())).await.unwrap();
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writing = tokio::spawn({
        let (storage, stop, sent) = (storage.clone(), stop.clone(), sent.clone());
        async move {
            let mut sequence = 0;
            while !stop.load(Relaxed) {
                sequence += 1;
                append(&storage, sequence).await;
                sent.store(sequence, Relaxed);
            }
        }
    });
    let mut covered = 0;
    for wanted in [60, 150, 300] {
        while sent.load(Relaxed) < wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        storage.flush().await.unwrap();
        let report = back_up(&folders.data(), &folders.backup()).await;
        assert!(!report.log, "the server is writing it");
        let gpu = report.tables.iter().find(|table| table.name == "gpu").unwrap();
        assert!(gpu.covered >= wanted && gpu.covered > covered);
        covered = gpu.covered;
        let to = folders.restored().join(wanted.to_string());
        bring_back(&folders.backup(), &to).await.unwrap();
        assert_clean(&to).await;
        let restored = open(&to).await;
        assert_rows(restored.snapshot().table("gpu").unwrap(), covered).await;
        // The log is a new one: the producer sends again what it holds, and goes on.
        for sequence in covered - 2..=covered + 2 {
            append(&restored, sequence).await;
        }
        restored.flush().await.unwrap();
        restored.maintenance().roll_all().await.unwrap();
        assert_rows(restored.snapshot().table("gpu").unwrap(), covered + 2).await;
        restored.close().await.unwrap();
        assert_clean(&to).await;
    }
    stop.store(true, Relaxed);
    writing.await.unwrap();
    assert!(storage.metrics().merges > 0 && storage.metrics().deleted_files > 0);
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_at_the_target_is_not_copied_again_and_what_is_gone_goes() {
    let folders = Folders::new();
    make(&folders.data()).await;
    let first = back_up(&folders.data(), &folders.backup()).await;
    assert_eq!(first.copied_files, first.files);
    // As if the first had been broken off: nothing says what is there but the files.
    std::fs::remove_file(folders.backup().join(MANIFEST)).unwrap();
    let again = back_up(&folders.data(), &folders.backup()).await;
    let data: u64 = again.tables.iter().map(|table| table.files).sum();
    assert_eq!(again.copied_files, again.files - data, "data files stay");
    let storage = open(&folders.data()).await;
    storage.compact(|_, _| ()).await.unwrap();
    storage.close().await.unwrap();
    let second = back_up(&folders.data(), &folders.backup()).await;
    assert!(second.tables.iter().all(|table| table.files == 1), "{second:?}");
    let mut files = Vec::new();
    let mut folders_left = vec![folders.backup().join(STORE)];
    while let Some(folder) = folders_left.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders_left.push(path) } else { files.push(path) }
        }
    }
    let parquet = files.iter().filter(|file| file.extension().unwrap() == "parquet").count();
    assert_eq!(parquet, second.tables.len(), "files that were merged are gone");
    bring_back(&folders.backup(), &folders.restored()).await.unwrap();
    assert_clean(&folders.restored()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_not_whole_is_refused() {
    let folders = Folders::new();
    make(&folders.data()).await;
    back_up(&folders.data(), &folders.backup()).await;
    let manifest = folders.backup().join(MANIFEST);
    let whole = std::fs::read_to_string(&manifest).unwrap();
    let refused = async |wanted: &str| {
        let error = bring_back(&folders.backup(), &folders.restored()).await.unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
        let left = std::fs::read_dir(folders.restored());
        assert!(left.is_err(), "something was written");
    };
    std::fs::remove_file(&manifest).unwrap();
    refused("was not finished").await;
    std::fs::write(&manifest, whole.replacen("\"rows\": ", "\"rows\": 1", 1)).unwrap();
    refused("damaged").await;
    std::fs::write(&manifest, &whole).unwrap();

    let decoded = Manifest::decode(whole.as_bytes()).unwrap();
    let file = decoded.files.iter().find(|file| file.path.ends_with(".parquet")).unwrap();
    let file = folders.backup().join(&file.path);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[1..]).unwrap();
    refused("bytes instead of").await;
    std::fs::remove_file(&file).unwrap();
    refused("is missing").await;
    let mut changed = bytes.clone();
    changed[9] ^= 1;
    std::fs::write(&file, changed).unwrap();
    let error = bring_back(&folders.backup(), &folders.restored()).await.unwrap_err();
    assert!(error.to_string().contains("other bytes"), "{error}");
    // The half that was restored is not taken for a store.
    assert!(Storage::open(testing::options(&folders.restored())).await.is_err());
    let error = bring_back(&folders.backup(), &folders.restored()).await.unwrap_err();
    assert!(error.to_string().contains("not empty"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_restored_over_or_backed_up_onto_something_else() {
    let folders = Folders::new();
    make(&folders.data()).await;
    back_up(&folders.data(), &folders.backup()).await;
    let error = bring_back(&folders.backup(), &folders.data()).await.unwrap_err();
    assert!(error.to_string().contains("not empty"), "{error}");
    let other = folders.root.path().join("other");
    make(&other).await;
    let failed = backup(&testing::options(&other), &place(&folders.backup()), &mut |_, _| ()).await;
    assert!(failed.unwrap_err().to_string().contains("another store"));
    let own = place(&folders.data().join("store"));
    let failed = backup(&testing::options(&folders.data()), &own, &mut |_, _| ()).await;
    assert!(failed.unwrap_err().to_string().contains("its own backup"));
}
