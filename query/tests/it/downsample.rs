//! The downsample operator against DataFusion's own plans over the same rows, and against a naive
//! reading where DataFusion's answer depends on the order of rows.

use crate::fixture::{FileRows, Row, ask, options, snapshot};
use crate::oracle::{files, resolved};
use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use std::sync::Arc;
use warpline_query::{Engine, EngineOptions, QueryError};
use warpline_storage::Snapshot;

/// Seconds by which times are moved, so that some lie before 1970.
const SHIFT: i64 = 15;

/// The same tables with and without the operator.
struct Pair {
    shown: Arc<Mutex<Snapshot>>,
    with: Engine,
    without: Engine,
}

impl Pair {
    async fn new() -> Self {
        let shown = Arc::new(Mutex::new(snapshot(&[]).await));
        let engine = |downsample| {
            let shown = Arc::clone(&shown);
            let options = EngineOptions { downsample, ..options() };
            Engine::over(move || shown.lock().clone(), &options).unwrap()
        };
        Self { with: engine(true), without: engine(false), shown }
    }

    async fn show(&self, files: &[FileRows]) {
        let snapshot = snapshot(files).await;
        *self.shown.lock() = snapshot;
    }

    async fn check(&self, sql: &str) -> Result<(), TestCaseError> {
        prop_assert!(uses_operator(&self.with, sql).await, "{} keeps DataFusion's plan", sql);
        prop_assert!(!uses_operator(&self.without, sql).await);
        let sorted = |rows: Result<Vec<Vec<String>>, _>| {
            rows.map(|mut rows| {
                rows.sort();
                rows
            })
            .map_err(|error: QueryError| error.kind())
        };
        let (with, without) = (ask(&self.with, sql).await, ask(&self.without, sql).await);
        prop_assert_eq!(sorted(with), sorted(without), "{}", sql);
        Ok(())
    }
}

async fn uses_operator(engine: &Engine, sql: &str) -> bool {
    let plan =
        ask(engine, &format!("EXPLAIN {sql}")).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    plan.concat().concat().contains("DownsampleExec")
}

const BUCKETS: [&str; 9] = [
    "date_bin(INTERVAL '7 seconds', time)",
    "date_bin(INTERVAL '10 seconds', time, TIMESTAMP '1970-01-01T00:00:03Z')",
    "time_bucket('1 second', time)",
    "time_bucket('1500 milliseconds', time)",
    "date_trunc('second', time)",
    "time_bucket(INTERVAL '1 day', time)",
    "floor(extract(epoch from time)/5)*5",
    "floor(extract(epoch from time)/0.5)*0.5",
    "to_timestamp(floor(extract(epoch from time)/60)*60)",
];

const AGGREGATES: [&str; 29] = [
    "count(*)",
    "count(util)",
    "min(util)",
    "max(util)",
    "sum(util)",
    "avg(util)",
    "max(energy)",
    "sum(energy)",
    "avg(energy)",
    "min(power)",
    "sum(power)",
    "avg(power)",
    "avg(active)",
    "max(active)",
    "sum(temp)",
    "avg(temp)",
    "min(temp)",
    "max(time)",
    "first(util, time)",
    "last(temp, time)",
    "last(power, time)",
    "increase(util)",
    "increase(power)",
    "delta(active)",
    "increase(temp)",
    "delta(temp)",
    "percentile_cont(0.99) WITHIN GROUP (ORDER BY power)",
    "percentile_cont(0.5) WITHIN GROUP (ORDER BY temp)",
    "percentile_cont(0.123) WITHIN GROUP (ORDER BY active)",
];

/// Where a group is one series, its first and last row are certain.
const OF_ONE_SERIES: [&str; 4] = [
    "first_value(util ORDER BY time)",
    "last_value(power ORDER BY time)",
    "last_value(temp ORDER BY time DESC)",
    "last_value(energy ORDER BY time)",
];

const FILTERS: [&str; 11] = [
    "time >= '1970-01-01T00:00:02Z'",
    "time < '1970-01-01T00:00:19.5Z'",
    "time BETWEEN '1969-12-31T23:59:50Z' AND '1970-01-01T00:00:10Z'",
    "node = 'n1'",
    "gpu IN ('', '0')",
    "node <> 'n0'",
    "model = 'H100'",
    "model IS NULL",
    "util > 20",
    "(power < 1.5 OR temp IS NULL)",
    "(node = 'n2' OR active > 0)",
];

#[derive(Clone, Debug)]
struct Asked {
    bucket: Option<&'static str>,
    tags: Vec<&'static str>,
    aggregates: Vec<&'static str>,
    filters: Vec<&'static str>,
}

impl Asked {
    fn sql(&self) -> String {
        let mut keys: Vec<&str> = self.bucket.into_iter().collect();
        keys.extend(&self.tags);
        let columns = keys.iter().chain(&self.aggregates).copied().collect::<Vec<_>>().join(", ");
        let filters = match self.filters.as_slice() {
            [] => String::new(),
            filters => format!(" WHERE {}", filters.join(" AND ")),
        };
        let group = match keys.len() {
            0 => String::new(),
            keys => {
                let numbers: Vec<_> = (1..=keys).map(|key| key.to_string()).collect();
                format!(" GROUP BY {}", numbers.join(", "))
            }
        };
        format!("SELECT {columns} FROM gpu{filters}{group}")
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let bucket = prop::option::weighted(0.8, prop::sample::select(BUCKETS.to_vec()));
    let tags = subsequence(vec!["node", "gpu", "model"], 0..=3);
    let aggregates = subsequence(AGGREGATES.to_vec(), 1..8);
    let ends = subsequence(OF_ONE_SERIES.to_vec(), 0..=2);
    let filters = subsequence(FILTERS.to_vec(), 0..4);
    (bucket, tags, aggregates, ends, filters).prop_map(
        |(bucket, tags, mut asked, ends, filters)| {
            if tags.starts_with(&["node", "gpu"]) {
                asked.extend(ends);
            }
            Asked { bucket, tags, aggregates: asked, filters }
        },
    )
}

fn earlier(mut files: Vec<FileRows>) -> Vec<FileRows> {
    for row in files.iter_mut().flat_map(|file| &mut file.rows) {
        row.time -= SHIFT;
    }
    files
}

#[test]
fn the_operator_answers_as_the_plan_it_replaces() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pair = runtime.block_on(Pair::new());
    let mut runner = TestRunner::new(Config { cases: 16, ..Config::default() });
    let cases = (files(), prop::collection::vec(asked(), 12));
    let outcome = runner.run(&cases, |(files, asked)| {
        runtime.block_on(async {
            pair.show(&earlier(files)).await;
            for asked in asked {
                pair.check(&asked.sql()).await?;
            }
            Ok(())
        })
    });
    outcome.unwrap();
}

/// Columns of some row groups are kept as runs: of level ones, of such with a step or a reset, and
/// beside others that are not.
#[test]
fn columns_that_hardly_change_answer_as_others_do() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let pair = Pair::new().await;
        let row = |gpu: i64, time: i64| Row {
            node: "n1".into(),
            gpu: gpu.to_string(),
            time,
            model: Some("H100".into()),
            util: Some((time / 40) as i16),
            energy: Some(if time < 56 { 7 + gpu } else { 2 }),
            power: Some(1_000),
            active: (gpu > 0).then_some(time / 64),
            temp: Some(if gpu == 1 { time as f64 } else { 0.25 }),
        };
        let rows = (0..3).flat_map(|gpu| (0..96).map(move |time| row(gpu, time)));
        let rows: Vec<Row> = rows.collect();
        for group_rows in [16, 80, 200] {
            pair.show(&[FileRows { group_rows, ..FileRows::monotone(1, rows.clone()) }]).await;
            let sql = "SELECT increase(energy), delta(util), sum(energy), count(active) FROM gpu";
            // 2 after each reset; twice a step of 1.
            let wanted = [["6", "6", &(56 * (7 + 8 + 9) + 3 * 40 * 2).to_string(), "192"]];
            assert_eq!(ask(&pair.with, sql).await.unwrap(), wanted);
            for bucket in [None, Some(BUCKETS[5]), Some(BUCKETS[0])] {
                for filters in [vec![], vec!["util > 0"], vec!["temp < 0.5", "gpu <> '2'"]] {
                    for tags in [vec![], vec!["node", "gpu"]] {
                        let mut aggregates = AGGREGATES.to_vec();
                        if !tags.is_empty() {
                            aggregates.extend(OF_ONE_SERIES);
                        }
                        let asked = Asked { bucket, tags, aggregates, filters: filters.clone() };
                        pair.check(&asked.sql()).await.unwrap();
                    }
                }
            }
            let sql = "SELECT util, temp FROM gpu WHERE gpu = '0' AND energy < 5 ORDER BY time";
            let wanted = (56..96).map(|time| vec![(time / 40).to_string(), "0.25".into()]);
            assert_eq!(ask(&pair.with, sql).await.unwrap(), wanted.collect::<Vec<_>>());
        }
    });
}

/// Filters that reach the scan, where whole row groups and runs are left out by them, against the
/// same above a LIMIT, which they cannot pass.
#[test]
fn filters_choose_the_same_rows_wherever_they_are_applied() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pair = runtime.block_on(Pair::new());
    let mut runner = TestRunner::new(Config { cases: 16, ..Config::default() });
    let filters = prop::collection::vec(subsequence(FILTERS.to_vec(), 1..4), 6);
    let outcome = runner.run(&(files(), filters), |(files, filters)| {
        runtime.block_on(async {
            pair.show(&earlier(files)).await;
            for filters in filters {
                let filters = filters.join(" AND ");
                let rows = |table: &str| {
                    format!(
                        "SELECT temp, gpu, time, util, node, model FROM {table} t WHERE {filters} \
                             ORDER BY node, gpu, time"
                    )
                };
                let below = ask(&pair.with, &rows("gpu")).await.unwrap();
                let above = ask(&pair.with, &rows("(SELECT * FROM gpu LIMIT 1000000)")).await;
                prop_assert_eq!(below, above.unwrap(), "{}", filters);
            }
            Ok(())
        })
    });
    outcome.unwrap();
}

/// The value of `temp` in some rows.
fn odd_temps(rows: &mut [Row]) {
    let odd = [f64::NAN, -f64::NAN, f64::INFINITY, -0.0, 0.0, f64::NEG_INFINITY];
    for (row, temp) in rows.iter_mut().zip(odd.into_iter().cycle()).step_by(2) {
        row.temp = row.temp.map(|_| temp);
    }
}

/// NaN is the largest value: max answers with it, min only where there is nothing else.
#[test]
fn nan_is_the_largest_value() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pair = runtime.block_on(Pair::new());
    let mut runner = TestRunner::new(Config { cases: 16, ..Config::default() });
    let outcome = runner.run(&files(), |mut files| {
        for file in &mut files {
            odd_temps(&mut file.rows);
        }
        runtime.block_on(async {
            pair.show(&files).await;
            let mut wanted: BTreeMap<String, Vec<f64>> = BTreeMap::new();
            for row in resolved(&files) {
                wanted.entry(row.node).or_default().extend(row.temp);
            }
            let sql = "SELECT node, min(temp), max(temp), count(temp) FROM gpu GROUP BY node ORDER BY node";
            prop_assert!(uses_operator(&pair.with, sql).await);
            let wanted: Vec<Vec<String>> = wanted.into_iter().map(extremes).collect();
            prop_assert_eq!(ask(&pair.with, sql).await.unwrap(), wanted);
            Ok(())
        })
    });
    outcome.unwrap();
}

#[test]
fn steps_pass_over_nan() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let pair = Pair::new().await;
        let temps = [f64::NAN, 1.0, f64::NAN, 4.0, -f64::NAN, 2.0, f64::NAN];
        let row = |(time, temp)| Row { node: "n".into(), time, temp: Some(temp), ..Row::default() };
        let rows = (0..).zip(temps).map(row).collect();
        pair.show(&[FileRows::monotone(1, rows)]).await;
        let steps = "increase(temp), delta(temp) FROM gpu";
        let sql = format!("SELECT {steps}");
        assert!(uses_operator(&pair.with, &sql).await);
        assert_eq!(ask(&pair.with, &sql).await.unwrap(), [["5.0", "1.0"]], "4 to 2 is a reset");
        let bucket = "date_bin(INTERVAL '2 seconds', time)";
        pair.check(&format!("SELECT {bucket}, {steps} GROUP BY {bucket}")).await.unwrap();
    });
}

fn extremes((node, mut temps): (String, Vec<f64>)) -> Vec<String> {
    temps.iter_mut().filter(|temp| temp.is_nan()).for_each(|temp| *temp = f64::NAN.abs());
    temps.sort_by(f64::total_cmp);
    let text = |temp: Option<&f64>| temp.map_or("NULL".to_owned(), |temp| format!("{temp:?}"));
    vec![node, text(temps.first()), text(temps.last()), temps.len().to_string()]
}

#[test]
fn what_it_cannot_answer_exactly_keeps_its_plan() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let pair = Pair::new().await;
        let far = 26 * 3600;
        let row = |time| Row { node: "n".into(), time, util: Some(1), ..Row::default() };
        pair.show(&[FileRows::monotone(1, vec![row(-70), row(5), row(130), row(far)])]).await;
        for sql in [
            // Integer division cuts towards zero: the bucket around 1970 would be twice as wide.
            "SELECT extract(epoch from time)::bigint/60*60, count(*) FROM gpu GROUP BY 1",
            "SELECT date_trunc('month', time), count(*) FROM gpu GROUP BY 1",
            "SELECT date_bin(INTERVAL '1 month', time), count(*) FROM gpu GROUP BY 1",
            "SELECT floor(extract(epoch from time)/0.1)*0.1, count(*) FROM gpu GROUP BY 1",
            "SELECT extract(minute from date_trunc('second', time)), count(*) FROM gpu GROUP BY 1",
            "SELECT sum(DISTINCT util), count(DISTINCT power) FROM gpu",
            "SELECT sum(power * 2) FROM gpu",
            "SELECT sum(util) FILTER (WHERE gpu = '') FROM gpu",
            "SELECT max(node) FROM gpu",
            "SELECT util, count(*) FROM gpu GROUP BY 1",
            "SELECT count(*) FROM (SELECT * FROM gpu LIMIT 2) t",
            "SELECT extract(hour from date_trunc('hour', time)), count(*) FROM gpu GROUP BY 1",
            "SELECT time_bucket('1 hour', time) b, count(*) FROM gpu GROUP BY ROLLUP(b)",
            "SELECT 100/(extract(epoch from time)::bigint/60 - 1), count(*) FROM gpu \
             WHERE time >= '1970-01-01T00:02:00Z' GROUP BY 1",
            "SELECT count(*) FROM gpu WHERE random() < 2",
            "SELECT count(*) FROM gpu WHERE node = 'n' AND gpu::int > 3",
            "SELECT count(*) FROM gpu WHERE 10 / util > 1",
            "SELECT a.node, count(*) FROM gpu a JOIN gpu b USING (node) GROUP BY 1",
        ] {
            assert!(!uses_operator(&pair.with, sql).await, "{sql}");
        }
        for sql in [
            "SELECT extract(epoch from time)::bigint/60*60, count(*) FROM gpu \
             WHERE time >= '1970-01-01T00:00:00Z' GROUP BY 1",
            "SELECT b, max(u) FROM (SELECT time_bucket('1 minute', time) AS b, util AS u FROM gpu \
             WHERE node = 'n') t GROUP BY b",
            "SELECT node, count(DISTINCT gpu) FROM gpu GROUP BY node",
            "WITH w AS (SELECT * FROM gpu WHERE util > 0) SELECT node, count(*) FROM w GROUP BY node",
        ] {
            pair.check(sql).await.unwrap();
        }
    });
}

/// Resolved stretches of a series have others between them.
#[test]
fn steps_lead_through_every_contested_stretch() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let row = |time: i64| Row {
            node: "n".to_owned(),
            gpu: "0".to_owned(),
            time,
            energy: Some(time),
            ..Row::default()
        };
        let rows = |times: std::ops::Range<i64>| times.step_by(10).map(row).collect::<Vec<_>>();
        let mut files: Vec<_> = (0..8)
            .map(|file| FileRows::monotone(1 + file as u64, rows(file * 200..file * 200 + 100)))
            .collect();
        files.push(FileRows::late(9, rows(50..1_600)));
        let pair = Pair::new().await;
        pair.show(&files).await;
        for sql in [
            "SELECT node, increase(energy) FROM gpu GROUP BY node",
            "SELECT node, delta(energy) FROM gpu GROUP BY node",
            "SELECT date_bin(INTERVAL '1 minute', time), node, increase(energy) FROM gpu \
             GROUP BY 1, node",
        ] {
            pair.check(sql).await.unwrap();
        }
    });
}
