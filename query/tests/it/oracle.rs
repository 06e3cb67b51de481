//! Answers over random files, with rewrites, absences and two writers, against a naive reading
//! of the rule "the last write of each field wins" and integer arithmetic.

use crate::fixture::{FileRows, Row, ask, engine_of, snapshot};
use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use std::sync::Arc;
use warpline_query::Engine;
use warpline_storage::FileKind;

type Key = (String, String, i64);

/// Later files win, late after monotone in one version, field by field.
pub(crate) fn resolved(files: &[FileRows]) -> Vec<Row> {
    let mut files: Vec<&FileRows> = files.iter().collect();
    files.sort_by_key(|file| (file.version, file.kind));
    last_writes(files.into_iter().flat_map(|file| {
        file.rows
            .iter()
            .cloned()
            .map(|row| if file.narrow { Row { active: None, temp: None, ..row } } else { row })
    }))
}

/// The last present value of each column wins.
pub(crate) fn last_writes(writes: impl IntoIterator<Item = Row>) -> Vec<Row> {
    let mut rows: BTreeMap<Key, Row> = BTreeMap::new();
    for new in writes {
        let key = (new.node.clone(), new.gpu.clone(), new.time);
        let row = rows.entry(key).or_default();
        *row = Row {
            model: new.model.or(row.model.take()),
            util: new.util.or(row.util),
            energy: new.energy.or(row.energy),
            power: new.power.or(row.power),
            active: new.active.or(row.active),
            temp: new.temp.or(row.temp),
            node: new.node,
            gpu: new.gpu,
            time: new.time,
        };
    }
    rows.into_values().collect()
}

pub(crate) fn row() -> impl Strategy<Value = Row> {
    let tags = (0..3_u8, 0..2_u8, 0..40_i64, prop::option::of(0..2_u8));
    let values = (
        prop::option::of(-100..100_i16),
        prop::option::of(prop_oneof![-9..9_i64, (1_i64 << 61)..(1_i64 << 62)]),
        prop::option::of(-999_999_999..=999_999_999_i32),
        prop::option::of(-999_999_999_999..=999_999_999_999_i64),
        prop::option::of((-4_000..4_000_i32).prop_map(|n| f64::from(n) / 4.0)),
    );
    (tags, values).prop_map(|((node, gpu, time, model), (util, energy, power, active, temp))| Row {
        node: format!("n{node}"),
        gpu: if gpu == 0 { String::new() } else { gpu.to_string() },
        time,
        model: model.map(|model| format!("H{model}00")),
        util,
        energy,
        power,
        active,
        temp,
    })
}

/// Monotone files of writer 1 are cut from one history by time, so their keys are disjoint;
/// late files and a second writer's file repeat keys at will.
pub(crate) fn files() -> impl Strategy<Value = Vec<FileRows>> {
    let history = prop::collection::vec(row(), 0..80);
    let others = prop::collection::vec(
        (prop::collection::vec(row(), 1..25), any::<bool>(), 2..7_u64, any::<bool>()),
        0..4,
    );
    (history, others, 0..40_i64).prop_map(|(history, others, cut)| {
        let (early, recent) = unique(history).into_iter().partition(|row| row.time < cut);
        let mut early = FileRows::monotone(1, early);
        early.narrow = true;
        let mut files = vec![early, FileRows::monotone(3, recent)];
        for (rows, late, version, narrow) in others {
            let kind = if late { FileKind::Late } else { FileKind::Monotone };
            let writer = if late { 1 } else { u128::from(version) + 10 };
            let file = FileRows::monotone(version, unique(rows));
            files.push(FileRows { kind, writer, narrow, ..file });
        }
        let mut seen = std::collections::BTreeSet::new();
        files.retain(|file| seen.insert((file.version, file.kind)));
        files
    })
}

fn unique(rows: Vec<Row>) -> Vec<Row> {
    let keyed = rows.into_iter().map(|row| ((row.node.clone(), row.gpu.clone(), row.time), row));
    keyed.collect::<BTreeMap<Key, Row>>().into_values().collect()
}

/// Decimal text of an exact sum, read with correct rounding.
fn scaled(sum: i128, decimals: u8) -> String {
    let value: f64 = format!("{sum}e-{decimals}").parse().expect("a number");
    format!("{value:?}")
}

fn sum_of<'a>(rows: impl Iterator<Item = &'a Row>, get: fn(&Row) -> Option<i128>) -> Option<i128> {
    rows.filter_map(get).fold(None, |sum, value| Some(sum.unwrap_or(0) + value))
}

fn or_null<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "NULL".to_owned(), text)
}

fn power(row: &Row) -> Option<i128> {
    row.power.map(i128::from)
}

fn active(row: &Row) -> Option<i128> {
    row.active.map(i128::from)
}

fn energy(row: &Row) -> Option<i128> {
    row.energy.map(i128::from)
}

fn util(row: &Row) -> Option<i128> {
    row.util.map(i128::from)
}

type Texts = Vec<Vec<String>>;
type Answer = fn(&[Row]) -> Texts;

fn single(text: String) -> Texts {
    vec![vec![text]]
}

/// A row per node, ascending.
fn by_node(rows: &[Row], cells: impl Fn(&[&Row]) -> Vec<String>) -> Texts {
    let mut nodes: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        nodes.entry(&row.node).or_default().push(row);
    }
    nodes.into_iter().map(|(node, rows)| [vec![node.to_owned()], cells(&rows)].concat()).collect()
}

fn power_sum(rows: &[Row]) -> Texts {
    single(or_null(sum_of(rows.iter(), power), |sum| scaled(sum, 3)))
}

fn active_sum(rows: &[Row]) -> Texts {
    single(or_null(sum_of(rows.iter(), active), |sum| scaled(sum, 6)))
}

fn power_by_node(rows: &[Row]) -> Texts {
    by_node(rows, |rows| vec![or_null(sum_of(rows.iter().copied(), power), |sum| scaled(sum, 3))])
}

const STATEMENTS: [(&str, Answer); 24] = [
    ("SELECT count(*) FROM gpu", |rows| single(rows.len().to_string())),
    ("SELECT count(model) FROM gpu", |rows| {
        single(rows.iter().filter(|row| row.model.is_some()).count().to_string())
    }),
    ("SELECT sum(power) FROM gpu", power_sum),
    ("SELECT sum(active) FROM gpu", active_sum),
    ("SELECT sum(util) FROM gpu", |rows| {
        single(or_null(sum_of(rows.iter(), util), |sum| sum.to_string()))
    }),
    ("SELECT sum(p) FROM (SELECT power AS p FROM gpu) t", power_sum),
    ("WITH w AS (SELECT node, power AS watts FROM gpu) SELECT sum(w.watts) FROM w", power_sum),
    ("SELECT sum(power::double) FROM gpu", power_sum),
    ("SELECT (SELECT sum(active) FROM gpu)", active_sum),
    ("SELECT node, sum(power) FROM gpu GROUP BY node ORDER BY node", power_by_node),
    (
        "SELECT node, sum(power) FROM (SELECT * FROM gpu ORDER BY time LIMIT 100000) g \
         GROUP BY node ORDER BY node",
        power_by_node,
    ),
    ("SELECT node, count(*), max(util) FROM gpu GROUP BY node ORDER BY node", |rows| {
        by_node(rows, |rows| {
            let most = rows.iter().filter_map(|row| row.util).max();
            vec![rows.len().to_string(), or_null(most, |most| most.to_string())]
        })
    }),
    ("SELECT count(*), sum(power) FROM gpu WHERE util > 20", |rows| {
        let busy = || rows.iter().filter(|row| row.util.is_some_and(|util| util > 20));
        let sum = or_null(sum_of(busy(), power), |sum| scaled(sum, 3));
        vec![vec![busy().count().to_string(), sum]]
    }),
    ("SELECT count(*) FROM gpu WHERE model = 'H100'", |rows| {
        let model = |row: &&Row| row.model.as_deref() == Some("H100");
        single(rows.iter().filter(model).count().to_string())
    }),
    ("SELECT count(*) FROM gpu WHERE power IS NULL AND node = 'n1'", |rows| {
        let absent = |row: &&Row| row.power.is_none() && row.node == "n1";
        single(rows.iter().filter(absent).count().to_string())
    }),
    ("SELECT sum(power) FILTER (WHERE gpu = '1'), sum(util) FROM gpu", |rows| {
        let ones = rows.iter().filter(|row| row.gpu == "1");
        let watts = or_null(sum_of(ones, power), |sum| scaled(sum, 3));
        vec![vec![watts, or_null(sum_of(rows.iter(), util), |sum| sum.to_string())]]
    }),
    (
        "SELECT count(*), sum(active) FROM gpu \
         WHERE time >= '1970-01-01T00:00:10Z' AND time < '1970-01-01T00:00:25Z'",
        |rows| {
            let inside = || rows.iter().filter(|row| (10..25).contains(&row.time));
            let sum = or_null(sum_of(inside(), active), |sum| scaled(sum, 6));
            vec![vec![inside().count().to_string(), sum]]
        },
    ),
    ("SELECT avg(power) FROM gpu", |rows| {
        let count = rows.iter().filter(|row| row.power.is_some()).count();
        single(or_null(sum_of(rows.iter(), power), |sum| {
            format!("{:?}", sum as f64 / (count as f64 * 1e3))
        }))
    }),
    ("SELECT avg(util) FROM gpu", |rows| {
        let count = rows.iter().filter(|row| row.util.is_some()).count();
        single(or_null(sum_of(rows.iter(), util), |sum| format!("{:?}", sum as f64 / count as f64)))
    }),
    ("SELECT sum(DISTINCT util) FROM gpu", |rows| {
        let distinct: std::collections::BTreeSet<i16> =
            rows.iter().filter_map(|row| row.util).collect();
        let some = (!distinct.is_empty()).then(|| distinct.iter().map(|u| i64::from(*u)).sum());
        single(or_null(some, |sum: i64| sum.to_string()))
    }),
    ("SELECT max(s) FROM (SELECT sum(power) OVER () AS s FROM gpu) t", power_sum),
    (
        "SELECT sum(a.power) FROM gpu a JOIN gpu b \
         ON a.node = b.node AND a.gpu = b.gpu AND a.time = b.time",
        power_sum,
    ),
    (
        "SELECT node, gpu, extract(epoch FROM time)::bigint, model, util, power, active, temp \
      FROM gpu ORDER BY node, gpu, time",
        |rows| {
            rows.iter()
                .map(|row| {
                    vec![
                        row.node.clone(),
                        row.gpu.clone(),
                        row.time.to_string(),
                        or_null(row.model.clone(), |model| model),
                        or_null(row.util, |util| util.to_string()),
                        or_null(row.power, |power| scaled(i128::from(power), 3)),
                        or_null(row.active, |active| scaled(i128::from(active), 6)),
                        or_null(row.temp, |temp| format!("{temp:?}")),
                    ]
                })
                .collect()
        },
    ),
    ("SELECT sum(power) FROM (SELECT power FROM gpu UNION ALL SELECT power FROM gpu) t", |rows| {
        single(or_null(sum_of(rows.iter(), power), |sum| scaled(2 * sum, 3)))
    }),
];

/// Every statement's answer over the engine's present snapshot, against the rows it should hold.
pub(crate) async fn check(engine: &Engine, rows: &[Row]) -> Result<(), TestCaseError> {
    for (sql, answer) in STATEMENTS {
        let got = ask(engine, sql).await;
        let got = got.map_err(|error| TestCaseError::fail(format!("{sql}: {error}")))?;
        prop_assert_eq!(got, answer(rows), "{}", sql);
    }
    check_bigint_sum(engine, rows).await
}

/// The sum of `energy` may leave BIGINT: then it is an error, never a wrapped number.
async fn check_bigint_sum(engine: &Engine, rows: &[Row]) -> Result<(), TestCaseError> {
    let sum = sum_of(rows.iter(), energy);
    let got = ask(engine, "SELECT sum(energy) FROM gpu").await;
    match (sum.map(i64::try_from), got) {
        (None, Ok(got)) => prop_assert_eq!(got, single("NULL".to_owned())),
        (Some(Ok(sum)), Ok(got)) => prop_assert_eq!(got, single(sum.to_string())),
        (Some(Err(_)), Err(error)) => prop_assert!(error.to_string().contains("out of range")),
        (sum, got) => return Err(TestCaseError::fail(format!("{sum:?} but {got:?}"))),
    }
    Ok(())
}

#[test]
fn answers_over_files_are_those_of_a_naive_reading() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let shown = Arc::new(Mutex::new(runtime.block_on(snapshot(&[]))));
    let engine = engine_of(&shown);
    let mut runner = TestRunner::new(Config { cases: 24, ..Config::default() });
    let outcome = runner.run(&files(), |files| {
        runtime.block_on(async {
            let snapshot = snapshot(&files).await;
            *shown.lock() = snapshot;
            check(&engine, &resolved(&files)).await
        })
    });
    outcome.unwrap();
}
