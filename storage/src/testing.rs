//! A small store that has a bit of everything, for tests: rows of two GPUs, late ones, rollups, a
//! log of several segments with rows that are not in files.

use crate::model::{Batch, Block, BlockBuilder, Column, Layout, ProducerId, Series, Value};
use crate::sim::rows;
use crate::snapshot::TableSnapshot;
use crate::{MaintenanceOptions, Retention, Storage, StorageOptions};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int16Type, TimestampMicrosecondType};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SECOND: i64 = 1_000_000;
/// 2026-01-01T00:00:00Z
const START: i64 = 1_767_225_600 * SECOND;
/// Seconds of a batch.
const BATCH: i64 = 70;
/// Batches of [`make`].
pub(crate) const BATCHES: u64 = 80;
/// One of them is late, and has no keys of its own.
const LATE: u64 = 61;

/// Every file below a folder and its bytes; a file that goes meanwhile is left out.
pub(crate) fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            found.insert(path, bytes);
        }
    }
    found
}

pub(crate) fn options(dir: &Path) -> StorageOptions {
    let maintenance = MaintenanceOptions {
        background: false,
        retention: Retention { raw: None, ..Retention::default() },
        ..MaintenanceOptions::default()
    };
    StorageOptions {
        maintenance,
        segment_bytes: 8_192,
        flush_interval: Duration::from_hours(1),
        ..StorageOptions::new(dir)
    }
}

pub(crate) fn producer() -> ProducerId {
    ProducerId::new("node-0").unwrap()
}

fn layout() -> Layout {
    let series = |gpu: u8| Series {
        identity: vec!["n0".into(), gpu.to_string().into()],
        attributes: vec![if gpu == 0 { "train" } else { "" }.into()],
    };
    let column = |name: &str, field_type: &str| Column {
        name: name.into(),
        field_type: field_type.parse().unwrap(),
    };
    let columns =
        vec![column("temp", "int16"), column("energy", "decimal(15,3)"), column("load", "float64")];
    let identity = vec!["node".into(), "gpu".into()];
    Layout::new("gpu", identity, vec!["job".into()], columns, (0..2).map(series).collect()).unwrap()
}

/// Which seconds the batch of a sequence has.
fn seconds(sequence: u64) -> Range<i64> {
    let number = sequence.cast_signed() - 1;
    if sequence == LATE { 100..100 + BATCH } else { number * BATCH..(number + 1) * BATCH }
}

/// Sends the batch of a sequence, and waits until it is durable.
pub(crate) async fn append(storage: &Storage, sequence: u64) {
    let layout = storage.admit(&layout()).unwrap().layout;
    let mut builder = BlockBuilder::new(layout.clone());
    for second in seconds(sequence) {
        for series in 0..2 {
            builder.row(series, START + second * SECOND);
            builder.set(0, Value::Int(temperature(sequence))).unwrap();
            if sequence != LATE {
                builder.set_stored(1, second * 1_500 + i64::from(series));
                builder.set(2, Value::Float(second as f64 / 7.0)).unwrap();
            }
        }
    }
    let blocks = vec![Block::parse(layout, builder.finish()).unwrap()];
    storage.append(Batch { producer: producer(), sequence, blocks }).await.unwrap();
    storage.sync().await.unwrap();
}

/// What is `temp` in all rows of a batch: its sequence, mostly.
fn temperature(sequence: u64) -> i64 {
    sequence.cast_signed() % 30_000
}

/// A store of 80 batches, closed: 61 in files and rollups, 19 in the log alone.
pub(crate) async fn make(dir: &Path) {
    let storage = Storage::open(options(dir)).await.unwrap();
    for sequence in 1..=55 {
        append(&storage, sequence).await;
    }
    storage.flush().await.unwrap();
    storage.maintenance().roll_all().await.unwrap();
    for sequence in 56..=61 {
        append(&storage, sequence).await;
    }
    storage.flush().await.unwrap();
    storage.maintenance().roll_all().await.unwrap();
    for sequence in 62..=BATCHES {
        append(&storage, sequence).await;
    }
    storage.close().await.unwrap();
}

/// Asserts that the table has the rows of all batches up to one, each key once.
pub(crate) async fn assert_rows(table: &TableSnapshot, last: u64) {
    let mut wanted = BTreeMap::new();
    for sequence in 1..=last {
        for second in seconds(sequence) {
            wanted.insert(START + second * SECOND, temperature(sequence));
        }
    }
    let mut found: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for batch in rows(table).await.unwrap() {
        let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let temps = batch.column_by_name("temp").unwrap().as_primitive::<Int16Type>();
        assert_eq!(temps.null_count(), 0);
        for row in 0..batch.num_rows() {
            found.entry(times.value(row)).or_default().push(temps.value(row).into());
        }
    }
    let wanted: BTreeMap<i64, Vec<i64>> =
        wanted.into_iter().map(|(time, temp)| (time, vec![temp; 2])).collect();
    assert_eq!(found, wanted);
}
