//! The whole room: append, acknowledge, flush, stop, come back.

use super::*;
use crate::model::{Block, BlockBuilder, Column, FieldType, Layout, Series, Value};
use crate::snapshot::{FileKind, TableSnapshot};
use crate::state::TableState;
use arrow::array::{ArrayAccessor, AsArray, StringArray};
use arrow::datatypes::{Int16Type, Int32Type, TimestampMicrosecondType};
use std::collections::HashMap;
use std::path::Path;
use tempfile::TempDir;

const SECOND: i64 = 1_000_000;
/// 2026-01-01T00:00:00Z
const START: i64 = 1_767_225_600 * SECOND;

fn options(dir: &Path) -> StorageOptions {
    StorageOptions { flush_interval: Duration::from_hours(1), ..StorageOptions::new(dir) }
}

fn layout(table: &str) -> Layout {
    let series = |gpu: u8| Series {
        identity: vec!["n0".into(), gpu.to_string().into()],
        attributes: Vec::new(),
    };
    Layout::new(
        table,
        vec!["node".into(), "gpu".into()],
        Vec::new(),
        vec![Column { name: "temp".into(), field_type: FieldType::Int16 }],
        (0..2).map(series).collect(),
    )
    .unwrap()
}

fn tick(layout: &Arc<Layout>, second: i64) -> Block {
    let mut builder = BlockBuilder::new(layout.clone());
    for series in 0..2 {
        builder.row(series, START + second * SECOND);
        builder.set(0, Value::Int(second % 100)).unwrap();
    }
    Block::parse(layout.clone(), builder.finish()).unwrap()
}

fn producer() -> ProducerId {
    ProducerId::new("node-0").unwrap()
}

/// Appends the seconds as one batch each, sequence = second, and waits until they are durable.
async fn send(storage: &Storage, table: &str, seconds: std::ops::RangeInclusive<u64>) {
    let layout = storage.admit(&layout(table)).unwrap().layout;
    let mut acknowledged = storage.producer(&producer());
    for sequence in seconds.clone() {
        let blocks = vec![tick(&layout, sequence as i64)];
        storage.append(Batch { producer: producer(), sequence, blocks }).await.unwrap();
    }
    acknowledged.wait_for(|ack| ack.durable >= *seconds.end()).await.unwrap();
}

fn rows(table: &TableSnapshot) -> u64 {
    let buffered = table.buffer.scan_all(&[0]).map(|batch| batch.num_rows() as u64);
    table.files.iter().map(|file| file.rows).sum::<u64>() + buffered.sum::<u64>()
}

fn count(storage: &Storage, table: &str) -> u64 {
    storage.snapshot().table(table).map_or(0, |table| rows(table))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_seen_once_acknowledged_and_survives_stops_and_flushes() {
    let dir = TempDir::new().unwrap();
    let storage = Storage::open(options(dir.path())).await.unwrap();
    send(&storage, "gpu", 1..=10).await;
    assert_eq!(count(&storage, "gpu"), 20);
    storage.close().await.unwrap();
    drop(storage);

    let storage = Storage::open(options(dir.path())).await.unwrap();
    assert_eq!(count(&storage, "gpu"), 20);
    assert_eq!(*storage.producer(&producer()).borrow(), Acknowledged { durable: 10, stored: 0 });
    send(&storage, "gpu", 8..=12).await;
    assert_eq!(count(&storage, "gpu"), 24, "sequences 8 to 10 were taken already");
    storage.flush().await.unwrap();
    assert_eq!(count(&storage, "gpu"), 24);
    assert_eq!(*storage.producer(&producer()).borrow(), Acknowledged { durable: 12, stored: 12 });
    send(&storage, "gpu", 13..=13).await;
    storage.close().await.unwrap();
    drop(storage);

    let storage = Storage::open(options(dir.path())).await.unwrap();
    let snapshot = storage.snapshot();
    let table = snapshot.table("gpu").unwrap();
    assert_eq!((table.files.len(), table.buffer.rows(), rows(table)), (1, 2, 26));
    assert_eq!(table.files[0].kind, FileKind::Monotone);
    assert_eq!(table.buffer.late_times(), None, "newer than all files");
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_snapshot_misses_or_doubles_a_row_while_flushes_run() {
    let dir = TempDir::new().unwrap();
    let storage = Storage::open(options(dir.path())).await.unwrap();
    let flushing = tokio::spawn({
        let storage = storage.clone();
        async move {
            for _ in 0..8 {
                storage.flush().await.unwrap();
            }
        }
    });
    let acknowledged = storage.producer(&producer());
    for sequence in 1..=200 {
        send(&storage, "gpu", sequence..=sequence).await;
        let before = acknowledged.borrow().durable;
        assert_eq!(count(&storage, "gpu"), before * 2);
    }
    flushing.await.unwrap();
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn late_rows_go_to_a_late_file() {
    let dir = TempDir::new().unwrap();
    let storage = Storage::open(options(dir.path())).await.unwrap();
    send(&storage, "gpu", 5..=6).await;
    storage.flush().await.unwrap();
    let layout = storage.admit(&layout("gpu")).unwrap().layout;
    let blocks = vec![tick(&layout, 6), tick(&layout, 7)];
    let batch = Batch { producer: producer(), sequence: 7, blocks };
    storage.append(batch).await.unwrap();
    storage.flush().await.unwrap();
    let snapshot = storage.snapshot();
    let files = snapshot.table("gpu").unwrap().files.iter();
    let kinds: Vec<_> = files.map(|file| (file.kind, file.rows)).collect();
    let expected = [(FileKind::Monotone, 4), (FileKind::Monotone, 2), (FileKind::Late, 2)];
    assert_eq!(kinds, expected);
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_two_days_go_to_two_partitions() {
    let dir = TempDir::new().unwrap();
    let storage = Storage::open(options(dir.path())).await.unwrap();
    send(&storage, "gpu", 86_399..=86_400).await;
    storage.flush().await.unwrap();
    let snapshot = storage.snapshot();
    let paths: Vec<_> =
        snapshot.table("gpu").unwrap().files.iter().map(|file| file.path.to_string()).collect();
    assert!(paths[0].starts_with("gpu/date=2026-01-01/"), "{paths:?}");
    assert!(paths[1].starts_with("gpu/date=2026-01-02/"), "{paths:?}");
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn covered_segments_are_deleted_and_replay_takes_only_the_rest() {
    let dir = TempDir::new().unwrap();
    let small = || StorageOptions { segment_bytes: 4_096, ..options(dir.path()) };
    let storage = Storage::open(small()).await.unwrap();
    send(&storage, "gpu", 1..=200).await;
    send(&storage, "node", 201..=210).await;
    let full = segments(dir.path());
    storage.flush().await.unwrap();
    storage.sync().await.unwrap();
    assert!(segments(dir.path()) < full, "covered segments went");
    send(&storage, "gpu", 211..=212).await;
    storage.close().await.unwrap();
    drop(storage);
    let storage = Storage::open(small()).await.unwrap();
    assert_eq!((count(&storage, "gpu"), count(&storage, "node")), (404, 20));
    assert_eq!(storage.producer(&producer()).borrow().durable, 212);
    storage.close().await.unwrap();
}

fn segments(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("log")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_older_than_its_tables_is_refused_and_a_new_log_is_not() {
    let (dir, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let storage = Storage::open(options(dir.path())).await.unwrap();
    send(&storage, "gpu", 1..=5).await;
    storage.close().await.unwrap();
    drop(storage);
    copy_log(dir.path(), copy.path());
    let storage = Storage::open(options(dir.path())).await.unwrap();
    send(&storage, "gpu", 6..=9).await;
    storage.flush().await.unwrap();
    storage.close().await.unwrap();
    drop(storage);

    std::fs::remove_dir_all(dir.path().join("log")).unwrap();
    copy_log(copy.path(), dir.path());
    let error = Storage::open(options(dir.path())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("ends at 5"), "{error}");

    std::fs::remove_dir_all(dir.path().join("log")).unwrap();
    let storage = Storage::open(options(dir.path())).await.unwrap();
    assert_eq!(count(&storage, "gpu"), 18);
    send(&storage, "gpu", 1..=9).await;
    let snapshot = storage.snapshot();
    let late = snapshot.table("gpu").unwrap().buffer.late_times().unwrap();
    assert_eq!((late.first, late.last), (START + SECOND, START + 9 * SECOND));
    storage.close().await.unwrap();
}

fn copy_log(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.join("log")).unwrap();
    for file in std::fs::read_dir(from.join("log")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join("log").join(file.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_fences_its_predecessor() {
    let (first_dir, second_dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let first = Storage::open(options(first_dir.path())).await.unwrap();
    send(&first, "gpu", 1..=5).await;
    first.flush().await.unwrap();
    copy_log(first_dir.path(), second_dir.path());
    let shared = StorageOptions {
        store_url: options(first_dir.path()).store_url,
        ..options(second_dir.path())
    };
    let second = Storage::open(shared).await.unwrap();
    send(&first, "gpu", 6..=7).await;
    let error = first.flush().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    let layout = first.admit(&layout("gpu"));
    assert_eq!(layout.unwrap_err().kind(), ErrorKind::Fenced, "a fenced store takes nothing");
    send(&second, "gpu", 6..=8).await;
    second.flush().await.unwrap();
    assert_eq!(count(&second, "gpu"), 16);
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_made_by_a_successor_fences_too() {
    let (first_dir, second_dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let first = Storage::open(options(first_dir.path())).await.unwrap();
    send(&first, "gpu", 1..=5).await;
    copy_log(first_dir.path(), second_dir.path());
    let store_url = options(first_dir.path()).store_url;
    let second = StorageOptions { store_url, ..options(second_dir.path()) };
    let second = Storage::open(second).await.unwrap();
    assert_eq!(count(&second, "gpu"), 10);
    second.flush().await.unwrap();
    send(&first, "gpu", 6..=7).await;
    assert_eq!(first.flush().await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(count(&second, "gpu"), 10);
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_waits_for_memory_learns_that_the_store_has_closed() {
    let dir = TempDir::new().unwrap();
    let tiny = StorageOptions { memory_budget: 2, ..options(dir.path()) };
    let storage = Storage::open(tiny).await.unwrap();
    let layout = storage.admit(&layout("gpu")).unwrap().layout;
    let held = storage.shared.budget.force(1);
    let batch = Batch { producer: producer(), sequence: 1, blocks: vec![tick(&layout, 1)] };
    let waiting = tokio::spawn({
        let storage = storage.clone();
        async move { storage.append(batch).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    storage.close().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    drop(held);
}

/// Appends ask for a flush until the one under way gives memory back: those wishes are met then.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_flush_has_covered_does_not_ask_for_another() {
    let dir = TempDir::new().unwrap();
    let small = StorageOptions { flush_bytes: 4_096, ..options(dir.path()) };
    let storage = Storage::open(small).await.unwrap();
    let shared = storage.shared.clone();
    let mut flusher = shared.flusher.lock().await;
    send(&storage, "gpu", 1..=100).await;
    let soon = || tokio::time::timeout(Duration::from_millis(200), shared.flush_due());
    soon().await.expect("memory asks");
    flusher.flush().await.unwrap();
    soon().await.expect_err("nothing asks any more");
    send(&storage, "gpu", 101..=200).await;
    soon().await.expect("memory asks again");
    drop(flusher);
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layout_without_fields_is_refused() {
    let dir = TempDir::new().unwrap();
    let storage = Storage::open(options(dir.path())).await.unwrap();
    let (tags, series) = (layout("gpu").identity_tags().to_vec(), layout("gpu").series().to_vec());
    let bare = Layout::new("gpu", tags, Vec::new(), Vec::new(), series).unwrap();
    assert_eq!(storage.admit(&bare).unwrap_err().kind(), ErrorKind::Rejected);
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_flushes_and_lets_appends_through() {
    let dir = TempDir::new().unwrap();
    let tight = StorageOptions { memory_budget: 8_192, flush_bytes: 4_096, ..options(dir.path()) };
    let storage = Storage::open(tight).await.unwrap();
    send(&storage, "gpu", 1..=500).await;
    assert_eq!(count(&storage, "gpu"), 1_000);
    assert!(storage.metrics().flushes > 1);
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_flushes_when_the_log_is_larger_than_memory() {
    let dir = TempDir::new().unwrap();
    let storage = Storage::open(options(dir.path())).await.unwrap();
    send(&storage, "gpu", 1..=300).await;
    storage.close().await.unwrap();
    drop(storage);
    let tight = StorageOptions { memory_budget: 8_192, flush_bytes: 4_096, ..options(dir.path()) };
    let storage = Storage::open(tight).await.unwrap();
    assert_eq!(count(&storage, "gpu"), 600);
    assert!(storage.metrics().buffer_bytes <= 8_192);
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_keeps_its_types_and_grows() {
    let dir = TempDir::new().unwrap();
    let storage = Storage::open(options(dir.path())).await.unwrap();
    send(&storage, "gpu", 1..=1).await;
    storage.flush().await.unwrap();
    let column = |name: &str, field_type| Column { name: name.into(), field_type };
    let wider = Layout::new(
        "gpu",
        vec!["node".into(), "gpu".into()],
        vec!["job".into()],
        vec![
            column("TEMP", FieldType::Float64),
            column("power", FieldType::decimal(9, 3).unwrap()),
            column("node_x", FieldType::Int8),
        ],
        vec![Series { identity: vec!["n0".into(), "0".into()], attributes: vec!["j1".into()] }],
    )
    .unwrap();
    let admission = storage.admit(&wider).unwrap();
    assert_eq!(admission.layout.columns()[0], column("temp", FieldType::Int16));
    let mut builder = BlockBuilder::new(admission.layout.clone());
    builder.row(0, START + 9 * SECOND);
    builder.set(1, Value::Float(699.123)).unwrap();
    let block = Block::parse(admission.layout.clone(), builder.finish()).unwrap();
    let batch = Batch { producer: producer(), sequence: 2, blocks: vec![block] };
    storage.append(batch).await.unwrap();
    storage.flush().await.unwrap();
    storage.close().await.unwrap();
    drop(storage);
    let storage = Storage::open(options(dir.path())).await.unwrap();
    let snapshot = storage.snapshot();
    let table = snapshot.table("gpu").unwrap();
    assert_eq!((rows(table), table.files.len()), (3, 2));
    let names: HashMap<_, _> =
        table.schema.fields.iter().map(|field| (&*field.name, field.field_type)).collect();
    assert_eq!(names["temp"], FieldType::Int16);
    assert_eq!(names["power"], FieldType::decimal(9, 3).unwrap());
    assert_eq!(table.schema.attributes, ["job".into()]);
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_named_in_their_errors() {
    let dir = TempDir::new().unwrap();
    let limits = Limits { tables: 1, columns: 1, series: 3 };
    let storage = Storage::open(StorageOptions { limits, ..options(dir.path()) }).await.unwrap();
    storage.admit(&layout("gpu")).unwrap();
    let error = storage.admit(&layout("node")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("limit `tables` of 1"), "{error}");
    let other = Layout::new(
        "gpu",
        vec!["node".into(), "gpu".into()],
        Vec::new(),
        vec![Column { name: "power".into(), field_type: FieldType::Int16 }],
        layout("gpu").series().to_vec(),
    );
    let error = storage.admit(&other.unwrap()).unwrap_err();
    assert!(error.to_string().contains("limit `columns` is 1"), "{error}");
    let series = Series { identity: vec!["n0".into(), "0".into()], attributes: vec!["x".into()] };
    let labelled = Layout::new(
        "gpu",
        layout("gpu").identity_tags().to_vec(),
        vec!["pod".into()],
        layout("gpu").columns().to_vec(),
        vec![series],
    );
    let error = storage.admit(&labelled.unwrap()).unwrap_err();
    assert!(error.to_string().contains("2 fields and attributes"), "{error}");
    let more = |nodes: std::ops::Range<u8>| {
        let series = nodes.map(|node| Series {
            identity: vec![format!("n{node}").into(), "0".into()],
            attributes: Vec::new(),
        });
        let columns = layout("gpu").columns().to_vec();
        let tags = layout("gpu").identity_tags().to_vec();
        Layout::new("gpu", tags, Vec::new(), columns, series.collect()).unwrap()
    };
    storage.admit(&more(0..2)).unwrap();
    let error = storage.admit(&more(0..3)).unwrap_err();
    assert!(error.to_string().contains("1 new series of table gpu"), "{error}");
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_beyond_a_limit_that_came_later_takes_what_adds_no_column() {
    let dir = TempDir::new().unwrap();
    let wide = |columns: &[&str], gpu: &str| {
        let column = |name: &&str| Column { name: (*name).into(), field_type: FieldType::Int16 };
        let series = Series { identity: vec!["n0".into(), gpu.into()], attributes: Vec::new() };
        let tags = vec!["node".into(), "gpu".into()];
        let columns = columns.iter().map(column).collect();
        Layout::new("gpu", tags, Vec::new(), columns, vec![series]).unwrap()
    };
    let limits = Limits { columns: 2, ..Limits::default() };
    let storage = Storage::open(StorageOptions { limits, ..options(dir.path()) }).await.unwrap();
    let layout = storage.admit(&wide(&["a", "b"], "0")).unwrap().layout;
    let mut block = BlockBuilder::new(layout.clone());
    block.row(0, START);
    block.set(0, Value::Int(5)).unwrap();
    let blocks = vec![Block::parse(layout, block.finish()).unwrap()];
    storage.append(Batch { producer: producer(), sequence: 1, blocks }).await.unwrap();
    storage.close().await.unwrap();

    let limits = Limits { columns: 1, ..Limits::default() };
    let storage = Storage::open(StorageOptions { limits, ..options(dir.path()) }).await.unwrap();
    storage.admit(&wide(&["a", "b"], "1")).unwrap();
    let error = storage.admit(&wide(&["a", "c"], "2")).unwrap_err();
    assert!(error.to_string().contains("would have 3 fields and attributes"), "{error}");
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_clashes_with_a_field_is_left_out_and_told() {
    let dir = TempDir::new().unwrap();
    let storage = Storage::open(options(dir.path())).await.unwrap();
    storage.admit(&layout("gpu")).unwrap();
    let attributes = vec!["rack".into(), "temp".into(), "job".into()];
    let series = Series {
        identity: vec!["n0".into(), "0".into()],
        attributes: vec!["r1".into(), "hot".into(), "j1".into()],
    };
    let tags = layout("gpu").identity_tags().to_vec();
    let columns = vec![Column { name: "power".into(), field_type: FieldType::Int16 }];
    let clashing = Layout::new("gpu", tags, attributes, columns, vec![series]).unwrap();
    let admission = storage.admit(&clashing).unwrap();
    assert_eq!(admission.layout.attribute_tags(), ["rack".into(), "job".into()]);
    assert_eq!(admission.layout.series()[0].attributes, ["r1".into(), "j1".into()]);
    assert!(admission.refused[0].to_string().contains("\"temp\" is a field"));
    storage.close().await.unwrap();
}

/// (gpu, second, temp) of the newest rows.
async fn latest(storage: &Storage, table: &str) -> Vec<(String, i64, i16)> {
    let snapshot = storage.snapshot();
    let latest = snapshot.table(table).unwrap().latest(&[]).await.unwrap();
    let mut rows = Vec::new();
    for batch in latest.batches(vec![2, 0, 3]) {
        let gpus = batch.column(0).as_dictionary::<Int32Type>();
        let gpus = gpus.downcast_dict::<StringArray>().unwrap();
        let times = batch.column(1).as_primitive::<TimestampMicrosecondType>();
        let temps = batch.column(2).as_primitive::<Int16Type>();
        rows.extend((0..batch.num_rows()).map(|row| {
            let second = (times.value(row) - START) / SECOND;
            (gpus.value(row).to_owned(), second, temps.value(row))
        }));
    }
    rows.sort();
    rows
}

fn both(second: i64) -> Vec<(String, i64, i16)> {
    ["0", "1"].map(|gpu| (gpu.to_owned(), second, second as i16)).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_rows_are_those_of_all_writers_that_the_files_show() {
    let (first_dir, second_dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let first = Storage::open(options(first_dir.path())).await.unwrap();
    send(&first, "gpu", 1..=5).await;
    first.flush().await.unwrap();
    let store_url = options(first_dir.path()).store_url;
    let second = StorageOptions { store_url, ..options(second_dir.path()) };
    let second = Storage::open(second).await.unwrap();
    assert_eq!(latest(&second, "gpu").await, both(5), "read from the other's file");
    send(&second, "gpu", 40..=50).await;
    second.flush().await.unwrap();
    assert_eq!(latest(&second, "gpu").await, both(50));
    send(&first, "gpu", 6..=7).await;
    assert_eq!(latest(&first, "gpu").await, both(7));
    first.flush().await.unwrap();
    assert_eq!(first.snapshot().table("gpu").unwrap().files.len(), 3);
    assert_eq!(latest(&first, "gpu").await, both(50), "the flush has met the other's file");
    first.close().await.unwrap();
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn buffered_rows_are_contested_by_files_of_other_writers() {
    let (first_dir, second_dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let first = Storage::open(options(first_dir.path())).await.unwrap();
    send(&first, "gpu", 1..=5).await;
    first.flush().await.unwrap();
    let store_url = options(first_dir.path()).store_url;
    let second = StorageOptions { store_url, ..options(second_dir.path()) };
    let second = Storage::open(second).await.unwrap();
    send(&second, "gpu", 40..=50).await;
    second.flush().await.unwrap();
    send(&first, "gpu", 6..=7).await;
    first.flush().await.unwrap();
    let late = |storage: &Storage| storage.snapshot().table("gpu").unwrap().buffer.late_times();
    send(&first, "gpu", 8..=9).await;
    assert_eq!(late(&first), None, "newer than its own, and no other's");
    send(&first, "gpu", 45..=60).await;
    let met = |second: i64| START + second * SECOND;
    assert_eq!(late(&first), Some(TimeRange { first: met(40), last: met(50) }));
    first.close().await.unwrap();
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_series_hold_no_memory_of_the_buffer() {
    let dir = TempDir::new().unwrap();
    let storage = Storage::open(options(dir.path())).await.unwrap();
    send(&storage, "gpu", 1..=9).await;
    assert_eq!(latest(&storage, "gpu").await, both(9));
    storage.flush().await.unwrap();
    assert_eq!(latest(&storage, "gpu").await, both(9));
    let metrics = storage.metrics();
    assert_eq!(metrics.buffer_bytes, 0);
    assert!(metrics.latest_bytes > 0);
    storage.close().await.unwrap();
}

/// GPU, second and temp.
type Row = (u32, i64, i64);
/// Of each GPU second and temp.
type Newest = [(i64, i16); 2];

/// Appends one row as a batch of its own, and waits until it is durable.
async fn write(storage: &Storage, layout: &Layout, sequence: u64, row: Row) {
    let layout = storage.admit(layout).unwrap().layout;
    let mut builder = BlockBuilder::new(layout.clone());
    builder.row(row.0, START + row.1 * SECOND);
    builder.set(0, Value::Int(row.2)).unwrap();
    let blocks = vec![Block::parse(layout, builder.finish()).unwrap()];
    storage.append(Batch { producer: producer(), sequence, blocks }).await.unwrap();
    let mut acknowledged = storage.producer(&producer());
    acknowledged.wait_for(|ack| ack.durable >= sequence).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_rows_of_a_flush_may_lie_in_any_of_its_files() {
    const DAY: i64 = 86_400;
    let dir = TempDir::new().unwrap();
    let storage = Storage::open(options(dir.path())).await.unwrap();
    let narrow = layout("gpu");
    let power = Column { name: "power".into(), field_type: FieldType::Int16 };
    let wide = Layout::new(
        "gpu",
        narrow.identity_tags().to_vec(),
        Vec::new(),
        [narrow.columns(), &[power]].concat(),
        narrow.series().to_vec(),
    );
    let wide = wide.unwrap();
    let flushes: [(&Layout, &[Row], Newest); 5] = [
        (&narrow, &[(0, 5, 1), (1, 5, 2), (0, DAY, 3), (0, 2 * DAY, 4)], [(2 * DAY, 4), (5, 2)]),
        // A late row, and the newest row of the other written again.
        (&narrow, &[(0, DAY + 1, 5), (1, 5, 6)], [(2 * DAY, 4), (5, 6)]),
        // Late and new ones of one series.
        (&narrow, &[(1, 4, 7), (1, DAY, 8)], [(2 * DAY, 4), (DAY, 8)]),
        // A column more.
        (&wide, &[(0, 3 * DAY, 9), (1, 9, 9)], [(3 * DAY, 9), (DAY, 8)]),
        // Blocks without a column that the table has.
        (&narrow, &[(1, 4 * DAY, 10)], [(3 * DAY, 9), (4 * DAY, 10)]),
    ];
    let mut sequence = 0;
    for (number, (layout, rows, newest)) in flushes.into_iter().enumerate() {
        for row in rows {
            sequence += 1;
            write(&storage, layout, sequence, *row).await;
        }
        let newest = ["0", "1"].into_iter().zip(newest);
        let newest: Vec<_> =
            newest.map(|(gpu, (second, temp))| (gpu.to_owned(), second, temp)).collect();
        assert_eq!(latest(&storage, "gpu").await, newest, "before flush {number}");
        storage.flush().await.unwrap();
        assert_eq!(latest(&storage, "gpu").await, newest, "after flush {number}");
    }
    storage.close().await.unwrap();
}

mod format_1;

/// Two kinds of nodes, in turn: what layouts of one kind have in common is kept once.
#[tokio::test(flavor = "multi_thread")]
async fn layouts_share_what_they_have_in_common() {
    let dir = TempDir::new().unwrap();
    let storage = Storage::open(options(dir.path())).await.unwrap();
    let names = || {
        let state = storage.shared.state.lock();
        state.tables().iter().map(TableState::names).collect::<Vec<_>>()
    };
    let kinds = [vec!["temp"], vec!["temp", "power"]];
    let of_node = |node: usize| {
        let columns = kinds[node % 2]
            .iter()
            .map(|name| Column { name: (*name).into(), field_type: FieldType::Int16 });
        let identity = vec![format!("n{node}").into(), "0".into()];
        let series = Series { identity, attributes: Vec::new() };
        let tags = layout("gpu").identity_tags().to_vec();
        Layout::new("gpu", tags, Vec::new(), columns.collect(), vec![series]).unwrap()
    };
    let held: Vec<_> = (0..6).map(|node| storage.admit(&of_node(node)).unwrap().layout).collect();
    assert_eq!(names(), [2]);
    drop(held);
    storage.flush().await.unwrap();
    assert_eq!(names(), [0]);
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn layouts_that_nobody_holds_are_forgotten() {
    let dir = TempDir::new().unwrap();
    let small = StorageOptions { segment_bytes: 4 << 10, ..options(dir.path()) };
    let storage = Storage::open(small).await.unwrap();
    let known = || storage.shared.state.lock().layouts();
    let held = storage.admit(&layout("held")).unwrap().layout;
    drop(storage.admit(&layout("dropped")).unwrap());
    storage.flush().await.unwrap();
    assert_eq!(known(), 1, "one is held");

    // What has rows in memory or a log segment is held by them.
    let sequences = &mut (1..);
    let append = async |layout: &Arc<Layout>, sequence: u64| {
        let blocks = vec![tick(layout, sequence as i64)];
        storage.append(Batch { producer: producer(), sequence, blocks }).await.unwrap();
        storage.sync().await.unwrap();
    };
    let other = storage.admit(&layout("other")).unwrap().layout;
    append(&other, sequences.next().unwrap()).await;
    drop(other);
    assert_eq!(known(), 2);
    storage.flush().await.unwrap();
    assert_eq!(known(), 2, "the open segment has defined it");
    for sequence in sequences.take(200) {
        append(&held, sequence).await;
    }
    storage.flush().await.unwrap();
    assert_eq!(known(), 1);
    assert_eq!((count(&storage, "held"), count(&storage, "other")), (400, 2));

    let other = storage.admit(&layout("other")).unwrap().layout;
    append(&other, 1_000).await;
    assert_eq!(count(&storage, "other"), 4, "it is taken as a new one");
}
