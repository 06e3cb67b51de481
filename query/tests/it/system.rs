//! The schema `system`: it tells what is true when a statement runs, and standard clients list it.

use crate::fixture::{ask, engine, options};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tempfile::TempDir;
use warpline_query::{Engine, Metric, QueryCounts};
use warpline_storage::model::{
    Batch, Block, BlockBuilder, Column, Layout, ProducerId, Series, Value,
};
use warpline_storage::{Storage, StorageOptions};

async fn filled(dir: &Path) -> Storage {
    let storage = Storage::open(StorageOptions::new(dir)).await.unwrap();
    let series = Series { identity: vec!["n0".into()], attributes: vec!["r1".into()] };
    let column = Column { name: "temp".into(), field_type: "int16".parse().unwrap() };
    let layout =
        Layout::new("gpu", vec!["node".into()], vec!["rack".into()], vec![column], vec![series]);
    let layout = storage.admit(&layout.unwrap()).unwrap().layout;
    let mut builder = BlockBuilder::new(layout.clone());
    for second in 0..5 {
        builder.row(0, 1_767_225_600_000_000 + second * 1_000_000);
        builder.set(0, Value::Int(second)).unwrap();
    }
    let blocks = vec![Block::parse(layout, builder.finish()).unwrap()];
    let producer = ProducerId::new("p").unwrap();
    storage.append(Batch { producer, sequence: 1, blocks }).await.unwrap();
    storage.flush().await.unwrap();
    storage
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_files_are_those_there_are() {
    let dir = TempDir::new().unwrap();
    let storage = filled(dir.path()).await;
    let engine = Engine::new(storage.clone(), &options()).unwrap();
    let sql = "SELECT \"table\", identity, attributes, fields, files, rows, first_time, last_time \
               FROM system.tables";
    let row =
        ["gpu", "node", "rack", "1", "1", "5", "2026-01-01T00:00:00Z", "2026-01-01T00:00:04Z"];
    assert_eq!(ask(&engine, sql).await.unwrap(), [row]);
    let sql = "SELECT f.\"table\", level, kind, date, f.rows, f.bytes = t.bytes AS all_bytes \
               FROM system.files f JOIN system.tables t ON t.\"table\" = f.\"table\"";
    let row = ["gpu", "flush", "monotone", "2026-01-01", "5", "true"];
    assert_eq!(ask(&engine, sql).await.unwrap(), [row]);
    let listed = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'system' \
                  ORDER BY table_name";
    assert_eq!(ask(&engine, listed).await.unwrap(), [["files"], ["metrics"], ["tables"]]);
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_read_when_the_statement_runs() {
    let dir = TempDir::new().unwrap();
    let storage = filled(dir.path()).await;
    let calls = Arc::new(AtomicU64::new(0));
    let source = {
        let calls = Arc::clone(&calls);
        move |counts: &QueryCounts| {
            let metric = |name: &str, labels: &str, value: u64| Metric {
                name: name.to_owned(),
                labels: labels.to_owned(),
                kind: "counter",
                help: "Times that it was asked.",
                value: value as f64,
            };
            let asked = calls.fetch_add(1, Relaxed) + 1;
            let answered = counts.first_rows.count;
            vec![
                metric("asked_total", "", asked),
                metric("level", r#"{"level":"day"}"#, 7),
                metric("answered", "", answered),
                metric("failed", "", counts.failed),
            ]
        }
    };
    let engine = Engine::observed(storage.clone(), &options(), Arc::new(source)).unwrap();
    let asked = "SELECT value FROM system.metrics WHERE name = 'asked_total'";
    assert_eq!(ask(&engine, asked).await.unwrap(), [["1.0"]]);
    assert_eq!(ask(&engine, asked).await.unwrap(), [["2.0"]], "the same text, another moment");
    let labelled = "SELECT value, kind FROM system.metrics WHERE label(labels, 'level') = 'day'";
    assert_eq!(ask(&engine, labelled).await.unwrap(), [["7.0", "counter"]]);
    ask(&engine, "SELECT nothing FROM nowhere").await.unwrap_err();
    let counted = "SELECT name, value FROM system.metrics WHERE name IN ('answered', 'failed')";
    let counted = ask(&engine, counted).await.unwrap();
    assert_eq!(counted, [["answered", "3.0"], ["failed", "1.0"]], "this one is not answered yet");
    storage.close().await.unwrap();
}

/// A snapshot by itself has no server that could tell anything.
#[tokio::test]
async fn without_a_server_there_are_no_metrics() {
    let engine = engine(&[]).await;
    assert_eq!(ask(&engine, "SELECT count(*) FROM system.metrics").await.unwrap(), [["0"]]);
}
