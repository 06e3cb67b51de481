//! A commit is on disk only after everything that it names.

use super::{flush, schema, tables};
use crate::store::{DurableLocal, Step};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_follows_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = steps.clone();
    let observer = Box::new(move |step| seen.lock().push(step));
    let store = DurableLocal::with_observer(folder.path(), Some(observer)).unwrap();
    let mut table = tables(Arc::new(store)).create_table(&schema("gpu")).await.unwrap();
    steps.lock().clear();
    flush(&mut table, Uuid::new_v4(), 1).await.unwrap();

    let root = folder.path().canonicalize().unwrap().join("gpu");
    let (day, log) = (root.join("date=2026-11-23"), root.join("_delta_log"));
    let data = Path::new(table.files()[0].path.filename().unwrap()).to_owned();
    let commit = log.join("00000000000000000001.json");
    let expected = [
        Step::FolderSynced(root.clone()),
        Step::FolderSynced(folder.path().canonicalize().unwrap()),
        Step::FileSynced(day.join(&data)),
        Step::Named(day.join(&data)),
        Step::FolderSynced(day),
        Step::FileSynced(commit.clone()),
        Step::Named(commit),
        Step::FolderSynced(log),
    ];
    assert_eq!(*steps.lock(), expected);
}
