//! What is backed up comes back: the same rows, once, in a store that goes on.

use super::manifest::Manifest;
use super::*;
use crate::audit::{AuditOptions, audit};
use crate::testing::{self, BATCHES, append, assert_rows, contents, make, producer};
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
    try_back_up(from, to, false).await.unwrap()
}

async fn try_back_up(
    from: &FilePath,
    to: &FilePath,
    replace: bool,
) -> Result<BackupReport, StorageError> {
    backup(&testing::options(from), &place(to), replace, &mut |_, _| ()).await
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
    options.maintenance.delete_after = Duration::from_secs(1);
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
    let files = contents(&folders.backup().join(STORE)).into_keys();
    let parquet = files.filter(|file| file.extension().unwrap() == "parquet").count();
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
    let failed = try_back_up(&other, &folders.backup(), false).await;
    assert!(failed.unwrap_err().to_string().contains("--replace"));
    let data = folders.data();
    std::os::unix::fs::symlink(&data, folders.root.path().join("link")).unwrap();
    for own in ["data/store", "data/store/gpu", "data/new/er", "data", "link/new", "."] {
        let error = try_back_up(&data, &folders.root.path().join(own), true).await.unwrap_err();
        assert!(error.to_string().contains("its own backup"), "{own}: {error}");
    }
    assert!(!data.join("new").exists(), "nothing is made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_backup_is_kept_from_a_store_that_has_lost_something() {
    let folders = Folders::new();
    let (data, target) = (folders.data(), folders.backup());
    make(&data).await;
    back_up(&data, &target).await;
    let good = contents(&target);
    let refused = async |wanted: &str| {
        let error = try_back_up(&data, &target, false).await.unwrap_err().to_string();
        assert!(error.contains(wanted) && error.contains("--replace"), "{error}");
        assert!(contents(&target) == good, "the backup was changed");
    };
    let hours = data.join("store/gpu_1h");
    std::fs::rename(&hours, folders.root.path().join("hours")).unwrap();
    refused("gpu_1h, which this store does not have").await;
    std::fs::rename(folders.root.path().join("hours"), &hours).unwrap();
    let log = std::fs::read_dir(hours.join("_delta_log")).unwrap();
    std::fs::remove_file(log.map(|entry| entry.unwrap().path()).max().unwrap()).unwrap();
    refused("gpu_1h, which in this store is at an older version").await;
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::create_dir_all(data.join("store")).unwrap();
    refused("which this store does not have").await;
    make(&data).await;
    refused("which in this store is another table").await;

    let last = try_back_up(&data, &target, true).await.unwrap();
    let named = contents(&target).len() as u64;
    assert_eq!(named, last.files + 1, "the manifest and what it names");
    std::fs::write(target.join(MANIFEST), "no JSON").unwrap();
    let error = try_back_up(&data, &target, false).await.unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
    try_back_up(&data, &target, true).await.unwrap();
    bring_back(&target, &folders.restored()).await.unwrap();
    assert_clean(&folders.restored()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_that_were_broken_off_have_left_goes() {
    let folders = Folders::new();
    let target = folders.backup();
    make(&folders.data()).await;
    let log = format!("log-{}/1.log", uuid::Uuid::new_v4().simple());
    let (ours, others) = (["store/gpu/left.parquet", &log], ["notes.txt", "log-book/1.log"]);
    for left in ours.iter().chain(&others) {
        let left = target.join(left);
        std::fs::create_dir_all(left.parent().unwrap()).unwrap();
        std::fs::write(left, "left").unwrap();
    }
    let there = |paths: &[&str]| paths.iter().filter(|path| target.join(path).exists()).count();
    back_up(&folders.data(), &target).await;
    assert_eq!((there(&ours), there(&others)), (2, 2), "the target was not known to be a backup");
    back_up(&folders.data(), &target).await;
    assert_eq!((there(&ours), there(&others)), (0, 2));
    bring_back(&target, &folders.restored()).await.unwrap();
    assert_clean(&folders.restored()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_gets_in_between_while_a_store_is_restored() {
    let folders = Folders::new();
    make(&folders.data()).await;
    back_up(&folders.data(), &folders.backup()).await;
    let begun = folders.restored().join("store/gpu/_delta_log/00000000000000000000.json");
    let mut heard = 0;
    let mut meanwhile = |_, _| {
        heard += 1;
        let held = crate::log::Folder::lock(&folders.restored().join("log"));
        assert_eq!(held.unwrap_err().kind(), ErrorKind::Fenced);
        std::fs::create_dir_all(begun.parent().unwrap()).unwrap();
        std::fs::write(&begun, "of another").unwrap();
    };
    let into = testing::options(&folders.restored());
    let restored = restore(&place(&folders.backup()), &into, &mut meanwhile).await;
    let error = restored.unwrap_err().to_string();
    assert!(error.contains("something else writes"), "{error}");
    assert!(heard > 0);
    assert_eq!(std::fs::read_to_string(&begun).unwrap(), "of another");
}
