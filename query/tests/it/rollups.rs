//! Answers from rollups are the answers from raw rows, over random histories of a real store.

use crate::clients::{http, postgres};
use crate::fixture::{Row, ask, options};
use crate::store::{append, layout};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tempfile::TempDir;
use warpline_query::{Engine, EngineOptions};
use warpline_storage::model::{Layout, Series};
use warpline_storage::rollup::FieldKinds;
use warpline_storage::{MaintenanceOptions, Retention, Storage, StorageOptions};

/// Seconds since 1970 of an hour's beginning.
const START: i64 = 1_767_225_600;

/// Rows of one series, a second or two apart.
#[derive(Clone, Debug)]
struct Pace {
    node: u8,
    gpu: u8,
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
const KEYS: [&str; 5] = ["node", "node, gpu", "node, gpu, model", "model", "gpu, model"];
const FILTERS: [&str; 4] = ["true", "node = 'n0'", "model IS NOT NULL", "util >= 3"];
const ASKS: &str = "count(*), count(util), min(util), max(power), sum(power), avg(util), \
                    sum(util), min(temp), sum(temp), avg(temp), max(energy), count(energy), \
                    min(time), max(time), count(time)";
/// Where a group is of several series, rollups do not tell these.
const ENDS: &str = ", first(util, time), last(power, time)";
/// Nor these where a filter leaves parts of series.
const STEPS: &str = ", increase(energy), delta(energy), increase(util), delta(power)";

impl Asked {
    fn statements(&self) -> [String; 2] {
        let (from, to) = (START + self.from, START + self.from + self.seconds);
        let (bucket, keys) = (BUCKETS[self.bucket], KEYS[self.keys]);
        let steps = if self.filter < 2 || self.keys == 3 { STEPS } else { "" };
        let ends = if keys.starts_with("node, gpu") || self.filter == 1 { ENDS } else { "" };
        let rows = format!(
            "FROM gpu WHERE {} AND time >= to_timestamp({from}) AND time < to_timestamp({to})",
            FILTERS[self.filter]
        );
        [
            format!(
                "SELECT {bucket} AS b, {keys}, {ASKS}{ends}{steps} {rows} GROUP BY {bucket}, {keys}"
            ),
            format!(
                "SELECT {keys}, {ASKS}{ends}{steps} FROM gpu WHERE {} GROUP BY {keys}",
                FILTERS[self.filter]
            ),
        ]
    }
}

fn pace() -> impl Strategy<Value = Pace> {
    let value = -3..4_i32;
    let series = (0..2_u8, 0..2_u8);
    (series, 0..3_u8, 0..9_000_i64, 200..900_i64, 1..3_i64, value, 1..5_i64).prop_map(
        |((node, gpu), model, first, rows, step, value, absent)| Pace {
            node,
            gpu,
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
        let present = at % (pace.absent + 1) != 0;
        Row {
            node: format!("n{}", pace.node),
            gpu: pace.gpu.to_string(),
            model: (pace.model > 0).then(|| format!("m{}", pace.model)),
            time: START + pace.first + at * pace.step,
            util: present.then_some((at % 7) as i16),
            energy: (at % 5 != 0).then_some(at * 11 % 3_000),
            power: present.then_some(pace.value * 1_000 + at as i32),
            temp: Some((at % 50) as f64 * 0.5),
            ..Row::default()
        }
    };
    (0..pace.rows).map(row).collect()
}

fn by_hand() -> MaintenanceOptions {
    MaintenanceOptions { background: false, merge_memory: 0, ..MaintenanceOptions::default() }
}

async fn open(dir: &Path) -> (Storage, [Engine; 2]) {
    open_with(dir, by_hand()).await
}

async fn open_with(dir: &Path, maintenance: MaintenanceOptions) -> (Storage, [Engine; 2]) {
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

/// A row a second of one GPU for two minutes; `util` is as the closure says.
fn steady(gpu: &str, start: i64, util: impl Fn(i64) -> Option<i16>) -> Vec<Row> {
    let row = |at: i64| Row {
        node: "n0".to_owned(),
        gpu: gpu.to_owned(),
        time: START + start + at,
        util: util(at),
        ..Row::default()
    };
    (0..200).map(row).collect()
}

async fn both(engines: &[Engine; 2], sql: &str) {
    let [with, without] = engines;
    let plan = ask(with, &format!("EXPLAIN {sql}")).await.unwrap().concat().concat();
    let answers = (ask(with, sql).await.unwrap(), ask(without, sql).await.unwrap());
    assert_eq!(answers.0, answers.1, "{sql} {plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_over_several_series_are_those_of_their_first_values() {
    let dir = TempDir::new().unwrap();
    let (storage, engines) = open(dir.path()).await;
    append(&storage, 1, &steady("0", 0, |at| (at >= 10).then_some(5))).await;
    append(&storage, 2, &steady("1", 5, |_| Some(7))).await;
    storage.compact(|_, _| ()).await.unwrap();
    let bucket = "date_bin(INTERVAL '1 minute', time)";
    both(
        &engines,
        &format!(
            "SELECT {bucket}, node, first(util, time), last(util, time) FROM gpu \
             GROUP BY {bucket}, node ORDER BY 1"
        ),
    )
    .await;
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_that_a_rollup_did_not_keep_at_first_come_from_raw_rows() {
    let dir = TempDir::new().unwrap();
    let kinds = FieldKinds::new(["util"], []);
    let (storage, engines) = open_with(dir.path(), MaintenanceOptions { kinds, ..by_hand() }).await;
    append(&storage, 1, &steady("0", 0, |_| Some(3))).await;
    storage.compact(|_, _| ()).await.unwrap();
    storage.close().await.unwrap();
    drop(engines);
    // The same field is a gauge now: its later buckets have sums.
    let (storage, engines) = open(dir.path()).await;
    append(&storage, 1_000, &steady("0", 600, |_| Some(4))).await;
    storage.compact(|_, _| ()).await.unwrap();
    both(&engines, "SELECT node, sum(util), avg(util), count(util) FROM gpu GROUP BY node").await;
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_is_newer_than_the_rollup_is_read_from_raw_rows() {
    let dir = TempDir::new().unwrap();
    let (storage, engines) = open(dir.path()).await;
    append(&storage, 1, &steady("0", 0, |_| Some(3))).await;
    storage.compact(|_, _| ()).await.unwrap();
    let old = layout(&Row { node: "n0".to_owned(), gpu: "0".to_owned(), ..Row::default() });
    let attributes = vec!["model".into(), "rack".into()];
    let series = Series {
        identity: old.series()[0].identity.clone(),
        attributes: vec!["".into(), "r1".into()],
    };
    let identity = vec!["node".into(), "gpu".into()];
    let wider =
        Layout::new("gpu", identity, attributes, old.columns().to_vec(), vec![series]).unwrap();
    storage.admit(&wider).unwrap();
    for sql in [
        "SELECT rack, node, count(*) FROM gpu GROUP BY rack, node",
        "SELECT node, count(*) FROM gpu WHERE rack IS NULL GROUP BY node",
    ] {
        both(&engines, sql).await;
    }
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_checked_at_times_that_rollups_alone_have() {
    let dir = TempDir::new().unwrap();
    let (storage, engines) = open(dir.path()).await;
    append(&storage, 1, &steady("0", 0, |_| Some(3))).await;
    append(&storage, 2, &steady("0", 86_400, |_| Some(4))).await;
    storage.compact(|_, _| ()).await.unwrap();
    storage.close().await.unwrap();
    drop(engines);
    let (storage, [with, _]) = until_the_first_day_is_gone(dir.path()).await;
    let hour = "extract(hour from date_trunc('hour', time))";
    let sql = format!("SELECT {hour}, count(*) FROM gpu GROUP BY {hour}");
    let rows = ask(&with, &sql).await.unwrap();
    assert!(rows.len() <= 1, "one hour of two days: {rows:?}");
    let all = ask(&with, "SELECT node, count(*) FROM gpu GROUP BY node").await.unwrap();
    assert!(!all.is_empty(), "rollups still answer");
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reach_of_a_table_is_known_without_its_rows() {
    let dir = TempDir::new().unwrap();
    let (storage, engines) = open(dir.path()).await;
    append(&storage, 1, &steady("0", 7, |_| None)).await;
    append(&storage, 2, &steady("1", 86_400, |_| Some(4))).await;
    storage.compact(|_, _| ()).await.unwrap();
    for sql in [
        "SELECT min(time), max(time) FROM gpu",
        "SELECT gpu, max(time), count(time) FROM gpu GROUP BY gpu ORDER BY gpu",
    ] {
        let plan = ask(&engines[0], &format!("EXPLAIN {sql}")).await.unwrap().concat().concat();
        assert!(plan.contains("rollup=_1m"), "{plan}");
        both(&engines, sql).await;
    }
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_may_leave_rollups_out() {
    let dir = TempDir::new().unwrap();
    let (storage, [engine, _]) = open(dir.path()).await;
    append(&storage, 1, &steady("0", 0, |_| Some(3))).await;
    storage.compact(|_, _| ()).await.unwrap();
    let sql = "EXPLAIN SELECT node, count(*) FROM gpu GROUP BY node";
    let client = postgres(engine.clone()).await;
    let simple = async || {
        let messages = client.simple_query(sql).await.unwrap();
        format!("{messages:?}").contains("rollup=")
    };
    let extended = async || {
        let rows = client.query(sql, &[]).await.unwrap();
        rows.iter().any(|row| row.get::<_, String>(1).contains("rollup="))
    };
    for (value, used) in [("off", false), ("on", true), ("'false'", false), ("default", true)] {
        client.batch_execute(&format!("SET warpline.rollups = {value}")).await.unwrap();
        assert_eq!((simple().await, extended().await), (used, used), "{value}");
    }
    client.execute("SET warpline.rollups = off", &[]).await.unwrap();
    assert!(!extended().await);
    for wrong in ["SET warpline.rollups = some", "SET warpline.other = on"] {
        let error = client.batch_execute(wrong).await.unwrap_err();
        let text = error.as_db_error().map(|error| error.message().to_owned()).unwrap();
        assert!(text.contains("warpline.rollups"), "{text}");
    }
    assert!(!simple().await, "a refused SET leaves the setting");
    let url = http(engine).await;
    for (rollups, used) in [(Some(false), false), (None, true)] {
        let body = serde_json::json!({ "sql": sql, "rollups": rollups });
        let answer = reqwest::Client::new().post(&url).json(&body).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap().contains("rollup="), used);
    }
    storage.close().await.unwrap();
}

/// Until the raw rows of the first of two days are gone, and the rest as it is.
async fn until_the_first_day_is_gone(dir: &Path) -> (Storage, [Engine; 2]) {
    let retention = Retention { raw: Some(Duration::from_hours(24)), ..Retention::default() };
    let interval = Duration::from_millis(20);
    let maintenance = MaintenanceOptions { background: true, interval, retention, ..by_hand() };
    let (storage, engines) = open_with(dir, maintenance).await;
    let second_day = (START + 86_400) * 1_000_000;
    let files = || storage.snapshot().table("gpu").unwrap().files.clone();
    assert!(!files().is_empty());
    while files().iter().any(|file| file.times.first < second_day) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (storage, engines)
}

#[tokio::test(flavor = "multi_thread")]
async fn days_whose_time_is_up_go_once_rollups_have_them() {
    let dir = TempDir::new().unwrap();
    let without = MaintenanceOptions { rollups: false, ..by_hand() };
    let (storage, _) = open_with(dir.path(), without).await;
    append(&storage, 1, &steady("0", 0, |_| Some(3))).await;
    append(&storage, 2, &steady("0", 86_400, |_| Some(4))).await;
    storage.flush().await.unwrap();
    storage.close().await.unwrap();
    let (storage, [with, _]) = until_the_first_day_is_gone(dir.path()).await;
    let all = ask(&with, "SELECT node, count(*), sum(util) FROM gpu GROUP BY node").await.unwrap();
    assert_eq!(all, [["n0", "400", "1400"]]);
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_long_ago_in_the_buffer_leaves_other_days_to_rollups() {
    let dir = TempDir::new().unwrap();
    let (storage, engines) = open(dir.path()).await;
    append(&storage, 1, &steady("0", 0, |_| Some(3))).await;
    storage.compact(|_, _| ()).await.unwrap();
    append(&storage, 2, &steady("0", -40 * 86_400, |_| Some(3))).await;
    append(&storage, 3, &steady("0", 40 * 86_400, |_| Some(3))).await;
    let sql = "SELECT node, count(*) FROM gpu GROUP BY node";
    let plan = ask(&engines[0], &format!("EXPLAIN {sql}")).await.unwrap().concat().concat();
    assert!(plan.contains("rollup=_1m"), "{plan}");
    both(&engines, sql).await;
    storage.close().await.unwrap();
}
