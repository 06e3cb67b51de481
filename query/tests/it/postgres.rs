//! What PostgreSQL's clients expect of a session: settings, zones, transactions, cursors, portals,
//! cancelling, and several statements at once.

use crate::clients::{postgres, serving};
use crate::fixture::{FileRows, Row, engine};
use futures::{StreamExt, pin_mut};
use std::collections::HashSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage, SimpleQueryRow};

/// 1970-01-01T22:30:00Z and an hour later, which is another day in Berlin.
const EVENING: i64 = 81_000;
/// More rows than anything between server and client holds.
const MANY: &str = "SELECT value, value * 2 FROM generate_series(1, 100000000)";

async fn client() -> Client {
    let row = |time: i64| Row {
        node: "n0".into(),
        gpu: "1".into(),
        time,
        util: Some(50),
        power: Some(699_123),
        ..Row::default()
    };
    let rows = vec![FileRows::monotone(1, vec![row(EVENING), row(EVENING + 3_600)])];
    postgres(engine(&rows).await).await
}

/// Rows of one statement or several, as text.
async fn text(client: &Client, sql: &str) -> Vec<Vec<String>> {
    let all = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    all.iter().filter_map(cells).collect()
}

fn cells(message: &SimpleQueryMessage) -> Option<Vec<String>> {
    let SimpleQueryMessage::Row(row) = message else { return None };
    Some(cells_of(row))
}

fn cells_of(row: &SimpleQueryRow) -> Vec<String> {
    (0..row.len()).map(|at| row.get(at).unwrap_or("NULL").to_owned()).collect()
}

async fn refused(client: &Client, sql: &str) -> (SqlState, String) {
    let error = client.simple_query(sql).await.expect_err(sql);
    let error = error.as_db_error().expect("the server's own");
    (error.code().clone(), error.message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_kept_shown_and_refused() {
    let client = client().await;
    for (sql, want) in [
        ("SHOW server_version_num", "160006"),
        ("SHOW TIME ZONE", "UTC"),
        ("SET application_name = 'a b'; SHOW application_name", "a b"),
        ("SET statement_timeout TO '2 min'; SHOW statement_timeout", "2min"),
        ("SET statement_timeout = 1500; SHOW statement_timeout", "1500ms"),
        ("SELECT current_setting('statement_timeout')", "1500ms"),
        ("RESET statement_timeout; SHOW statement_timeout", "0"),
        ("SET extra_float_digits TO 3; SELECT current_setting('extra_float_digits')", "3"),
        ("SET my.own = 'x'; SHOW my.own", "x"),
        ("SELECT current_setting('no.such', true) IS NULL", "t"),
        ("SET NAMES 'utf8'; SHOW client_encoding", "UTF8"),
        ("SHOW transaction_isolation", "read committed"),
        ("SELECT current_setting('server_version_num')::int/100 AS version", "1600"),
        ("DISCARD ALL; SHOW application_name", ""),
    ] {
        assert_eq!(text(&client, sql).await, [[want]], "{sql}");
    }
    let all = text(&client, "SHOW ALL").await;
    assert!(all.iter().any(|row| row[..2] == ["TimeZone", "UTC"]), "{all:?}");
    // Prepared statements set and show, too.
    client.execute("SET TimeZone = 'Asia/Tokyo'", &[]).await.unwrap();
    let shown = client.query_one("SHOW timezone", &[]).await.unwrap();
    assert_eq!((shown.columns()[0].name(), shown.get::<_, &str>(0)), ("TimeZone", "Asia/Tokyo"));
    for (sql, state, want) in [
        (
            "SET nonsense = 1",
            SqlState::UNDEFINED_OBJECT,
            "unrecognized configuration parameter \"nonsense\"",
        ),
        (
            "SHOW nonsense",
            SqlState::UNDEFINED_OBJECT,
            "unrecognized configuration parameter \"nonsense\"",
        ),
        (
            "SET timezone = 'Middle/Earth'",
            SqlState::INVALID_PARAMETER_VALUE,
            "invalid value for parameter \"TimeZone\": \"Middle/Earth\"; it is a name like \
             Europe/Berlin, an offset like +02:00, or UTC",
        ),
        (
            "SET server_version = '17'",
            SqlState::READ_ONLY_SQL_TRANSACTION,
            "parameter \"server_version\" cannot be changed",
        ),
        (
            "SET datafusion.execution.batch_size = 1",
            SqlState::READ_ONLY_SQL_TRANSACTION,
            "datafusion.execution.batch_size is a setting of the engine and cannot be set from SQL",
        ),
        (
            "SET client_encoding = 'LATIN1'",
            SqlState::INVALID_PARAMETER_VALUE,
            "invalid value for parameter \"client_encoding\": \"LATIN1\"; it is UTF8: no other \
             encoding is spoken",
        ),
    ] {
        assert_eq!(refused(&client, sql).await, (state, want.to_owned()), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_sets_as_it_connects_is_set() {
    let port = serving(engine(&[FileRows::monotone(1, Vec::new())]).await).await;
    let connect = |more: &'static str| async move {
        let config = format!("host=127.0.0.1 port={port} user=me dbname=postgres {more}");
        tokio_postgres::connect(&config, NoTls).await
    };
    let more = "application_name=panel options='-c timezone=Europe/Berlin --statement-timeout=5s'";
    let (client, connection) = connect(more).await.unwrap();
    let told = |name: &str| connection.parameter(name).map(str::to_owned);
    assert_eq!(told("TimeZone").as_deref(), Some("Europe/Berlin"));
    assert_eq!(told("server_version").as_deref(), Some("16.6"));
    assert_eq!(told("session_authorization").as_deref(), Some("me"));
    tokio::spawn(connection);
    let shown = text(&client, "SHOW statement_timeout; SHOW application_name").await;
    assert_eq!(shown, [["5s"], ["panel"]]);
    // Those are what a reset goes back to.
    let reset = "SET timezone = 'UTC'; SET statement_timeout = 0; RESET ALL; SHOW timezone; \
                 DISCARD ALL; SHOW statement_timeout; RESET timezone; SHOW timezone";
    assert_eq!(text(&client, reset).await, [["Europe/Berlin"], ["5s"], ["Europe/Berlin"]]);
    let error = connect("options='-c timezone=Middle/Earth'").await.err().unwrap();
    assert!(error.as_db_error().unwrap().message().contains("Middle/Earth"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_changes_how_times_are_shown_cut_and_read() {
    let client = client().await;
    assert_eq!(
        text(&client, "SELECT time FROM gpu ORDER BY time").await,
        [["1970-01-01 22:30:00.000000+00"], ["1970-01-01 23:30:00.000000+00"]]
    );
    text(&client, "SET timezone = 'Europe/Berlin'").await;
    for (sql, want) in [
        ("SELECT min(time) FROM gpu", "1970-01-01 23:30:00.000000+01"),
        ("SELECT max(time)::text FROM gpu", "1970-01-02T00:30:00+01:00"),
        ("SELECT count(DISTINCT date_trunc('day', time)) FROM gpu", "2"),
        ("SELECT date_trunc('day', max(time)) FROM gpu", "1970-01-02 00:00:00.000000+01"),
        ("SELECT extract(hour FROM min(time)) FROM gpu", "23"),
        ("SELECT extract(epoch FROM min(time)) FROM gpu", "81000.0"),
        ("SELECT max(time)::date FROM gpu", "1970-01-02"),
        ("SELECT count(*) FROM gpu WHERE time >= '1970-01-02 00:00:00'", "1"),
        ("SELECT count(*) FROM gpu WHERE time >= '1970-01-02 00:00:00Z'", "0"),
        ("SELECT count(*) FROM gpu WHERE time BETWEEN '1970-01-01' AND '1970-01-02'", "1"),
        ("SELECT count(*) FROM gpu WHERE time >= TIMESTAMPTZ '1970-01-02 00:00:00'", "1"),
        ("SELECT count(*) FROM gpu WHERE time >= DATE '1970-01-02'", "1"),
        ("SELECT count(*) FROM gpu WHERE time >= TIMESTAMP '1970-01-02 00:00:00'", "1"),
        ("SELECT count(*) FROM gpu WHERE time = (time::timestamp)::timestamptz", "2"),
        ("SELECT count(*) FROM gpu WHERE time < current_date AND time < now()", "2"),
    ] {
        assert_eq!(text(&client, sql).await, [[want]], "{sql}");
    }
    // Another connection's statement of the same text has another plan.
    text(&client, "RESET timezone").await;
    let days = "SELECT count(DISTINCT date_trunc('day', time)) FROM gpu";
    assert_eq!(text(&client, days).await, [["1"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_for_a_transaction_goes_with_it() {
    let client = client().await;
    let zone = "SHOW timezone";
    text(&client, "BEGIN; SET LOCAL timezone = 'Asia/Tokyo'; SET work_mem = '1MB'").await;
    assert_eq!(text(&client, zone).await, [["Asia/Tokyo"]]);
    assert_eq!(text(&client, "COMMIT; SHOW timezone; SHOW work_mem").await, [["UTC"], ["1MB"]]);
    let mixed = "BEGIN; SET LOCAL my.a = '1'; SET my.a = '2'; SET my.b = '1'; SET LOCAL my.b = '2'; \
                 SHOW my.b; COMMIT; SHOW my.a; SHOW my.b; RESET my.a; RESET my.b";
    assert_eq!(text(&client, mixed).await, [["2"], ["2"], ["1"]]);
    text(&client, "BEGIN; SET timezone = 'Asia/Tokyo'; SET my.own = 'x'; ROLLBACK").await;
    assert_eq!(text(&client, zone).await, [["UTC"]]);
    assert_eq!(refused(&client, "SHOW my.own").await.0, SqlState::UNDEFINED_OBJECT);
    let long = format!("SET my.own = '{}'", "x".repeat(5_000));
    assert_eq!(refused(&client, &long).await.0, SqlState::INVALID_PARAMETER_VALUE);
    for number in 0..64 {
        text(&client, &format!("SET my.s{number} = 'x'")).await;
    }
    assert_eq!(refused(&client, "SET my.more = 'x'").await.0, SqlState::OUT_OF_MEMORY);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_path_leads_to_the_last_rows() {
    let client = client().await;
    let count = "SELECT count(*) FROM gpu";
    assert_eq!(text(&client, count).await, [["2"]]);
    text(&client, "SET search_path = latest, public").await;
    assert_eq!(text(&client, count).await, [["1"]]);
    assert_eq!(text(&client, "SELECT count(*) FROM public.gpu").await, [["2"]]);
    text(&client, "SET search_path = \"$user\", public").await;
    assert_eq!(text(&client, count).await, [["2"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_answers_nothing_but_its_end() {
    let client = client().await;
    text(&client, "BEGIN; SELECT 1").await;
    assert_eq!(refused(&client, "SELECT nonsense FROM gpu").await.0, SqlState::UNDEFINED_COLUMN);
    let (state, why) = refused(&client, "SELECT 1").await;
    assert_eq!(state, SqlState::IN_FAILED_SQL_TRANSACTION);
    assert!(why.starts_with("current transaction is aborted"), "{why}");
    let tags = client.simple_query("COMMIT").await.unwrap();
    assert!(matches!(tags[..], [SimpleQueryMessage::CommandComplete(0)]), "{tags:?}");
    assert_eq!(text(&client, "SELECT 1").await, [["1"]]);
    // Back to a savepoint it goes on.
    text(&client, "BEGIN; SAVEPOINT a").await;
    assert_eq!(refused(&client, "SELECT nonsense FROM gpu").await.0, SqlState::UNDEFINED_COLUMN);
    assert_eq!(text(&client, "ROLLBACK TO a; SELECT 1; COMMIT").await, [["1"]]);
    // Statements of one text see what those before them did.
    let several = "BEGIN; DECLARE c CURSOR FOR SELECT 7; FETCH 1 FROM C; COMMIT; BEGIN; SELECT 8";
    assert_eq!(text(&client, several).await, [["7"], ["8"]]);
    assert_eq!(refused(&client, "SELECT nonsense FROM gpu").await.0, SqlState::UNDEFINED_COLUMN);
    assert_eq!(text(&client, "ROLLBACK; SELECT 9").await, [["9"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_before_one_that_fails_are_answered() {
    let client = client().await;
    let messages = client.simple_query_raw("SELECT 1; SELECT 2; SELECT nonsense; SELECT 3").await;
    let messages = messages.unwrap();
    pin_mut!(messages);
    let (mut rows, mut error) = (Vec::new(), None);
    while let Some(message) = messages.next().await {
        match message {
            Ok(message) => rows.extend(cells(&message)),
            Err(failed) => error = failed.code().cloned(),
        }
    }
    assert_eq!(
        (rows, error),
        (vec![vec!["1".to_owned()], vec!["2".to_owned()]], Some(SqlState::UNDEFINED_COLUMN))
    );
    assert!(text(&client, "-- ping").await.is_empty());
    assert!(text(&client, ";;").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_give_rows_some_at_a_time() {
    let mut client = client().await;
    let outside = refused(&client, "DECLARE c CURSOR FOR SELECT 1").await;
    assert_eq!(outside.0, SqlState::NO_ACTIVE_SQL_TRANSACTION);
    text(&client, "BEGIN").await;
    text(&client, &format!("DECLARE c CURSOR FOR {MANY}")).await;
    let mut seen = HashSet::new();
    for (fetch, rows) in [("NEXT", 1), ("1000", 1_000), ("FORWARD 2", 2), ("100000", 100_000)] {
        let fetched = text(&client, &format!("FETCH {fetch} FROM c")).await;
        assert_eq!(fetched.len(), rows, "{fetch}");
        seen.extend(fetched.into_iter().map(|mut row| row.swap_remove(0)));
    }
    assert_eq!(seen.len(), 101_003, "each row once");
    let (state, why) = refused(&client, "DECLARE c CURSOR FOR SELECT 1").await;
    assert_eq!((state, &*why), (SqlState::DUPLICATE_CURSOR, "cursor \"c\" already exists"));
    text(&client, "ROLLBACK").await;
    assert_eq!(refused(&client, "FETCH 1 FROM c").await.0, SqlState::INVALID_CURSOR_NAME);

    // The extended protocol, with parameters; a cursor with hold outlasts its transaction.
    let transaction = client.transaction().await.unwrap();
    let declare = "DECLARE h CURSOR WITH HOLD FOR SELECT gpu, power FROM gpu WHERE node = $1";
    transaction.execute(declare, &[&"n0"]).await.unwrap();
    transaction.commit().await.unwrap();
    let rows = client.query("FETCH ALL FROM h", &[]).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0].get::<_, &str>("gpu"), rows[0].get::<_, f64>("power")), ("1", 699.123));
    assert!(client.query("FETCH ALL FROM h", &[]).await.unwrap().is_empty());
    text(&client, "CLOSE h").await;
    assert_eq!(refused(&client, "CLOSE h").await.0, SqlState::INVALID_CURSOR_NAME);
}

#[tokio::test(flavor = "multi_thread")]
async fn portals_give_so_many_rows_and_then_the_next() {
    let mut client = client().await;
    let statement = client.prepare(MANY).await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind(&statement, &[]).await.unwrap();
    let mut seen = HashSet::new();
    for rows in [1_000, 1, 10_000] {
        let given = transaction.query_portal(&portal, rows).await.unwrap();
        seen.extend(given.iter().map(|row| row.get::<_, i64>(0)));
    }
    assert_eq!(seen.len(), 11_001, "each row once");
    drop(portal);
    transaction.commit().await.unwrap();
    assert_eq!(text(&client, "SELECT 1").await, [["1"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_on_their_way_are_sent_as_they_come_and_stop_at_a_cancel() {
    let client = client().await;
    let cancel = client.cancel_token();
    let rows = client.query_raw(MANY, std::iter::empty::<i32>()).await.unwrap();
    pin_mut!(rows);
    for _ in 0..10_000 {
        rows.next().await.unwrap().unwrap();
    }
    cancel.cancel_query(NoTls).await.unwrap();
    let error = loop {
        if let Err(error) = rows.next().await.expect("it is far from its end") {
            break error;
        }
    };
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
    assert!(error.as_db_error().unwrap().message().contains("user request"), "{error:?}");
    assert_eq!(text(&client, "SELECT 1").await, [["1"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_information_schema_has_postgresqls_types() {
    let client = client().await;
    let columns = "SELECT column_name, data_type, udt_name, is_nullable, ordinal_position \
                   FROM information_schema.columns \
                   WHERE table_schema = 'public' AND table_name = 'gpu' ORDER BY ordinal_position";
    let want = [
        ["time", "timestamp with time zone", "timestamptz", "NO", "1"],
        ["node", "text", "text", "NO", "2"],
        ["gpu", "text", "text", "NO", "3"],
        ["model", "text", "text", "YES", "4"],
        ["util", "bigint", "int8", "YES", "5"],
        ["energy", "bigint", "int8", "YES", "6"],
        ["power", "double precision", "float8", "YES", "7"],
        ["active", "double precision", "float8", "YES", "8"],
        ["temp", "double precision", "float8", "YES", "9"],
    ];
    assert_eq!(text(&client, columns).await, want);
    let tables = "SELECT table_schema, table_name, table_type FROM information_schema.tables \
                  WHERE table_name IN ('gpu', 'metrics') ORDER BY 1, 2";
    let want =
        [["latest", "gpu", "VIEW"], ["public", "gpu", "BASE TABLE"], ["system", "metrics", "VIEW"]];
    assert_eq!(text(&client, tables).await, want);
    let schemas = "SELECT schema_name FROM information_schema.schemata ORDER BY 1";
    let want = [["information_schema"], ["latest"], ["pg_catalog"], ["public"], ["system"]];
    assert_eq!(text(&client, schemas).await, want);
    for none in ["views", "referential_constraints"] {
        let sql = format!("SELECT * FROM information_schema.{none}");
        assert!(text(&client, &sql).await.is_empty(), "{none}");
    }
    let shown = text(&client, "SHOW COLUMNS FROM public.gpu").await;
    assert_eq!(shown.len(), 9);
    assert!(text(&client, "SHOW TABLES").await.iter().any(|row| row.contains(&"gpu".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresqls_words_are_read() {
    let client = client().await;
    for (sql, want) in [
        (
            "SELECT 'a_b' LIKE 'a/_b' ESCAPE '/', 'axb' LIKE 'a/_b' ESCAPE '/'",
            ["t", "f"].as_slice(),
        ),
        ("SELECT array_agg(DISTINCT gpu) FROM gpu", &["{1}"]),
        ("SELECT set_config('jit', 'off', false), pg_is_in_recovery()", &["off", "f"]),
        ("SELECT split_part(version(), ' ', 1)", &["PostgreSQL"]),
        (
            "SELECT count(*) FROM pg_class c WHERE relname = 'gpu' AND pg_table_is_visible(c.oid)",
            &["1"],
        ),
    ] {
        assert_eq!(text(&client, sql).await, [want], "{sql}");
    }
    let (_, why) = refused(&client, "SELECT set_config('timezone', 'UTC', false)").await;
    assert!(why.contains("set_config cannot set timezone: use SET"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_tells_a_connection_of_itself() {
    let client = client().await;
    let role = "SELECT current_user, rolname, pg_get_userbyid(c.relowner), c.oid::regclass \
                FROM pg_roles r JOIN pg_class c ON c.relowner = r.oid WHERE c.relname = 'gpu' \
                ORDER BY 4";
    let gpu = |name| ["warpline", "warpline", "warpline", name];
    assert_eq!(text(&client, role).await, [gpu("gpu"), gpu("latest.gpu")]);
    client.batch_execute("SET search_path = latest; BEGIN").await.unwrap();
    assert_eq!(text(&client, role).await, [gpu("gpu"), gpu("public.gpu")]);
    client.batch_execute("DECLARE \"Mine\" CURSOR FOR SELECT 1").await.unwrap();
    assert_eq!(text(&client, "SELECT name FROM pg_cursors").await, [["Mine"]]);
    client.batch_execute("COMMIT").await.unwrap();
    assert!(text(&client, "SELECT name FROM pg_cursors").await.is_empty());
    let path = "SELECT setting, current_schema() FROM pg_settings WHERE name = 'search_path'";
    assert_eq!(text(&client, path).await, [["latest", "latest"]]);
    let prepared = client.prepare("SELECT $1::regclass::oid::text, $1::text").await.unwrap();
    let rows = client.query(&prepared, &[&"pg_class"]).await.unwrap();
    assert_eq!(rows[0].get::<_, &str>(0), "1259");
    let (code, why) = refused(&client, "SELECT 'gup'::regclass").await;
    assert_eq!((code.code(), why.as_str()), ("42P01", "relation \"gup\" does not exist"));
}

/// Every statement that Grafana sends of itself is answered.
#[tokio::test(flavor = "multi_thread")]
async fn grafanas_own_statements_are_answered() {
    let folder = std::env::var("WARPLINE_TEST_DATA").unwrap_or_default();
    let file = std::path::Path::new(&folder).join("grafana-sql/01-meta.sql");
    let Ok(statements) = std::fs::read_to_string(&file) else {
        eprintln!("NOT TESTED: Grafana's statements; WARPLINE_TEST_DATA has no {}", file.display());
        return;
    };
    let client = client().await;
    let mut answers = Vec::new();
    for statement in statements.split("\n--;;") {
        let told = ["-- case:", "-- proto:", "-- Statements"];
        let is_sql = |line: &&str| !told.iter().any(|start| line.starts_with(start));
        let sql: Vec<&str> = statement.trim().lines().filter(is_sql).collect();
        if !sql.is_empty() {
            answers.push(text(&client, &sql.join("\n").replace("gpu_metrics", "gpu")).await);
        }
    }
    let [ping, version, timescale, tables, columns, ..] = &answers[..] else {
        panic!("{} statements", answers.len())
    };
    assert_eq!((ping.len(), timescale.len()), (0, 0));
    assert_eq!(version, &[["1600"]]);
    assert_eq!(tables[0], ["gpu"], "first what needs no schema: {tables:?}");
    let times = ["time", "timestamp with time zone"].map(str::to_owned).to_vec();
    assert!(columns.contains(&times), "{columns:?}");
    let power = ["power", "double precision"].map(str::to_owned).to_vec();
    assert!(columns.contains(&power), "{columns:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_lines_csv_or_binary() {
    let client = client().await;
    let copied = |sql: &'static str| {
        let client = &client;
        async move {
            let bytes = client.copy_out(sql).await.unwrap();
            pin_mut!(bytes);
            let mut all = Vec::new();
            while let Some(some) = bytes.next().await {
                all.extend_from_slice(&some.unwrap());
            }
            all
        }
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let plain = "COPY (SELECT 'a\tb', 'say \"hi\", you', NULL::text, 1.5) TO STDOUT";
    assert_eq!(text(copied(plain).await), "a\\tb\tsay \"hi\", you\t\\N\t1.5\n");
    let csv = "COPY (SELECT gpu, util, power, model FROM gpu ORDER BY time) \
               TO STDOUT WITH (FORMAT csv, HEADER true)";
    assert_eq!(text(copied(csv).await), "gpu,util,power,model\n1,50,699.123,\n1,50,699.123,\n");
    let quoted = "COPY (SELECT 'say \"hi\", you' AS \"a,b\", 2 AS c) TO STDOUT CSV HEADER";
    assert_eq!(text(copied(quoted).await), "\"a,b\",c\n\"say \"\"hi\"\", you\",2\n");
    assert_eq!(copied("COPY gpu (util) TO STDOUT").await, b"50\n50\n");
    let empty = "COPY (SELECT '', NULL::text, 'x' AS c) TO STDOUT (FORMAT csv, FORCE_QUOTE (c))";
    assert_eq!(text(copied(empty).await), "\"\",,\"x\"\n");
    let own = "COPY (SELECT 'a;b', NULL::text) TO STDOUT (DELIMITER ';', NULL 'nil')";
    assert_eq!(text(copied(own).await), "a\\;b;nil\n");
    let none = copied("COPY (SELECT 1 WHERE false) TO STDOUT (FORMAT binary)").await;
    assert_eq!((none.len(), &none[19..]), (21, &[0xff, 0xff][..]));
    let binary = copied("COPY (SELECT 7::bigint) TO STDOUT (FORMAT binary)").await;
    assert!(binary.starts_with(b"PGCOPY\n\xff\r\n\0") && binary.ends_with(&[7, 0xff, 0xff]));
    let many = text(copied("COPY (SELECT value FROM generate_series(1, 100000)) TO STDOUT").await);
    assert_eq!(many.lines().count(), 100_000);
    for (sql, state) in [
        ("COPY gpu TO '/tmp/x'", SqlState::READ_ONLY_SQL_TRANSACTION),
        ("COPY gpu TO PROGRAM 'cat'", SqlState::READ_ONLY_SQL_TRANSACTION),
        ("COPY gpu FROM STDIN", SqlState::READ_ONLY_SQL_TRANSACTION),
        ("COPY (SELECT nonsense FROM gpu) TO STDOUT", SqlState::UNDEFINED_COLUMN),
        ("COPY gpu TO STDOUT (FORMAT parquet)", SqlState::SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION),
    ] {
        assert_eq!(refused(&client, sql).await.0, state, "{sql}");
    }
    assert_eq!(self::text(&client, "SELECT 1").await, [["1"]]);
}

/// Clients count parameters themselves, so these are the bytes: the connection's beginning, then
/// Parse, Bind with one parameter, Sync and Terminate.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_statement_takes_no_parameters() {
    let port = serving(engine(&[]).await).await;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"\0\0\0\x17\0\x03\0\0user\0warpline\0\0").await.unwrap();
    stream.write_all(b"P\0\0\0\x08\0\0\0\0").await.unwrap();
    let bind = b"B\0\0\0\x11\0\0\0\0\0\x01\0\0\0\x01x\0\0";
    stream.write_all(bind).await.unwrap();
    stream.write_all(b"S\0\0\0\x04X\0\0\0\x04").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let refusal = "bind message supplies 1 parameters, but the statement requires 0";
    assert!(answer.contains("C08P01\0") && answer.contains(refusal), "{answer}");
}
