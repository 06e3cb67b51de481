//! What PostgreSQL's clients bind and read: parameters by their types, arrays, times in a zone,
//! columns of one name.

use crate::clients::{http, postgres};
use crate::fixture::{FileRows, Row, engine};
use pg_interval::Interval;
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, Column, SimpleQueryMessage};
use warpline_query::Engine;

async fn store() -> Engine {
    let row = |node: &str, gpu: &str, time: i64| Row {
        node: node.into(),
        gpu: gpu.into(),
        time,
        util: Some(10 * time as i16),
        power: Some(699_123),
        temp: Some(1.5),
        ..Row::default()
    };
    let rows = vec![row("n1", "0", 1), row("n1", "1", 2), row("n2", "0", 3)];
    engine(&[FileRows::monotone(1, rows)]).await
}

async fn client() -> Client {
    postgres(store().await).await
}

async fn value<T>(client: &Client, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> T
where
    T: for<'a> FromSql<'a>,
{
    let row = client.query_one(sql, parameters).await;
    row.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

async fn text(client: &Client, sql: &str) -> String {
    let all = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let row = all.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    row.unwrap_or("NULL").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn times_as_text_have_all_of_their_offset() {
    let client = client().await;
    for (zone, sql, want) in [
        ("Asia/Kolkata", "min(time) FROM gpu", "1970-01-01 05:30:01.000000+05:30"),
        (
            "Asia/Kathmandu",
            "'2026-01-01T00:00:00Z'::timestamptz",
            "2026-01-01 05:45:00.000000+05:45",
        ),
        (
            "America/St_Johns",
            "'2026-01-01T03:30:00Z'::timestamptz",
            "2026-01-01 00:00:00.000000-03:30",
        ),
        (
            "America/St_Johns",
            "'2026-07-01T02:30:00Z'::timestamptz",
            "2026-07-01 00:00:00.000000-02:30",
        ),
        (
            "Europe/Dublin",
            "'1900-01-01T00:00:00Z'::timestamptz",
            "1899-12-31 23:34:39.000000-00:25:21",
        ),
        ("Asia/Tokyo", "min(time) FROM gpu", "1970-01-01 09:00:01.000000+09"),
        (
            "Asia/Kolkata",
            "array_agg(time) FROM gpu WHERE gpu = '1'",
            "{\"1970-01-01 05:30:02.000000+05:30\"}",
        ),
        ("Asia/Kolkata", "NULL::timestamptz", "NULL"),
        ("UTC", "min(time) FROM gpu", "1970-01-01 00:00:01.000000+00"),
    ] {
        let sql = format!("SET TimeZone = '{zone}'; SELECT {sql}");
        assert_eq!(text(&client, &sql).await, want, "{sql}");
    }
    client.batch_execute("SET TimeZone = 'Asia/Kolkata'").await.unwrap();
    let binary: std::time::SystemTime = value(&client, "SELECT min(time) FROM gpu", &[]).await;
    assert_eq!(binary, UNIX_EPOCH + Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_takes_arrays_of_what_is_beside_it() {
    let client = client().await;
    let count = |sql: &str| format!("SELECT count(*) FROM gpu WHERE {sql}");
    let second = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let (nodes, utils) = (vec![Some("n1"), None, Some("n,\"3")], vec![10_i64, 30]);
    let (temps, times) = (vec![1.5, 2.5], vec![second(1), second(3), second(9)]);
    let (none, empty): (Option<Vec<&str>>, Vec<&str>) = (None, Vec::new());
    for (sql, parameter, want) in [
        ("node = any($1)", &nodes as &(dyn ToSql + Sync), 2_i64),
        ("node <> all($1)", &nodes, 0),
        ("NOT node = any($1)", &nodes, 0),
        ("node <> all($1)", &vec!["n1"], 1),
        ("util = any($1)", &utils, 2),
        ("util = any($1::int[])", &vec![10_i32], 1),
        ("temp = any($1)", &temps, 3),
        ("time = any($1)", &times, 2),
        ("node = any($1)", &none, 0),
        ("node = any($1)", &empty, 0),
        ("node <> all($1)", &empty, 3),
        ("$1 = any(ARRAY[node, gpu])", &"n2", 1),
    ] {
        assert_eq!(value::<i64>(&client, &count(sql), &[parameter]).await, want, "{sql}");
    }
    let sql = count("util = any($1)");
    let many = client.query_typed(&sql, &[(&vec![10_i16], Type::INT2_ARRAY)]).await;
    assert_eq!(many.unwrap()[0].get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_told_by_what_is_beside_them() {
    let client = client().await;
    for (sql, want) in [
        ("SELECT $1", &[Type::TEXT][..]),
        ("SELECT $2 FROM gpu WHERE node = $1", &[Type::TEXT, Type::TEXT]),
        ("SELECT 1 FROM gpu WHERE node = any($1)", &[Type::TEXT_ARRAY]),
        (
            "SELECT 1 FROM gpu WHERE util = any($1) AND time = any($2)",
            &[Type::INT8_ARRAY, Type::TIMESTAMPTZ_ARRAY],
        ),
        ("SELECT 1 FROM gpu WHERE power <> all($1)", &[Type::FLOAT8_ARRAY]),
        (
            "SELECT date_trunc($1, time) FROM gpu LIMIT $2 OFFSET $3",
            &[Type::TEXT, Type::INT8, Type::INT8],
        ),
        ("SELECT time_bucket($1, time) AS b, count(*) FROM gpu GROUP BY b", &[Type::INTERVAL]),
        ("SELECT coalesce(util, $1) + $2 FROM gpu", &[Type::INT8, Type::INT8]),
        ("SELECT 1 FROM gpu WHERE time > now() - $1", &[Type::INTERVAL]),
        ("SELECT to_char(time, $1), time AT TIME ZONE $2 FROM gpu", &[Type::TEXT, Type::TEXT]),
        ("SELECT CASE WHEN util > $1 THEN node ELSE $2 END FROM gpu", &[Type::INT8, Type::TEXT]),
    ] {
        let prepared = client.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(prepared.params(), want, "{sql}");
    }
    assert_eq!(value::<String>(&client, "SELECT $1", &[&"a"]).await, "a");
    assert_eq!(value::<Option<String>>(&client, "SELECT $1", &[&None::<&str>]).await, None);
    for told in
        [Type::INT4, Type::FLOAT8, Type::TIMESTAMPTZ, Type::INTERVAL, Type::BOOL, Type::DATE]
    {
        let prepared =
            client.prepare_typed("SELECT $1", std::slice::from_ref(&told)).await.unwrap();
        assert_eq!(prepared.columns()[0].type_(), &told);
    }
    let typed = client.query_typed("SELECT $1", &[(&7_i32, Type::INT4)]).await.unwrap();
    assert_eq!(typed[0].get::<_, i32>(0), 7);
    let half = "SELECT count(*) FROM gpu WHERE util > $1";
    let counted = client.query_typed(half, &[(&19.5_f64, Type::FLOAT8)]).await.unwrap();
    assert_eq!(counted[0].get::<_, i64>(0), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_one_name_are_answered() {
    let client = client().await;
    for (sql, want) in [
        ("SELECT count(*), count(*) FROM gpu", ["count", "count"]),
        ("SELECT node, node FROM gpu", ["node", "node"]),
        ("SELECT 1, 1", ["?column?", "?column?"]),
        ("SELECT n, n.* FROM (SELECT node AS n FROM gpu) AS n", ["n", "n"]),
        ("SELECT gpu AS node, node FROM gpu", ["node", "node"]),
        ("SELECT n, * FROM (SELECT node AS n FROM gpu) AS n ORDER BY n", ["n", "n"]),
    ] {
        let prepared = client.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let names: Vec<_> = prepared.columns().iter().map(Column::name).collect();
        assert_eq!(names, want, "{sql}");
        assert!(!client.query(&prepared, &[]).await.unwrap().is_empty());
    }
    assert_eq!(text(&client, "SELECT count(*), count(*) FROM gpu").await, "3");
    let request = reqwest::Client::new().post(http(store().await).await);
    let answer = request.body("SELECT count(*), count(*) FROM gpu").send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    let column = json!({"name": "count", "type": "bigint"});
    assert_eq!(answer, json!({"columns": [column, column], "rows": [[3, 3]]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn arrays_of_tags_are_arrays_of_text() {
    let client = client().await;
    let sql = "SELECT array_agg(node ORDER BY time) FROM gpu";
    let prepared = client.prepare(sql).await.unwrap();
    assert_eq!(prepared.columns()[0].type_(), &Type::TEXT_ARRAY);
    let nodes: Vec<String> = value(&client, sql, &[]).await;
    assert_eq!(nodes, ["n1", "n1", "n2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_values_have_postgresqls_codes() {
    let client = client().await;
    for (sql, code) in [
        ("SELECT 9223372036854775807 + 1", "22003"),
        ("SELECT util * 9223372036854775807 FROM gpu", "22003"),
        ("SELECT util / 0 FROM gpu", "22012"),
        ("SELECT 'abc'::int", "22P02"),
        ("SELECT 1 FROM gpu WHERE node = any('{a')", "22P02"),
    ] {
        let error = client.simple_query(sql).await.expect_err(sql);
        assert_eq!(error.code().map(SqlState::code), Some(code), "{sql}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_functions_answer_as_postgresqls() {
    let client = client().await;
    for (sql, want) in [
        ("SELECT current_user", "warpline"),
        ("SELECT session_user", "warpline"),
        ("SELECT count(*) FROM gpu WHERE user = current_user", "3"),
        ("SELECT pg_typeof(time) FROM gpu LIMIT 1", "timestamp with time zone"),
        ("SELECT pg_typeof(array_agg(util)) FROM gpu", "bigint[]"),
        ("SELECT pg_typeof(node) FROM gpu LIMIT 1", "text"),
        ("SELECT quote_literal('it''s') || quote_nullable(NULL)", "'it''s'NULL"),
        ("SELECT age(DATE '2026-03-01', DATE '2025-01-31') = INTERVAL '13 months 1 day'", "t"),
        ("SELECT make_date(2026, 3, 1)", "2026-03-01"),
    ] {
        assert_eq!(text(&client, sql).await, want, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_prepared_by_name_in_sql() {
    let client = client().await;
    let prepare = "PREPARE warm (int8) AS SELECT count(*) FROM gpu WHERE util > $1";
    client.batch_execute(prepare).await.unwrap();
    assert_eq!(text(&client, "EXECUTE warm (10)").await, "2");
    assert_eq!(text(&client, "EXECUTE Warm ('20')").await, "1");
    assert_eq!(value::<i64>(&client, "EXECUTE warm (0)", &[]).await, 3);
    for (sql, code) in [
        (prepare, "42P05"),
        ("EXECUTE warm", "42601"),
        ("EXECUTE warm ('x')", "22P02"),
        ("EXECUTE cold", "26000"),
        ("DEALLOCATE warm; EXECUTE warm (1)", "26000"),
    ] {
        let error = client.simple_query(sql).await.expect_err(sql);
        assert_eq!(error.code().map(SqlState::code), Some(code), "{sql}: {error:?}");
    }
    client
        .batch_execute("PREPARE a AS SELECT 1; DEALLOCATE ALL; PREPARE a AS SELECT 2")
        .await
        .unwrap();
    assert_eq!(text(&client, "EXECUTE a").await, "2");
}

/// A parameter beside `now()` is an interval where nobody says what it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_from_now_is_what_the_client_says() {
    let client = client().await;
    let sql = "SELECT now() - $1 > interval '24 hours'";
    let told = client.prepare("SELECT now() - $1").await.unwrap();
    assert_eq!(told.params(), [Type::INTERVAL]);
    let typed = client.prepare_typed(sql, &[Type::TIMESTAMPTZ]).await.unwrap();
    assert_eq!(typed.params(), [Type::TIMESTAMPTZ]);
    let long: bool = client.query_one(&typed, &[&UNIX_EPOCH]).await.unwrap().get(0);
    assert!(long);
    let day = Interval { months: 0, days: 1, microseconds: 0 };
    for sql in [
        "SELECT count(*) FROM gpu WHERE now() - time > $1",
        "SELECT count(*) FROM gpu WHERE now() - time BETWEEN $1 AND '99 years'",
    ] {
        assert_eq!(value::<i64>(&client, sql, &[&day]).await, 3, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_prepared_in_sql_are_few_and_short() {
    let client = client().await;
    let long = format!("AS SELECT count(*) FROM gpu WHERE gpu IN ({})", "1,".repeat(60_000) + "1");
    client.batch_execute(&format!("PREPARE a {long}")).await.unwrap();
    let error = client.batch_execute(&format!("PREPARE b {long}; PREPARE c {long}")).await;
    assert_eq!(error.unwrap_err().code().unwrap().code(), "53200");
    client.batch_execute(&format!("DEALLOCATE ALL; PREPARE b {long}")).await.unwrap();
}
