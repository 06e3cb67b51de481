//! Opening stores, and the order in which a local one syncs.

use super::durable::{DurableLocal, Step};
use super::open_store;
use crate::error::ErrorKind;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use url::Url;

type Steps = Arc<Mutex<Vec<Step>>>;

fn watched(root: &std::path::Path) -> (DurableLocal, Steps) {
    let steps = Steps::default();
    let seen = steps.clone();
    let observer = Box::new(move |step| seen.lock().push(step));
    (DurableLocal::with_observer(root, Some(observer)).unwrap(), steps)
}

async fn put(store: &dyn ObjectStore, path: &str, mode: PutMode) -> object_store::Result<()> {
    store.put_opts(&Path::from(path), path.to_owned().into(), mode.into()).await.map(|_| ())
}

#[tokio::test]
async fn a_put_is_on_disk_before_it_has_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let (store, steps) = watched(&root);
    for mode in [PutMode::Create, PutMode::Overwrite] {
        steps.lock().clear();
        let name = format!("{mode:?}.parquet");
        put(&store, &format!("{mode:?}/date=2026-11-23/{name}"), mode.clone()).await.unwrap();
        let table = root.join(format!("{mode:?}"));
        let day = table.join("date=2026-11-23");
        let expected = [
            Step::FolderSynced(table),
            Step::FolderSynced(root.clone()),
            Step::FileSynced(day.join(&name)),
            Step::Named(day.join(&name)),
            Step::FolderSynced(day.clone()),
        ];
        assert_eq!(*steps.lock(), expected);

        // The folder is known now: only what is new is synced.
        steps.lock().clear();
        put(&store, &format!("{mode:?}/date=2026-11-23/other"), mode).await.unwrap();
        assert_eq!(steps.lock().len(), 3);
    }
}

#[tokio::test]
async fn a_folder_of_an_earlier_process_is_synced_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    let (store, steps) = watched(&root);
    put(&store, "a/b/file", PutMode::Create).await.unwrap();
    let folders: Vec<PathBuf> = steps
        .lock()
        .iter()
        .filter_map(|step| match step {
            Step::FolderSynced(path) => Some(path.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(folders, [root.join("a"), root.clone(), root.join("a/b")]);
}

#[tokio::test]
async fn an_upload_in_parts_is_synced_too() {
    let folder = tempfile::tempdir().unwrap();
    let (store, steps) = watched(folder.path());
    let path = Path::from("checkpoint.parquet");
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part("one, ".into()).await.unwrap();
    upload.put_part("two".into()).await.unwrap();
    assert!(steps.lock().is_empty() && store.head(&path).await.is_err());
    upload.complete().await.unwrap();
    assert!(matches!(steps.lock()[..], [Step::FileSynced(_), Step::Named(_), _]));
    let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes, "one, two");
}

#[tokio::test]
async fn a_taken_name_is_refused_only_where_asked() {
    let folder = tempfile::tempdir().unwrap();
    let store = DurableLocal::open(folder.path()).unwrap();
    put(&store, "a", PutMode::Create).await.unwrap();
    let taken = put(&store, "a", PutMode::Create).await.unwrap_err();
    assert!(matches!(taken, object_store::Error::AlreadyExists { .. }), "{taken}");
    put(&store, "a", PutMode::Overwrite).await.unwrap();
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "no temporary file stays behind");
}

#[tokio::test]
async fn listings_are_sorted_and_hide_what_a_crash_left() {
    let folder = tempfile::tempdir().unwrap();
    let store = DurableLocal::open(folder.path()).unwrap();
    let names: Vec<String> = (0..300).rev().map(|n| format!("log/{n:020}.json")).collect();
    for name in &names {
        put(&store, name, PutMode::Create).await.unwrap();
    }
    let staged = format!("{:020}.json#{}", 5, u128::MAX);
    std::fs::write(folder.path().join("log").join(staged), "half").unwrap();
    let log = Path::from("log");
    let listed: Vec<_> = store.list(Some(&log)).try_collect().await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|entry| entry.location.to_string()).collect();
    let sorted: Vec<_> = names.iter().rev().cloned().collect();
    assert_eq!(listed, sorted);
    let offset = Path::from(names[100].clone());
    let after: Vec<_> = store.list_with_offset(Some(&log), &offset).try_collect().await.unwrap();
    let after: Vec<_> = after.into_iter().map(|entry| entry.location.to_string()).collect();
    assert_eq!(after, sorted[200..]);
    assert_eq!(store.list_with_delimiter(Some(&log)).await.unwrap().objects.len(), 300);
}

#[tokio::test]
async fn paths_are_relative_to_the_url() {
    let folder = tempfile::tempdir().unwrap();
    let url = Url::from_directory_path(folder.path().join("new/store")).unwrap();
    let store = open_store(&url, &HashMap::new()).unwrap();
    put(&store, "gpu/file", PutMode::Create).await.unwrap();
    assert!(folder.path().join("new/store/gpu/file").is_file());
    let memory = Url::parse("memory:///some/prefix").unwrap();
    let store = open_store(&memory, &HashMap::new()).unwrap();
    put(&store, "gpu/file", PutMode::Create).await.unwrap();
    assert!(store.head(&Path::from("gpu/file")).await.is_ok());
}

#[test]
fn what_cannot_be_opened_is_refused() {
    let option = HashMap::from([("endpiont".to_owned(), "http://127.0.0.1".to_owned())]);
    for (url, options) in [
        ("s3://bucket/prefix", &option),
        ("file:///tmp/warpline-never-made", &option),
        ("ftp://host/dir", &HashMap::new()),
        ("https://example.com/dir", &HashMap::new()),
    ] {
        let error = open_store(&Url::parse(url).unwrap(), options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{url}: {error}");
    }
    for url in ["s3://bucket/prefix", "gs://bucket/prefix"] {
        open_store(&Url::parse(url).unwrap(), &HashMap::new()).unwrap();
    }
    let account = HashMap::from([("account_name".to_owned(), "fleet".to_owned())]);
    open_store(&Url::parse("az://container/prefix").unwrap(), &account).unwrap();
}

#[tokio::test]
async fn nothing_is_trusted_after_a_folder_was_not_synced() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let (log, away) = (root.join("t/_delta_log"), folder.path().join("away"));
    let commit = "t/_delta_log/00000000000000000001.json";
    let seen = log.clone();
    // The folder is gone when it is to be synced, and back afterwards.
    let observer = Box::new(move |step| {
        if step == Step::Named(seen.join("00000000000000000001.json")) {
            std::fs::rename(&seen, &away).unwrap();
        }
    });
    std::fs::create_dir(&root).unwrap();
    let root = root.canonicalize().unwrap();
    let store = DurableLocal::with_observer(&root, Some(observer)).unwrap();
    put(&store, "t/data.parquet", PutMode::Create).await.unwrap();
    put(&store, "t/_delta_log/00000000000000000000.json", PutMode::Create).await.unwrap();
    put(&store, commit, PutMode::Create).await.unwrap_err();
    std::fs::rename(folder.path().join("away"), &log).unwrap();

    store.get(&Path::from(commit)).await.unwrap_err();
    let listed = store.list(Some(&Path::from("t/_delta_log"))).try_collect::<Vec<_>>().await;
    listed.unwrap_err();
    put(&store, "t/more.parquet", PutMode::Create).await.unwrap_err();
    store.get(&Path::from("t/data.parquet")).await.unwrap();
    // The next process may read it: it syncs the folder before it relies on anything new.
    let store = DurableLocal::open(&root).unwrap();
    store.get(&Path::from(commit)).await.unwrap();
}
