//! Each kind of damage to a store is named, with its place; nothing is changed by looking.

use super::*;
use crate::Storage;
use crate::testing::{append, contents, make, options};
use arrow::array::{ArrayRef, AsArray, Int16Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Int16Type;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

async fn look(dir: &Path) -> AuditReport {
    look_while(dir, || ()).await
}

/// Looks, and does something when the first file has been read.
async fn look_while(dir: &Path, change: impl FnOnce() + Send) -> AuditReport {
    let mut change = Some(change);
    let mut hear = |_, _| change.take().into_iter().for_each(|change| change());
    let report = audit(&options(dir), &AuditOptions::default(), &mut hear).await.unwrap();
    assert!(report.broken_off.is_none(), "{report:?}");
    report
}

async fn store() -> TempDir {
    let dir = TempDir::new().unwrap();
    make(dir.path()).await;
    dir
}

/// The first file of a table whose name has `part`.
async fn data_file(dir: &Path, table: &str, part: &str) -> PathBuf {
    let options = options(dir);
    let tables = Tables::open(&options.store_url, &options.store_options).unwrap();
    let files = tables.open_table(table).await.unwrap().files();
    let file = files.iter().find(|file| file.path.as_ref().contains(part)).unwrap();
    dir.join("store").join(file.path.as_ref())
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let all = contents(&dir.join("log"));
    all.into_keys().filter(|path| path.extension().is_some()).collect()
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn flip(path: &Path, offset: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[offset] ^= 0x20;
    std::fs::write(path, bytes).unwrap();
}

/// Changes the entry of a file in its table's log.
fn patch(dir: &Path, file: &Path, change: impl Fn(&mut Value)) {
    let table = file.ancestors().nth(2).unwrap();
    assert!(table.starts_with(dir));
    let mut done = 0;
    for (path, bytes) in contents(&table.join("_delta_log")) {
        let mut lines = Vec::new();
        for line in String::from_utf8(bytes).unwrap().lines() {
            let mut action: Value = serde_json::from_str(line).unwrap();
            let add = &mut action["add"];
            if add["path"].as_str().is_some_and(|path| path.ends_with(name(file))) {
                change(add);
                done += 1;
            }
            lines.push(action);
        }
        let keep = |action: &Value| {
            let mut action = action.clone();
            action.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            action.to_string() + "\n"
        };
        std::fs::write(path, lines.iter().map(keep).collect::<String>()).unwrap();
    }
    assert_eq!(done, 1, "{} was not found in the log", file.display());
}

fn patch_statistics(add: &mut Value, change: impl Fn(&mut Value)) {
    let mut statistics: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
    change(&mut statistics);
    add["stats"] = statistics.to_string().into();
}

/// Writes other rows into a file as another program would, and tells the log its size and checksum.
fn rewrite(dir: &Path, file: &Path, change: impl Fn(RecordBatch) -> RecordBatch) {
    let bytes = Bytes::from(std::fs::read(file).unwrap());
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    let batches: Vec<_> = reader.collect::<Result<_, _>>().unwrap();
    let batch = change(concat_batches(&batches[0].schema(), &batches).unwrap());
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    patch(dir, file, |add| {
        add["size"] = bytes.len().into();
        add["tags"]["warpline.crc32c"] = format!("{:08x}", crc32c::crc32c(&bytes)).into();
    });
    std::fs::write(file, bytes).unwrap();
}

/// The one finding there is, which is of this kind, about this place.
fn assert_found<'r>(report: &'r AuditReport, kind: FindingKind, place: &str) -> &'r str {
    let [found] = &report.findings[..] else { panic!("{:#?}", report.findings) };
    assert_eq!(found.kind, kind, "{found:?}");
    assert!(found.place.contains(place), "{found:?} is not about {place}");
    assert!(!found.kind.advice().is_empty());
    &found.found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_store_is_clean_and_stays_as_it_is() {
    let dir = store().await;
    let before = contents(dir.path());
    let report = look(dir.path()).await;
    assert_eq!(report.findings, []);
    assert!(report.rollup_rows > 10 && report.batches > 0 && report.tables == 3, "{report:?}");
    let quick = AuditOptions { quick: true, ..AuditOptions::default() };
    let report = audit(&options(dir.path()), &quick, &mut |_, _| ()).await.unwrap();
    assert_eq!((report.findings, report.rollup_rows), (vec![], 0));
    assert!(before == contents(dir.path()), "looking has changed the store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_verified_while_its_server_runs() {
    let dir = store().await;
    let storage = Storage::open(options(dir.path())).await.unwrap();
    append(&storage, crate::testing::BATCHES + 1).await;
    let report = look(dir.path()).await;
    assert_eq!(report.findings, []);
    assert!(report.left_out.iter().any(|what| what.contains("end of the log")), "{report:?}");
    append(&storage, crate::testing::BATCHES + 2).await;
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn any_changed_byte_of_a_file_is_found() {
    let dir = store().await;
    let file = data_file(dir.path(), "gpu", "monotone").await;
    let whole = std::fs::read(&file).unwrap();
    for offset in (0..whole.len()).step_by(whole.len() / 7) {
        flip(&file, offset);
        let report = look(dir.path()).await;
        assert_found(&report, FindingKind::Checksum, name(&file));
        assert!(report.left_out.iter().any(|what| what.contains("rollups of gpu")));
        std::fs::write(&file, &whole).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_a_checksum_is_decoded() {
    let dir = store().await;
    let file = data_file(dir.path(), "gpu", "monotone").await;
    patch(dir.path(), &file, |add| {
        add["tags"].as_object_mut().unwrap().remove("warpline.crc32c");
    });
    assert_eq!(look(dir.path()).await.findings, []);
    let whole = std::fs::read(&file).unwrap();
    flip(&file, whole.len() - 1);
    assert_found(&look(dir.path()).await, FindingKind::Unreadable, name(&file));
    // In a page, a decoder notices most changes; whatever happens, it is an answer.
    let mut found = 0;
    for offset in (4..whole.len() / 2).step_by(whole.len() / 20) {
        std::fs::write(&file, &whole).unwrap();
        flip(&file, offset);
        found += usize::from(!look(dir.path()).await.findings.is_empty());
    }
    assert!(found > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_and_truncated_files_are_found_by_a_quick_look_too() {
    let dir = store().await;
    let file = data_file(dir.path(), "gpu", "late").await;
    let whole = std::fs::read(&file).unwrap();
    let quick = AuditOptions { quick: true, tables: vec!["gpu".into()] };
    std::fs::write(&file, &whole[..whole.len() - 9]).unwrap();
    let report = audit(&options(dir.path()), &quick, &mut |_, _| ()).await.unwrap();
    assert_found(&report, FindingKind::Size, name(&file));
    std::fs::remove_file(&file).unwrap();
    assert_found(&look(dir.path()).await, FindingKind::Missing, name(&file));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_another_order_are_found() {
    let dir = store().await;
    let file = data_file(dir.path(), "gpu", "monotone").await;
    rewrite(dir.path(), &file, |batch| {
        let rows = batch.num_rows() as u32;
        let order: UInt32Array = [1, 0].into_iter().chain(2..rows).collect();
        take_record_batch(&batch, &order).unwrap()
    });
    let report = look(dir.path()).await;
    let found = assert_found(&report, FindingKind::Order, name(&file));
    assert!(found.contains("not in order"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_statistics_are_found() {
    let dir = store().await;
    let file = data_file(dir.path(), "gpu", "monotone").await;
    let changes: [fn(&mut Value); 4] = [
        |statistics| statistics["numRecords"] = 7.into(),
        |statistics| statistics["minValues"]["time"] = "2026-01-01T00:00:00.000001Z".into(),
        |statistics| statistics["maxValues"]["gpu"] = "0".into(),
        |statistics| statistics["nullCount"]["node"] = 3.into(),
    ];
    let log = contents(&dir.path().join("store/gpu/_delta_log"));
    for change in changes {
        patch(dir.path(), &file, |add| patch_statistics(add, change));
        assert_found(&look(dir.path()).await, FindingKind::Statistics, name(&file));
        for (path, bytes) in &log {
            std::fs::write(path, bytes).unwrap();
        }
    }
    assert_eq!(look(dir.path()).await.findings, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn monotone_files_with_a_key_in_common_are_found() {
    let dir = store().await;
    let late = data_file(dir.path(), "gpu", "late").await;
    patch(dir.path(), &late, |add| add["tags"]["warpline.kind"] = "monotone".into());
    let report = look(dir.path()).await;
    let keys: Vec<_> =
        report.findings.iter().filter(|found| found.kind == FindingKind::Keys).collect();
    assert_eq!(keys.len(), 1, "{report:#?}");
    assert!(keys[0].found.contains(name(&late)) && keys[0].found.contains("n0"), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_past_what_a_table_covers_are_found() {
    let dir = store().await;
    let late = data_file(dir.path(), "gpu", "late").await;
    patch(dir.path(), &late, |add| add["tags"]["warpline.last"] = "62".into());
    assert_found(&look(dir.path()).await, FindingKind::Coverage, name(&late));
    patch(dir.path(), &late, |add| {
        add["tags"]["warpline.last"] = "61".into();
        add["tags"]["warpline.version"] = "999".into();
    });
    let report = look(dir.path()).await;
    let is = |kind| move |found: &&Finding| found.kind == kind;
    let broken = report.findings.iter().find(is(FindingKind::Invariant)).unwrap();
    assert!(broken.found.contains("versions_are_past"), "{broken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_of_a_rollup_is_found() {
    let dir = store().await;
    let file = data_file(dir.path(), "gpu_1m", "monotone").await;
    rewrite(dir.path(), &file, |batch| {
        let at = batch.schema().index_of("temp_max").unwrap();
        let mut values = batch.column(at).as_primitive::<Int16Type>().values().to_vec();
        values[3] += 1;
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        columns[at] = Arc::new(Int16Array::from(values));
        RecordBatch::try_new(batch.schema(), columns).unwrap()
    });
    let report = look(dir.path()).await;
    let minutes: Vec<_> = report.findings.iter().filter(|found| found.place == "gpu_1m").collect();
    assert_eq!(minutes.len(), 1, "{report:#?}");
    let Finding { kind, found, .. } = minutes[0];
    assert_eq!(*kind, FindingKind::Rollup);
    assert!(found.contains("temp_max is 5, its source gives 4"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_row_of_a_rollup_is_found() {
    let dir = store().await;
    let file = data_file(dir.path(), "gpu_1m", "monotone").await;
    rewrite(dir.path(), &file, |batch| batch.slice(0, batch.num_rows() - 1));
    patch(dir.path(), &file, |add| {
        patch_statistics(add, |statistics| {
            let rows = statistics["numRecords"].as_u64().unwrap();
            statistics["numRecords"] = (rows - 1).into();
        });
    });
    let report = look(dir.path()).await;
    let found = report.findings.iter().find(|found| found.kind == FindingKind::Rollup);
    let found = &found.unwrap_or_else(|| panic!("{report:#?}")).found;
    assert!(found.contains("the row is missing"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_record_of_the_log_is_found_with_segment_and_offset() {
    let dir = store().await;
    let segment = segments(dir.path())[0].clone();
    flip(&segment, 400);
    let report = look(dir.path()).await;
    let found = assert_found(&report, FindingKind::Log, "log");
    assert!(found.contains(name(&segment)) && found.contains("offset"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_is_told_and_not_cut() {
    let dir = store().await;
    let newest = segments(dir.path()).pop().unwrap();
    let bytes = std::fs::read(&newest).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    flip(&newest, end - 3);
    let before = contents(dir.path());
    let report = look(dir.path()).await;
    let found = assert_found(&report, FindingKind::LogTail, "log");
    assert!(found.contains(name(&newest)) && found.contains("offset"), "{found}");
    assert!(found.contains("position 79"), "{found}");
    assert!(before == contents(dir.path()), "the tail was cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_segments_are_found() {
    let dir = store().await;
    let all = segments(dir.path());
    assert!(all.len() >= 3, "{all:?}");
    let kept = std::fs::read(&all[1]).unwrap();
    std::fs::remove_file(&all[1]).unwrap();
    let report = look(dir.path()).await;
    let found = assert_found(&report, FindingKind::Log, "log");
    assert!(found.contains(name(&all[0])) && found.contains(name(&all[2])), "{found}");
    std::fs::write(&all[1], kept).unwrap();
    // The first that holds rows which are in no file.
    std::fs::remove_file(&all[0]).unwrap();
    std::fs::remove_file(&all[1]).unwrap();
    let report = look(dir.path()).await;
    let found = assert_found(&report, FindingKind::LogPosition, "log");
    assert!(found.contains("past 61"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_behind_its_tables_is_found() {
    let dir = store().await;
    let old = contents(&dir.path().join("log"));
    let storage = Storage::open(options(dir.path())).await.unwrap();
    append(&storage, crate::testing::BATCHES + 1).await;
    storage.flush().await.unwrap();
    storage.close().await.unwrap();
    assert_eq!(look(dir.path()).await.findings, []);
    std::fs::remove_dir_all(dir.path().join("log")).unwrap();
    std::fs::create_dir(dir.path().join("log")).unwrap();
    for (path, bytes) in old {
        std::fs::write(path, bytes).unwrap();
    }
    assert_found(&look(dir.path()).await, FindingKind::LogPosition, "gpu");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_log_is_damaged_is_named_and_the_others_are_read() {
    let dir = store().await;
    let log = dir.path().join("store/gpu_1h/_delta_log/00000000000000000000.json");
    std::fs::write(&log, "{ this is no JSON").unwrap();
    let report = look(dir.path()).await;
    assert_found(&report, FindingKind::TableLog, "gpu_1h");
    assert_eq!(report.tables, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_looked_at_is_an_error() {
    let dir = TempDir::new().unwrap();
    let nowhere = dir.path().join("nowhere");
    let error = audit(&options(&nowhere), &AuditOptions::default(), &mut |_, _| ()).await;
    assert!(error.unwrap_err().to_string().contains("neither a log"));
    assert!(!nowhere.exists(), "nothing is made");
    let dir = store().await;
    let unknown = AuditOptions { tables: vec!["cpu".into()], quick: false };
    let error = audit(&options(dir.path()), &unknown, &mut |_, _| ()).await.unwrap_err();
    assert!(error.to_string().contains("no table \"cpu\""), "{error}");
}

/// The last file of a table that is looked at, which is not open yet when the first one was read.
async fn last_file(dir: &Path, table: &str) -> PathBuf {
    let options = options(dir);
    let tables = Tables::open(&options.store_url, &options.store_options).unwrap();
    let listed = tables.inspect(table).await.unwrap().1;
    assert!(listed.len() > 2, "{listed:?}");
    dir.join("store").join(listed.last().unwrap().file.path.as_ref())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_goes_meanwhile_is_missing_if_the_table_has_it() {
    let dir = store().await;
    let file = last_file(dir.path(), "gpu").await;
    let report = look_while(dir.path(), || std::fs::remove_file(&file).unwrap()).await;
    assert_found(&report, FindingKind::Missing, name(&file));

    let dir = store().await;
    let file = last_file(dir.path(), "gpu").await;
    let report = look_while(dir.path(), || {
        wait_for(async {
            let storage = Storage::open(options(dir.path())).await.unwrap();
            storage.compact(|_, _| ()).await.unwrap();
            storage.close().await.unwrap();
        });
        std::fs::remove_file(&file).unwrap();
    });
    let report = report.await;
    assert_eq!(report.findings, []);
    assert!(report.left_out.iter().any(|what| what.contains(name(&file))), "{report:?}");
}

fn wait_for(work: impl Future<Output = ()>) {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_disk_does_not_give_is_found_and_the_rest_is_looked_at() {
    let dir = store().await;
    let file = last_file(dir.path(), "gpu").await;
    let report = look_while(dir.path(), || {
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(&file, &file).unwrap();
    });
    let report = report.await;
    assert_found(&report, FindingKind::Unreadable, name(&file));
    assert!(report.tables == 3 && report.batches > 0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_before_an_error_is_told() {
    let dir = store().await;
    let missing = data_file(dir.path(), "gpu", "monotone").await;
    std::fs::remove_file(&missing).unwrap();
    let mut change = Some(|| {
        let loops = dir.path().join("store/gpu_1m/loop");
        std::os::unix::fs::symlink(&loops, &loops).unwrap();
        let loops = dir.path().join("store/gpu_1h/loop");
        std::os::unix::fs::symlink(&loops, &loops).unwrap();
    });
    let mut hear = |_, _| change.take().into_iter().for_each(|change| change());
    let report = audit(&options(dir.path()), &AuditOptions::default(), &mut hear).await.unwrap();
    assert!(report.broken_off.is_some(), "{report:?}");
    assert_found(&report, FindingKind::Missing, name(&missing));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_between_tables_and_log_is_no_finding() {
    let dir = store().await;
    let storage = Storage::open(options(dir.path())).await.unwrap();
    let is_old = || name(&segments(dir.path())[0]) <= "00000000000000000062.log";
    assert!(is_old());
    let report = look_while(dir.path(), || {
        wait_for(async {
            storage.flush().await.unwrap();
            while is_old() {
                tokio::task::yield_now().await;
            }
        });
    });
    let report = report.await;
    assert_eq!(report.findings, []);
    storage.close().await.unwrap();
}
