//! `warpline export`: what is in the file is what is in the table, or there is no file.

use crate::server::{BINARY, Server};
use std::path::Path;
use std::process::{Command, Output};

fn export(server: &Server, arguments: &[&str], file: &Path) -> Output {
    let url = server.url();
    let to = ["export", "--server", url.as_str()];
    Command::new(BINARY).args(to).args(arguments).arg(file).output().expect("the binary starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_leaves_as_a_file_and_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("WARPLINE_RETENTION_RAW", "forever")];
    let server = Server::start(&folder.path().join("data"), &settings).await;
    let line = |n: i64| {
        let (host, seconds) = (n % 7, 1_795_000_000 + n);
        format!("disk,host=h{host} used={n}.5,free={n}i {seconds}000000000")
    };
    let lines = (0..5_000).map(line).collect::<Vec<_>>().join("\n");
    let url = server.url().join("write").expect("a URL");
    let written = reqwest::Client::new().post(url).body(lines).send().await.expect("an answer");
    assert_eq!(written.status(), 204);

    let parquet = folder.path().join("disk.parquet");
    let done = export(&server, &["--table", "disk"], &parquet);
    assert!(String::from_utf8_lossy(&done.stdout).starts_with("5000 rows, "), "{}", said(&done));
    let imported = Command::new(BINARY)
        .args(["import", "--server", server.url().as_str(), "--table", "back", "--time", "time"])
        .args(["--identity", "host", "--skip", "more_tags"])
        .arg(&parquet)
        .output()
        .expect("the binary starts");
    assert!(imported.status.success(), "{}", said(&imported));
    let facts = |table: &str| {
        let facts = "count(*), count(DISTINCT host), min(time), max(time), sum(used), sum(free)";
        server.sql(&format!("SELECT {facts} FROM {table}"))
    };
    assert_eq!(facts("back"), facts("disk"));

    let csv = folder.path().join("some.csv");
    let range = ["--from", "2026-11-18T11:06:40Z", "--to", "2026-11-18T11:06:50Z"];
    let done = export(&server, &[&["--table", "disk"], &range[..]].concat(), &csv);
    assert!(done.status.success(), "{}", said(&done));
    let text = std::fs::read_to_string(&csv).expect("the file");
    let ten = server.number(
        "SELECT count(*) FROM disk WHERE time >= '2026-11-18T11:06:40Z' AND time < '2026-11-18T11:06:50Z'",
    );
    assert_eq!(text.lines().count() as i64, 1 + ten);
    assert!(text.starts_with("time,"), "{text}");

    let again = export(&server, &["--sql", "SELECT 1"], &csv);
    assert!(said(&again).contains("--replace"), "{}", said(&again));
    assert_eq!(std::fs::read_to_string(&csv).expect("the file"), text);
    let broken = folder.path().join("broken.csv");
    let refused = export(&server, &["--sql", "SELECT nonsense FROM disk"], &broken);
    assert!(said(&refused).contains("nonsense"), "{}", said(&refused));
    let late = "SELECT 1 / (value - 200000) FROM generate_series(1, 300000)";
    let refused = export(&server, &["--sql", late], &broken);
    assert!(!refused.status.success());
    let left = std::fs::read_dir(folder.path()).expect("the folder");
    let left: Vec<_> = left.map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("broken")), "{left:?}");
}
