//! What is tried on the surface of SQL, and what comes of it: a clear error, and a server that goes
//! on. docs/security.md lists it.

use crate::fixture::{FileRows, Row, engine, options, snapshot};
use arrow::array::RecordBatch;
use std::time::Duration;
use warpline_query::{Engine, EngineOptions, QueryErrorKind};

async fn small() -> Engine {
    let row = |time: i64| Row { node: "n0".into(), gpu: "1".into(), time, ..Row::default() };
    engine(&[FileRows::monotone(1, (1..=3).map(row).collect())]).await
}

async fn refused(engine: &Engine, sql: &str) -> (QueryErrorKind, String) {
    let error = match engine.query(sql).await {
        Err(error) => error,
        Ok(answer) => match answer.collect().await {
            Err(error) => error,
            Ok(rows) => panic!("answered: {}: {rows:?}", sql.get(..80).unwrap_or(sql)),
        },
    };
    (error.kind(), error.to_string())
}

async fn still_answers(engine: &Engine) {
    let rows = engine.query("SELECT count(*) FROM gpu").await.unwrap().collect().await.unwrap();
    assert_eq!(rows[0].num_rows(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_reaches_no_file_no_network_and_no_setting_of_the_engine() {
    let engine = small().await;
    let secret = tempfile::NamedTempFile::with_suffix(".csv").unwrap();
    std::fs::write(secret.path(), "secret\n4711\n").unwrap();
    let path = secret.path().display();
    let out = secret.path().with_extension("parquet");
    for sql in [
        format!("SELECT * FROM '{path}'"),
        format!("SELECT * FROM \"{path}\""),
        format!("SELECT * FROM \"file://{path}\""),
        "SELECT * FROM \"../../etc/passwd\"".into(),
        "SELECT * FROM \"http://127.0.0.1/x.csv\"".into(),
        format!("SELECT * FROM read_csv('{path}')"),
        format!("SELECT * FROM read_parquet('{path}')"),
        format!("SELECT pg_read_file('{path}')"),
        format!("SELECT lo_import('{path}')"),
        format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{path}'"),
        format!("CREATE TABLE t AS SELECT * FROM '{path}'"),
        format!("COPY (SELECT 1) TO '{}'", out.display()),
        format!("COPY gpu TO '{}' STORED AS PARQUET", out.display()),
        format!("COPY gpu FROM '{path}'"),
        "COPY (SELECT 1) TO PROGRAM 'touch /tmp/x'".into(),
        format!("INSERT INTO gpu SELECT * FROM '{path}'"),
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'x'".into(),
        "CREATE VIEW v AS SELECT 1".into(),
        "DROP TABLE gpu".into(),
        "DELETE FROM gpu".into(),
        "UPDATE gpu SET gpu = '2'".into(),
        "TRUNCATE gpu".into(),
        "ALTER TABLE gpu ADD COLUMN x int".into(),
        "SET datafusion.execution.batch_size = 1".into(),
        "SET datafusion.runtime.memory_limit = '100G'".into(),
        "LOAD 'x'".into(),
        "PREPARE p AS DELETE FROM gpu".into(),
        "EXPLAIN ANALYZE DELETE FROM gpu".into(),
        "EXPLAIN COPY (SELECT 1) TO '/tmp/x'".into(),
        "WITH gone AS (DELETE FROM gpu RETURNING *) SELECT * FROM gone".into(),
        "SELECT 1; DROP TABLE gpu".into(),
    ] {
        let (kind, text) = refused(&engine, &sql).await;
        assert_ne!(kind, QueryErrorKind::Internal, "{sql}: {text}");
        assert!(!text.contains("4711"), "{sql}: {text}");
    }
    assert!(!out.exists());
    still_answers(&engine).await;
}

/// Comparisons with arrays of comparisons, each of which would be multiplied by those below.
fn nested_any(levels: usize) -> String {
    let hundred = vec!["true"; 100].join(",");
    let around = format!(" > ANY(ARRAY[{hundred}]))");
    format!("SELECT {}true{}", "(".repeat(levels), around.repeat(levels))
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_are_too_deep_or_too_long_are_refused() {
    let engine = small().await;
    // As deep as may be: answered, or refused for what it says, and never the end of the server.
    let many = 3_900;
    for (sql, answered) in [
        (format!("SELECT {}", vec!["1"; 1_000].join("+")), true),
        (
            format!("SELECT count(*) FROM gpu WHERE {}", vec!["gpu = '1'"; many / 3].join(" OR ")),
            true,
        ),
        (format!("SELECT {} 1", "- ".repeat(1_000)), false),
        (format!("SELECT {} true", "NOT ".repeat(many)), false),
        (format!("SELECT 1{}", "::text".repeat(many / 2)), true),
        (format!("SELECT 1{}", " NOTNULL".repeat(many)), true),
        (format!("SELECT 1{}", " IN (1)".repeat(many / 3)), false),
        (format!("SELECT 'a'{}", " LIKE 'a'".repeat(many)), false),
        (format!("SELECT now(){}", " AT TIME ZONE 'UTC'".repeat(many / 3)), false),
        (vec!["SELECT 1"; 400].join(" UNION ALL "), true),
        (nested_any(6), false),
        ("SELECT to_regtype(repeat('[]', 1000000))".into(), true),
        ("SELECT to_regclass(repeat('a.', 1000000))".into(), true),
        ("SELECT to_regclass()".into(), true),
        ("SELECT to_char(now(), repeat('x', 1000000))".into(), false),
        ("SELECT to_char('262142-12-31T23:59:59Z'::timestamptz, 'HH24')".into(), false),
        (
            format!("SELECT count(*) FROM gpu WHERE gpu IN ({})", vec!["'1'"; 50_000].join(",")),
            true,
        ),
        (format!("SELECT length('{}')", "x".repeat(900_000)), true),
        (format!("SELECT {}", vec!["1"; 3_000].join(", ")), false),
    ] {
        let shown = sql.get(..40).unwrap_or(&sql).to_owned();
        let end = match engine.query(&sql).await {
            Ok(answer) => answer.collect().await.map(drop),
            Err(error) => Err(error),
        };
        match end {
            Ok(()) => {}
            Err(error) => {
                assert!(!answered, "{shown}: {error}");
                assert_ne!(error.kind(), QueryErrorKind::Internal, "{shown}: {error}");
            }
        }
    }
    let doubled = |levels: usize| {
        let one = |level: usize| format!("a{level} AS (SELECT x.v FROM a{0} x, a{0} y)", level - 1);
        let all: Vec<String> = (1..=levels).map(one).collect();
        format!("WITH a0 AS (SELECT 1 AS v), {} SELECT count(*) FROM a{levels}", all.join(", "))
    };
    for (sql, kind) in [
        (format!("SELECT {}", vec!["1"; 1_002].join("+")), QueryErrorKind::TooLarge),
        (format!("SELECT 1 AS \"'\", {}", vec!["1"; 400_000].join("+")), QueryErrorKind::TooLarge),
        (format!("SELECT /* ' */ 1{}", " IN(1)".repeat(100_000)), QueryErrorKind::TooLarge),
        (doubled(9), QueryErrorKind::TooLarge),
        (doubled(40), QueryErrorKind::TooLarge),
        (format!("SELECT {}1{}", "(".repeat(1_500), ")".repeat(1_500)), QueryErrorKind::Syntax),
        (
            format!("{}SELECT 1{}", "SELECT * FROM (".repeat(500), ")".repeat(500)),
            QueryErrorKind::Syntax,
        ),
        ("SELECT $100000000000".into(), QueryErrorKind::TooLarge),
        ("SELECT $18446744073709551616".into(), QueryErrorKind::TooLarge),
        (
            format!("SELECT (SELECT 1 FROM {}) > ANY(ARRAY[1, 2])", vec!["gpu"; 501].join(", ")),
            QueryErrorKind::TooLarge,
        ),
        ("SELECT \0".into(), QueryErrorKind::Syntax),
        ("SELECT 'open".into(), QueryErrorKind::Syntax),
    ] {
        let (refusal, text) = refused(&engine, &sql).await;
        assert_eq!(refusal, kind, "{text}");
        assert!(text.len() < 100_000, "an error repeats the statement");
    }
    still_answers(&engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_work_without_an_end_are_bounded() {
    let bounds = EngineOptions {
        memory_bytes: 64 << 20,
        statement_bytes: 16 << 20,
        answer_rows: 100_000,
        timeout: Duration::from_secs(2),
        ..options()
    };
    let row = |time: i64| Row { node: "n0".into(), gpu: "1".into(), time, ..Row::default() };
    let files = snapshot(&[FileRows::monotone(1, (1..=3).map(row).collect())]).await;
    let engine = Engine::over(move || files.clone(), &bounds).unwrap();
    let (kind, text) = refused(&engine, "SELECT * FROM generate_series(1, 100001)").await;
    assert_eq!(kind, QueryErrorKind::TooLarge);
    assert!(text.contains("more than 100000 rows (query.rows)"), "{text}");
    let few = engine.query("SELECT * FROM generate_series(1, 100000)").await.unwrap();
    let few = few.collect().await.unwrap();
    assert_eq!(few.iter().map(RecordBatch::num_rows).sum::<usize>(), 100_000);

    let wide = "SELECT array_length(array_agg(repeat('x', 100) || value), 1) \
                FROM generate_series(1, 10000000)";
    let (kind, text) = refused(&engine, wide).await;
    assert!(matches!(kind, QueryErrorKind::Resources | QueryErrorKind::Timeout), "{text}");

    let endless = "SELECT count(*) FROM generate_series(1, 1000000000000) WHERE value % 7 = 8";
    let (kind, text) = refused(&engine, endless).await;
    assert_eq!(kind, QueryErrorKind::Timeout, "{text}");
    still_answers(&engine).await;
}
