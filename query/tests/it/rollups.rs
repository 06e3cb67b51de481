//! Answers from rollups are the answers from raw rows, over random histories of a real store.

use crate::fixture::{Row, ask, options};
use crate::store::{append, layout};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tempfile::TempDir;
use warpline_query::{Engine, EngineOptions};
use warpline_storage::{MaintenanceOptions, Storage, StorageOptions};

/// Seconds since 1970 of an hour's beginning.
const START: i64 = 1_767_225_600;

/// Rows of one series, a second or two apart.
#[derive(Clone, Debug)]
struct Pace {
    node: u8,
    model: u8,
    first: i64,
    rows: i64,
    step: i64,
    value: i32,
    absent: i64,
}

#[derive(Clone, Debug)]
enum Step {
    Append(Pace),
    Flush,
    Compact,
}

/// What is asked, and of which times.
#[derive(Clone, Debug)]
struct Asked {
    bucket: usize,
    keys: usize,
    filter: usize,
    from: i64,
    seconds: i64,
}

const BUCKETS: [&str; 6] = [
    "date_bin(INTERVAL '1 minute', time)",
    "date_bin(INTERVAL '5 minutes', time)",
    "date_bin(INTERVAL '90 seconds', time)",
    "floor(extract(epoch from time)/3600)*3600",
    "date_trunc('day', time)",
    "date_bin(INTERVAL '1 hour', time, TIMESTAMP '1970-01-01T00:30:00')",
];
const KEYS: [&str; 4] = ["node", "node, gpu", "model", "gpu, model"];
const FILTERS: [&str; 4] = ["true", "node = 'n0'", "model IS NOT NULL", "util >= 3"];
const ASKS: &str = "count(*), count(util), min(util), max(power), sum(power), avg(util), \
                    sum(util), min(temp), sum(temp), avg(temp), first(util, time), \
                    last(power, time), max(energy), count(energy)";

impl Asked {
    fn statements(&self) -> [String; 2] {
        let (from, to) = (START + self.from, START + self.from + self.seconds);
        let (bucket, keys) = (BUCKETS[self.bucket], KEYS[self.keys]);
        let rows = format!(
            "FROM gpu WHERE {} AND time >= to_timestamp({from}) AND time < to_timestamp({to})",
            FILTERS[self.filter]
        );
        [
            format!("SELECT {bucket} AS b, {keys}, {ASKS} {rows} GROUP BY {bucket}, {keys}"),
            format!(
                "SELECT {keys}, {ASKS} FROM gpu WHERE {} GROUP BY {keys}",
                FILTERS[self.filter]
            ),
        ]
    }
}

fn pace() -> impl Strategy<Value = Pace> {
    let value = -3..4_i32;
    (0..2_u8, 0..3_u8, 0..9_000_i64, 200..900_i64, 1..3_i64, value, 1..5_i64).prop_map(
        |(node, model, first, rows, step, value, absent)| Pace {
            node,
            model,
            first,
            rows,
            step,
            value,
            absent,
        },
    )
}

fn steps() -> impl Strategy<Value = (Vec<Step>, Vec<Asked>)> {
    let step = prop_oneof![
        4 => pace().prop_map(Step::Append),
        2 => Just(Step::Flush),
        2 => Just(Step::Compact),
    ];
    let asked = (0..BUCKETS.len(), 0..KEYS.len(), 0..FILTERS.len(), 0..5_000_i64, 1..9_000_i64);
    let asked = asked.prop_map(|(bucket, keys, filter, from, seconds)| Asked {
        bucket,
        keys,
        filter,
        from,
        seconds,
    });
    (prop::collection::vec(step, 2..10), prop::collection::vec(asked, 1..4))
}

fn rows(pace: &Pace) -> Vec<Row> {
    let row = |at: i64| {
        let present = at % pace.absent != 1;
        Row {
            node: format!("n{}", pace.node),
            gpu: "0".to_owned(),
            model: (pace.model > 0).then(|| format!("m{}", pace.model)),
            time: START + pace.first + at * pace.step,
            util: present.then_some((at % 7) as i16),
            energy: Some(at * 11),
            power: present.then_some(pace.value * 1_000 + at as i32),
            temp: Some((at % 50) as f64 * 0.5),
            ..Row::default()
        }
    };
    (0..pace.rows).map(row).collect()
}

async fn open(dir: &Path) -> (Storage, [Engine; 2]) {
    let maintenance =
        MaintenanceOptions { background: false, merge_memory: 0, ..MaintenanceOptions::default() };
    let store = StorageOptions { maintenance, ..StorageOptions::new(dir) };
    let storage = Storage::open(store).await.unwrap();
    storage.admit(&layout(&Row::default())).unwrap();
    let engines = [true, false].map(|rollups| {
        Engine::new(storage.clone(), &EngineOptions { rollups, ..options() }).unwrap()
    });
    (storage, engines)
}

static ROUTED: AtomicUsize = AtomicUsize::new(0);

async fn check(engines: &[Engine; 2], asked: &[Asked]) -> Result<(), TestCaseError> {
    for sql in asked.iter().flat_map(Asked::statements) {
        let [with, without] = engines;
        let plan = ask(with, &format!("EXPLAIN {sql}")).await.unwrap().concat().concat();
        let routed = plan.contains("rollup=_1");
        prop_assert!(!routed || !sql.contains("util >= 3"), "{}", plan);
        ROUTED.fetch_add(usize::from(routed), Relaxed);
        let raw = ask(without, &format!("EXPLAIN {sql}")).await.unwrap().concat().concat();
        prop_assert!(!raw.contains("rollup="), "{}", raw);
        let mut answers = [ask(with, &sql).await.unwrap(), ask(without, &sql).await.unwrap()];
        for rows in &mut answers {
            rows.sort();
        }
        let [with, without] = answers;
        prop_assert_eq!(with, without, "{} {}", sql, plan);
    }
    Ok(())
}

#[test]
fn answers_from_rollups_are_those_from_raw_rows() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config { cases: 16, ..Config::default() });
    let outcome = runner.run(&steps(), |(steps, asked)| {
        runtime.block_on(async {
            let dir = TempDir::new().unwrap();
            let (storage, engines) = open(dir.path()).await;
            for (step, sequence) in steps.into_iter().zip(1..) {
                match step {
                    Step::Append(pace) => append(&storage, sequence, &rows(&pace)).await,
                    Step::Flush => storage.flush().await.unwrap(),
                    Step::Compact => storage.compact(|_, _| ()).await.unwrap(),
                }
                check(&engines, &asked).await?;
            }
            storage.compact(|_, _| ()).await.unwrap();
            let checked = check(&engines, &asked).await;
            storage.close().await.unwrap();
            checked
        })
    });
    outcome.unwrap();
    let routed = ROUTED.load(Relaxed);
    assert!(routed > 30, "only {routed} statements read rollups");
}
