//! A commit is on disk only after everything that it names.

use super::encoding::{Shape, shaped};
use super::{about, flush, schema, tables};
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

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_several_pieces_is_stored_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = DurableLocal::open(folder.path()).unwrap();
    let (schema, rows) = shaped(300, 500, &[(Shape::WideNoise, 0)]);
    let table = tables(Arc::new(store)).create_table(&schema).await.unwrap();
    let written = table.writer().write([Ok(rows)].into_iter(), about(Uuid::new_v4(), 1, 1)).await;
    let file = written.unwrap().unwrap();
    let stored = std::fs::read(folder.path().join("gpu").join(&file.path)).unwrap();
    assert!(stored.len() > 2 << 20, "{} bytes are several pieces", stored.len());
    assert_eq!((file.bytes, file.checksum), (stored.len() as u64, crc32c::crc32c(&stored)));
}
