//! The same answers over a real store: rows in the buffer, in files, or half and half.

use crate::fixture::{MICROS, Row, ask, options, schema};
use crate::oracle::{check, last_writes, row};
use futures::StreamExt;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use warpline_query::{Engine, EngineOptions};
use warpline_storage::model::{Batch, Block, BlockBuilder, Column, Layout, ProducerId, Series};
use warpline_storage::{MaintenanceOptions, Storage, StorageOptions};

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Row>),
    Flush,
    Compact,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append = prop::collection::vec(row(), 1..30).prop_map(Step::Append);
    let step = prop_oneof![
        6 => append,
        6 => Just(Step::Flush),
        1 => Just(Step::Compact),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..24)
}

/// The layout of one row: its series alone, with its attributes.
pub(crate) fn layout(row: &Row) -> Layout {
    let schema = schema();
    let fields = schema.fields.iter();
    let columns =
        fields.map(|f| Column { name: f.name.clone(), field_type: f.field_type }).collect();
    let series = Series {
        identity: vec![row.node.as_str().into(), row.gpu.as_str().into()],
        attributes: vec![row.model.clone().unwrap_or_default().into()],
    };
    Layout::new(schema.table, schema.identity, schema.attributes, columns, vec![series]).unwrap()
}

fn block(storage: &Storage, row: &Row) -> Block {
    let admission = storage.admit(&layout(row)).unwrap();
    assert!(admission.refused.is_empty());
    let mut builder = BlockBuilder::new(Arc::clone(&admission.layout));
    builder.row(0, row.time * MICROS);
    let stored = [
        row.util.map(i64::from),
        row.energy,
        row.power.map(i64::from),
        row.active,
        row.temp.map(|temp| temp.to_bits().cast_signed()),
    ];
    for (column, value) in stored.into_iter().enumerate() {
        if let Some(value) = value {
            builder.set_stored(column, value);
        }
    }
    Block::parse(admission.layout, builder.finish()).unwrap()
}

/// Appends the rows as one batch and waits until they are durable, and so visible.
pub(crate) async fn append(storage: &Storage, sequence: u64, rows: &[Row]) {
    let producer = ProducerId::new("p").unwrap();
    let mut acknowledged = storage.producer(&producer);
    let blocks = rows.iter().map(|row| block(storage, row)).collect();
    storage.append(Batch { producer, sequence, blocks }).await.unwrap();
    acknowledged.wait_for(|ack| ack.durable >= sequence).await.unwrap();
}

/// A store in which a merge takes the fewest files there can be, so that days are merged in steps.
async fn open(dir: &Path) -> (Storage, Engine) {
    let maintenance =
        MaintenanceOptions { background: false, merge_memory: 0, ..MaintenanceOptions::default() };
    let options_of_store = StorageOptions { maintenance, ..StorageOptions::new(dir) };
    let storage = Storage::open(options_of_store).await.unwrap();
    // The table is there before the first row, so that every statement can name it.
    storage.admit(&layout(&Row::default())).unwrap();
    let engine = Engine::new(storage.clone(), &options()).unwrap();
    (storage, engine)
}

#[test]
fn answers_over_buffer_and_files_are_those_of_a_naive_reading() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config { cases: 12, ..Config::default() });
    let outcome = runner.run(&steps(), |steps| {
        runtime.block_on(async {
            let dir = TempDir::new().unwrap();
            let (mut storage, mut engine) = open(dir.path()).await;
            let mut written = Vec::new();
            for (step, sequence) in steps.into_iter().zip(1..) {
                match step {
                    Step::Append(rows) => {
                        append(&storage, sequence, &rows).await;
                        written.extend(rows);
                    }
                    Step::Flush => storage.flush().await.unwrap(),
                    Step::Compact => storage.compact(|_, _| ()).await.unwrap(),
                    Step::Restart => {
                        storage.close().await.unwrap();
                        drop(engine);
                        (storage, engine) = open(dir.path()).await;
                    }
                }
            }
            let checked = check(&engine, &last_writes(written.clone())).await;
            storage.flush().await.unwrap();
            let checked = checked.and(check(&engine, &last_writes(written.clone())).await);
            storage.compact(|_, _| ()).await.unwrap();
            let checked = checked.and(check(&engine, &last_writes(written)).await);
            storage.close().await.unwrap();
            checked
        })
    });
    outcome.unwrap();
}

/// A buffer that is worth several threads, with the operator and without, around a stretch of time
/// that is in a file as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_buffer_is_read_in_parts() {
    const NODES: i64 = 10;
    const TICKS: i64 = 14_000;
    let dir = TempDir::new().unwrap();
    let (storage, engine) = open(dir.path()).await;
    let value = |node: i64, tick: i64| (tick + node) % 100;
    let early = (5_000..5_005).map(|time| Row { node: "n0".into(), time, ..Row::default() });
    append(&storage, 1, &early.collect::<Vec<_>>()).await;
    storage.flush().await.unwrap();
    let block = |node: i64| {
        let row = Row { node: format!("n{node}"), ..Row::default() };
        let layout = storage.admit(&layout(&row)).unwrap().layout;
        let mut builder = BlockBuilder::new(Arc::clone(&layout));
        for tick in 0..TICKS {
            builder.row(0, tick * MICROS);
            builder.set_stored(0, value(node, tick));
        }
        Block::parse(layout, builder.finish()).unwrap()
    };
    let producer = ProducerId::new("p").unwrap();
    let mut acknowledged = storage.producer(&producer);
    let blocks = (0..NODES).map(block).collect();
    storage.append(Batch { producer, sequence: 2, blocks }).await.unwrap();
    acknowledged.wait_for(|ack| ack.durable >= 2).await.unwrap();
    let plan = ask(&engine, "EXPLAIN SELECT util FROM gpu").await.unwrap();
    assert!(plan.concat().concat().contains("ranges=2, partitions=2"), "{plan:?}");
    let wanted = (0..NODES).map(|node| {
        let sum: i64 = (0..TICKS).map(|tick| value(node, tick)).sum();
        vec![format!("n{node}"), TICKS.to_string(), sum.to_string()]
    });
    let wanted: Vec<_> = wanted.collect();
    for table in ["gpu", "(SELECT * FROM gpu LIMIT 1000000)"] {
        let sql = format!(
            "SELECT node, count(util), sum(util) FROM {table} t GROUP BY node ORDER BY node"
        );
        assert_eq!(ask(&engine, &sql).await.unwrap(), wanted, "{table}");
        let one = format!(
            "SELECT node, count(util), sum(util) FROM {table} t WHERE node = 'n3' GROUP BY node"
        );
        assert_eq!(ask(&engine, &one).await.unwrap(), wanted[3..4], "{table}");
    }
    let sql = "SELECT node, util FROM gpu WHERE time = '1970-01-01T00:01:40Z' ORDER BY node";
    let wanted = (0..NODES).map(|node| vec![format!("n{node}"), value(node, 100).to_string()]);
    assert_eq!(ask(&engine, sql).await.unwrap(), wanted.collect::<Vec<_>>());
    storage.close().await.unwrap();
}

/// Filters that leave whole series of the buffer out, against the same above a LIMIT, which they
/// cannot pass; half of the rows lie in files.
#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_buffered_rows_as_they_choose_stored_ones() {
    const FILTERS: [&str; 9] = [
        "node = 'n1'",
        "'02' = gpu",
        "gpu IN ('01', '9', NULL)",
        "node IN ('n0', 'n2') AND gpu = '02'",
        "node = 'n1' AND node = 'n2'",
        "node = 'n1' OR gpu = '01'",
        "node NOT IN ('n0')",
        "gpu::double precision::text = '2.0'",
        "gpu::int::text IN ('1', '2', '3', '4', '5')",
    ];
    let dir = TempDir::new().unwrap();
    let (storage, engine) = open(dir.path()).await;
    for half in 0..2 {
        let rows = (0..36).map(|at| Row {
            node: format!("n{}", at % 3),
            gpu: format!("0{}", at / 3 % 3),
            time: half * 3 + at / 12,
            util: Some(at as i16),
            ..Row::default()
        });
        append(&storage, half as u64 + 1, &rows.collect::<Vec<_>>()).await;
        if half == 0 {
            storage.flush().await.unwrap();
        }
    }
    for filter in FILTERS {
        let rows = |table: &str| {
            let order = "ORDER BY node, gpu, time";
            format!("SELECT node, gpu, time, util FROM {table} t WHERE {filter} {order}")
        };
        let buckets = |table: &str| {
            let grouped = "GROUP BY node, date_bin('2 microseconds', time) ORDER BY 1, 2";
            format!(
                "SELECT node, date_bin('2 microseconds', time), sum(util) FROM {table} t \
                 WHERE {filter} {grouped}"
            )
        };
        for question in [&rows as &dyn Fn(&str) -> String, &buckets] {
            let below = ask(&engine, &question("gpu")).await.unwrap();
            let above = ask(&engine, &question("(SELECT * FROM gpu LIMIT 1000000)")).await.unwrap();
            assert_eq!(below, above, "{filter}");
        }
    }
    let plan = ask(&engine, "EXPLAIN SELECT temp FROM gpu WHERE node = 'n1'").await.unwrap();
    assert!(plan.concat().concat().contains("node 1"), "{plan:?}");
    storage.close().await.unwrap();
}

/// Merges replace and delete the files that a statement has planned to read.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_keeps_its_files_until_it_is_done() {
    const FILES: i64 = 40;
    let dir = TempDir::new().unwrap();
    let (storage, engine) = open(dir.path()).await;
    for file in 0..FILES {
        let row = Row { node: "n".into(), gpu: "0".into(), time: file, ..Row::default() };
        append(&storage, file as u64 + 1, &[row]).await;
        storage.flush().await.unwrap();
    }
    storage.close().await.unwrap();
    drop(engine);
    let maintenance = MaintenanceOptions {
        background: true,
        interval: Duration::from_millis(50),
        delete_after: Duration::ZERO,
        ..MaintenanceOptions::default()
    };
    let options_of_store = StorageOptions { maintenance, ..StorageOptions::new(dir.path()) };
    let storage = Storage::open(options_of_store).await.unwrap();
    let options = EngineOptions { threads: 1, ..options() };
    let engine = Engine::new(storage.clone(), &options).unwrap();
    let mut answer = engine.query("SELECT time, node FROM gpu").await.unwrap();
    let mut rows = answer.next().await.unwrap().unwrap().num_rows();
    assert!(rows < FILES as usize, "it was read before anything could be deleted");
    storage.compact(|_, _| ()).await.unwrap();
    assert_eq!(storage.metrics().files, 1);
    tokio::time::sleep(Duration::from_millis(500)).await;
    while let Some(batch) = answer.next().await {
        rows += batch.unwrap().num_rows();
    }
    assert_eq!(rows, FILES as usize);
    while storage.metrics().deleted_files < FILES as u64 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    storage.close().await.unwrap();
}
