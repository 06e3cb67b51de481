//! `latest.gpu` against what it means: `SELECT DISTINCT ON (node, gpu) * FROM gpu ORDER BY node,
//! gpu, time DESC`, over random histories and over files of several writers.

use crate::fixture::{MICROS, Row, ask, engine, engine_of, options, schema, snapshot};
use crate::oracle::{files, row};
use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use warpline_query::Engine;
use warpline_storage::model::{Batch, Block, BlockBuilder, Column, Layout, ProducerId, Series};
use warpline_storage::{Storage, StorageOptions};

/// Statements over the last rows, which stand for `{}`.
const STATEMENTS: [&str; 8] = [
    "SELECT * FROM {} l ORDER BY node, gpu",
    "SELECT power, node, gpu, time FROM {} l ORDER BY node, gpu",
    "SELECT node, gpu, util, model FROM {} l WHERE util > 0 OR model = 'H000' ORDER BY node, gpu",
    "SELECT count(*), count(temp), sum(power), avg(active) FROM {} l",
    "SELECT count(*) FROM gpu JOIN {} l ON l.node = gpu.node AND l.gpu = gpu.gpu \
     WHERE gpu.time > l.time",
    "SELECT * FROM {} l WHERE node = 'n1' ORDER BY node, gpu",
    "SELECT gpu, power FROM {} l WHERE node IN ('n0', 'n1', 'nowhere') AND gpu = '1' AND util >= 0 \
     ORDER BY node, gpu",
    "SELECT max(time), count(*) FROM {} l WHERE node = 'n1' AND node = 'n0'",
];
const DISTINCT: &str = "(SELECT DISTINCT ON (node, gpu) * FROM gpu ORDER BY node, gpu, time DESC)";

async fn check(engine: &Engine) -> Result<(), TestCaseError> {
    for statement in STATEMENTS {
        let got = ask(engine, &statement.replace("{}", "latest.gpu")).await.unwrap();
        let expected = ask(engine, &statement.replace("{}", DISTINCT)).await.unwrap();
        prop_assert_eq!(got, expected, "{}", statement);
    }
    Ok(())
}

#[test]
fn over_files_of_any_writers() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let shown = Arc::new(Mutex::new(runtime.block_on(snapshot(&[]))));
    let engine = engine_of(&shown);
    let mut runner = TestRunner::new(Config { cases: 48, ..Config::default() });
    let outcome = runner.run(&files(), |files| {
        runtime.block_on(async {
            let snapshot = snapshot(&files).await;
            *shown.lock() = snapshot;
            check(&engine).await
        })
    });
    outcome.unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Part>),
    Flush,
    Reopen,
    /// Readers leave behind what they found, so the moment of asking matters.
    Ask,
}

/// Rows that one producer sends under a layout of its own.
#[derive(Clone, Debug)]
struct Part {
    rows: Vec<Row>,
    /// Whether all rows have the first one's time and no series comes twice.
    tick: bool,
    /// Which fields the layout has.
    fields: [bool; 5],
    with_model: bool,
}

fn part() -> impl Strategy<Value = Part> {
    let fields = any::<[bool; 5]>().prop_filter("a layout has fields", |has| has.contains(&true));
    let rows = prop::collection::vec(row(), 1..12);
    (rows, any::<bool>(), fields, any::<bool>()).prop_map(|(rows, tick, fields, with_model)| Part {
        rows,
        tick,
        fields,
        with_model,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append = prop::collection::vec(part(), 1..4).prop_map(Step::Append);
    let step = prop_oneof![
        5 => append,
        3 => Just(Step::Flush),
        1 => Just(Step::Reopen),
        2 => Just(Step::Ask),
    ];
    prop::collection::vec(step, 0..16)
}

impl Part {
    fn layout(&self, rows: &[Row]) -> (Layout, Vec<u32>) {
        let schema = schema();
        let fields = schema.fields.iter().zip(self.fields).filter(|(_, has)| *has);
        let columns = fields
            .map(|(f, _)| Column { name: f.name.clone(), field_type: f.field_type })
            .collect();
        let attributes = if self.with_model { schema.attributes } else { Vec::new() };
        let mut numbers: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        let mut series = Vec::new();
        let mut of_rows = Vec::new();
        for row in rows {
            let next = series.len() as u32;
            let number = *numbers.entry((&row.node, &row.gpu)).or_insert(next);
            of_rows.push(number);
            if number == next {
                let model = row.model.clone().unwrap_or_default().into();
                series.push(Series {
                    identity: vec![row.node.as_str().into(), row.gpu.as_str().into()],
                    attributes: if self.with_model { vec![model] } else { Vec::new() },
                });
            }
        }
        let layout = Layout::new(schema.table, schema.identity, attributes, columns, series);
        (layout.unwrap(), of_rows)
    }

    fn rows(&self) -> Vec<Row> {
        if !self.tick {
            return self.rows.clone();
        }
        let time = self.rows[0].time;
        let rows = self.rows.iter().map(|row| Row { time, ..row.clone() });
        let keyed = rows.map(|row| ((row.node.clone(), row.gpu.clone()), row));
        keyed.collect::<BTreeMap<_, _>>().into_values().rev().collect()
    }

    fn block(&self, storage: &Storage) -> Block {
        let rows = self.rows();
        let (layout, series) = self.layout(&rows);
        let admission = storage.admit(&layout).unwrap();
        assert!(admission.refused.is_empty());
        let mut builder = BlockBuilder::new(Arc::clone(&admission.layout));
        for (row, series) in rows.iter().zip(series) {
            builder.row(series, row.time * MICROS);
            let stored = [
                row.util.map(i64::from),
                row.energy,
                row.power.map(i64::from),
                row.active,
                row.temp.map(|temp| temp.to_bits().cast_signed()),
            ];
            let has = stored.into_iter().zip(self.fields).filter(|(_, has)| *has);
            for (column, (value, _)) in has.enumerate() {
                if let Some(value) = value {
                    builder.set_stored(column, value);
                }
            }
        }
        Block::parse(admission.layout, builder.finish()).unwrap()
    }
}

/// Each part under a producer of its own; answers once all are durable, and so visible.
async fn append(storage: &Storage, sequence: u64, parts: &[Part]) {
    for (number, part) in parts.iter().enumerate() {
        let producer = ProducerId::new(format!("p{number}")).unwrap();
        let mut acknowledged = storage.producer(&producer);
        let blocks = vec![part.block(storage)];
        storage.append(Batch { producer, sequence, blocks }).await.unwrap();
        acknowledged.wait_for(|ack| ack.durable >= sequence).await.unwrap();
    }
}

/// The table is there before the first row, so that every statement can name it.
async fn open(dir: &Path) -> (Storage, Engine) {
    let storage = Storage::open(StorageOptions::new(dir)).await.unwrap();
    let all = Part { rows: vec![Row::default()], tick: true, fields: [true; 5], with_model: true };
    storage.admit(&all.layout(&all.rows).0).unwrap();
    let engine = Engine::new(storage.clone(), &options()).unwrap();
    (storage, engine)
}

async fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let dir = TempDir::new().unwrap();
    let (mut storage, mut engine) = open(dir.path()).await;
    for (step, sequence) in steps.into_iter().zip(1..) {
        match step {
            Step::Append(parts) => append(&storage, sequence, &parts).await,
            Step::Flush => storage.flush().await.unwrap(),
            Step::Ask => check(&engine).await?,
            Step::Reopen => {
                storage.close().await.unwrap();
                drop((storage, engine));
                (storage, engine) = open(dir.path()).await;
            }
        }
    }
    let checked = check(&engine).await;
    storage.flush().await.unwrap();
    let checked = checked.and(check(&engine).await);
    storage.close().await.unwrap();
    checked
}

#[test]
fn over_any_history_of_a_store() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config { cases: 32, ..Config::default() });
    runner.run(&steps(), |steps| runtime.block_on(run(steps))).unwrap();
}

#[tokio::test]
async fn it_is_listed_beside_its_table() {
    let engine = engine(&[]).await;
    let listed = "SELECT table_schema, table_name FROM information_schema.tables \
                  WHERE table_name = 'gpu' ORDER BY table_schema";
    let row = |schema: &str| vec![schema.to_owned(), "gpu".to_owned()];
    assert_eq!(ask(&engine, listed).await.unwrap(), [row("latest"), row("public")]);
    let columns = |schema: &str| {
        format!(
            "SELECT column_name, data_type FROM information_schema.columns \
             WHERE table_schema = '{schema}' AND table_name = 'gpu' ORDER BY ordinal_position"
        )
    };
    let latest = ask(&engine, &columns("latest")).await.unwrap();
    assert_eq!(latest.len(), 9);
    assert_eq!(latest, ask(&engine, &columns("public")).await.unwrap());
}
