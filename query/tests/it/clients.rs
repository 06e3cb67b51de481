//! Real clients: HTTP by reqwest, the PostgreSQL wire by tokio-postgres.

use crate::fixture::{FileRows, Row, engine, options, snapshot};
use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};
use warpline_query::{
    Engine, EngineOptions, PostgresAccess, QueryErrorKind, http_routes, serve_postgres,
};

fn rows() -> Vec<FileRows> {
    let row = |time: i64| Row {
        node: "n0".into(),
        gpu: "1".into(),
        time,
        model: Some("H100".into()),
        util: Some(time as i16),
        power: Some(699_123),
        ..Row::default()
    };
    vec![FileRows::monotone(1, (1..=3).map(row).collect()), FileRows::late(2, vec![row(2)])]
}

pub(crate) async fn http(engine: Engine) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/sql", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, http_routes(engine)).await.unwrap() });
    url
}

/// The port of a server of the protocol.
pub(crate) async fn serving(engine: Engine) -> u16 {
    guarded(engine, PostgresAccess::default()).await
}

pub(crate) async fn guarded(engine: Engine, access: PostgresAccess) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(serve_postgres(listener, engine, access, std::future::pending()));
    port
}

pub(crate) async fn postgres(engine: Engine) -> Client {
    let port = serving(engine).await;
    let config = format!("host=127.0.0.1 port={port} user=warpline dbname=postgres");
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn http_answers_in_three_formats_and_refuses_with_reasons() {
    let url = http(engine(&rows()).await).await;
    let client = reqwest::Client::new();
    let sql = "SELECT time, gpu, sum(power) AS watts, max(util) FROM gpu GROUP BY 1, 2 ORDER BY 1 DESC LIMIT 2";
    let ask = |accept: &'static str, body: String| {
        let request = client.post(&url).header(ACCEPT, accept).body(body);
        async move { request.send().await.unwrap() }
    };

    let answer: Value = ask("", sql.to_owned()).await.json().await.unwrap();
    let expected = json!({
        "columns": [
            {"name": "time", "type": "timestamptz"},
            {"name": "gpu", "type": "text"},
            {"name": "watts", "type": "double precision"},
            {"name": "max(gpu.util)", "type": "bigint"},
        ],
        "rows": [
            ["1970-01-01T00:00:03Z", "1", 699.123, 3],
            ["1970-01-01T00:00:02Z", "1", 699.123, 2],
        ],
    });
    assert_eq!(answer, expected);

    let csv = ask("text/csv", sql.to_owned()).await.text().await.unwrap();
    assert_eq!(csv.lines().nth(1), Some("1970-01-01T00:00:03Z,1,699.123,3"));
    let arrow = ask("application/vnd.apache.arrow.stream", sql.to_owned()).await;
    let bytes = arrow.bytes().await.unwrap();
    let batches = StreamReader::try_new(&bytes[..], None).unwrap();
    let batches: Vec<RecordBatch> = batches.collect::<Result<_, _>>().unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);

    let request = client.post(&url).header(CONTENT_TYPE, "application/json");
    let request = request.body(json!({ "sql": "SELECT pwoer FROM gpu" }).to_string());
    let refused = request.send().await.unwrap();
    assert_eq!(refused.status(), 400);
    let error: Value = refused.json().await.unwrap();
    assert_eq!(error["code"], "42703");
    assert!(error["error"].as_str().unwrap().contains("Did you mean 'gpu.power'"), "{error}");
    for (sql, status) in [("DROP TABLE gpu", 403), ("SELECT", 400), ("SELECT 1; SELECT 2", 400)] {
        assert_eq!(ask("", sql.to_owned()).await.status(), status, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_takes_parameters_and_gives_binary_results() {
    let client = postgres(engine(&rows()).await).await;
    let sql = "SELECT time, gpu, power, util FROM gpu WHERE time > $1 AND node = $2 AND power < $3 \
               ORDER BY time LIMIT $4";
    let since = UNIX_EPOCH + Duration::from_secs(1);
    let rows = client.query(sql, &[&since, &"n0", &1000.0_f64, &1_i64]).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<_, SystemTime>(0), UNIX_EPOCH + Duration::from_secs(2));
    assert_eq!(rows[0].get::<_, &str>(1), "1");
    assert_eq!(rows[0].get::<_, f64>(2).to_string(), "699.123");
    assert_eq!(rows[0].get::<_, i64>(3), 2);
    let now = client.query_one("SELECT now()", &[]).await.unwrap();
    assert_eq!(now.columns()[0].type_().name(), "timestamptz");

    let error = client.query("SELECT * FROM gpus", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::UNDEFINED_TABLE));
    let error = client.batch_execute("DELETE FROM gpu").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION));
    assert!(client.batch_execute("SET datafusion.execution.batch_size = 1").await.is_err());
    client.batch_execute("BEGIN; SELECT count(*) FROM gpu; COMMIT").await.unwrap();
}

/// Computes for minutes without a pause: the join's filter passes nothing on.
const ENDLESS: &str = "SELECT count(*) FROM gpu, generate_series(1, 1000000) a(x), \
                       generate_series(1, 1000000) b(y) WHERE x * y % 7 = util";

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_statement_sees_later_rows() {
    let first = snapshot(&rows()).await;
    let shown = Arc::new(parking_lot::Mutex::new(first));
    let client = postgres(crate::fixture::engine_of(&shown)).await;
    let statement = client.prepare("SELECT count(*) FROM gpu").await.unwrap();
    let count = async || client.query_one(&statement, &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(count().await, 3);
    let mut files = rows();
    files.push(FileRows::monotone(3, vec![Row { time: 9, ..rows()[0].rows[0].clone() }]));
    let later = snapshot(&files).await;
    *shown.lock() = later;
    assert_eq!(count().await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_past_its_time_is_stopped() {
    let snapshot = snapshot(&rows()).await;
    let options = EngineOptions { timeout: Duration::from_millis(400), ..options() };
    let engine = Engine::over(move || snapshot.clone(), &options).unwrap();
    let began = Instant::now();
    let error = engine.query(ENDLESS).await.unwrap_err();
    assert_eq!(error.kind(), QueryErrorKind::Timeout);
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_and_the_clients_own_timeout_stop_a_running_statement() {
    let client = postgres(engine(&rows()).await).await;
    let cancel = client.cancel_token();
    let canceller = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(400)).await;
        cancel.cancel_query(NoTls).await.unwrap();
    });
    let error = client.batch_execute(ENDLESS).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
    canceller.await.unwrap();
    client.batch_execute("SET statement_timeout = '300ms'").await.unwrap();
    let error = client.batch_execute(ENDLESS).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_answer_stops_the_work() {
    let engine = engine(&rows()).await;
    let many = "SELECT power, x FROM gpu, generate_series(1, 100000000) a(x)";
    let answer = engine.query(many).await.unwrap();
    assert!(engine.running_tasks() > 0);
    drop(answer);
    let until = Instant::now() + Duration::from_secs(20);
    while engine.running_tasks() > 0 {
        assert!(Instant::now() < until, "the work goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
