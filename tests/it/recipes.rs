//! The recipes of `docs/offline.md` over a store that the real binary filled: three hours of a
//! simulated fleet, merged and with both rollups, and then late rows that no merge has resolved.
//! All programs agree with each other and with the server, over the folder and over a backup on S3.

use crate::clients::{check, python};
use crate::server::{BINARY, Server};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use url::Url;

const FLUSHED_WITHIN: Duration = Duration::from_mins(1);

/// Rows from here on are behind the end of every rollup.
const LATE: &str = "2024-06-02T01:09:30Z";

/// Files stay as they were flushed, but for what `warpline compact` does.
const SETTINGS: [(&str, &str); 5] = [
    ("WARPLINE_STORAGE_FLUSH_INTERVAL", "200ms"),
    ("WARPLINE_STORAGE_SEGMENT_SIZE", "8MiB"),
    ("WARPLINE_RETENTION_RAW", "forever"),
    ("WARPLINE_RETENTION_MINUTE", "forever"),
    ("WARPLINE_MAINTENANCE_BACKGROUND", "false"),
];

/// Runs the binary, which must end well.
fn warpline(arguments: &[&str]) {
    let mut command = Command::new(BINARY);
    let output = command.args(arguments).envs(SETTINGS).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
}

/// Ends before midnight and goes on after it: days and hours have neighbours.
async fn feed(server: &Server) {
    let (url, start) = (server.url().to_string(), "2024-06-01T22:00:00Z");
    let fleet = ["simulate", "--server", &url, "--gpus", "16", "--interval", "2s"];
    let time = ["--start", start, "--duration", "190m", "--speed", "max"];
    warpline(&[fleet.as_slice(), time.as_slice()].concat());
    flushed(server).await;
}

async fn flushed(server: &Server) {
    let asked = Instant::now();
    while server.metric("warpline_buffer_bytes").await > 0 {
        assert!(asked.elapsed() < FLUSHED_WITHIN, "rows stay in the buffer:\n{}", server.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Writes one field, and the job where one is told, of the rows whose keys a statement selects.
async fn write_again(server: &Server, folder: &Path, field: &str, of_type: &str, selected: &str) {
    let file = folder.join(format!("{field}.csv"));
    let rows = server.sql(&format!(
        "SELECT time, {selected} FROM gpu WHERE time >= '{LATE}' AND node = 'node-00000'"
    ));
    assert!(!rows.is_empty(), "{selected}");
    let mut text = format!("time,cluster,node,gpu,job,{field}\n");
    for row in rows {
        text += &row.join(",");
        text.push('\n');
    }
    std::fs::write(&file, text).expect("a written file");
    let (url, types) = (server.url().to_string(), format!("{field}={of_type}"));
    let file = file.to_str().expect("text");
    let into = ["import", "--server", &url, "--table", "gpu", "--time", "time"];
    let roles = ["--identity", "cluster,node,gpu", "--attributes", "job", "--types", &types, file];
    warpline(&[into.as_slice(), roles.as_slice()].concat());
    flushed(server).await;
}

/// A backup of the store in a bucket of its own, and there its tables.
async fn back_up(s3: &str, data: &Path) -> String {
    let bucket = format!("recipes-{}", uuid::Uuid::new_v4().simple());
    let url = Url::parse(s3).expect("a URL").join(&bucket).expect("a URL");
    let answer = reqwest::Client::new().put(url).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{answer:?}");
    let target = format!("s3://{bucket}/copy");
    let options = [
        format!("aws_endpoint={s3}"),
        "aws_region=us-east-1".to_owned(),
        "aws_access_key_id=test".to_owned(),
        "aws_secret_access_key=test".to_owned(),
        "aws_allow_http=true".to_owned(),
    ];
    let mut arguments = vec!["backup", target.as_str(), "--data", data.to_str().expect("text")];
    for option in &options {
        arguments.extend(["--option", option.as_str()]);
    }
    warpline(&arguments);
    format!("{target}/store")
}

#[tokio::test(flavor = "multi_thread")]
async fn recipes_agree_with_each_other_and_the_server() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut server = Server::start(&data, &SETTINGS).await;
    feed(&server).await;
    server.stop().await;
    warpline(&["compact", "--data", data.to_str().expect("text")]);
    server.restart().await;
    // Other values under keys that are there, twice under some, and a GPU that has no cluster.
    let first = "cluster, node, gpu, CASE WHEN gpu <= '3' THEN 'late' END, gpu::bigint + 70";
    write_again(&server, folder.path(), "gpu_util", "int8", first).await;
    let second = "CASE WHEN gpu <= '5' THEN cluster ELSE '' END, node, gpu, NULL, 123.456";
    write_again(&server, folder.path(), "power_usage", "decimal(9,3)", second).await;
    let late = "SELECT count(*) FROM system.files WHERE \"table\" = 'gpu' AND kind = 'late'";
    assert!(server.number(late) > 0, "late rows are in files of their own");

    let mut arguments = vec![data.join("store").display().to_string()];
    if let Ok(s3) = std::env::var("WARPLINE_TEST_S3") {
        arguments.push(back_up(&s3, &data).await);
    } else {
        eprintln!("NOT TESTED: recipes on S3; WARPLINE_TEST_S3 is not set");
    }
    arguments.extend(["--postgres".to_owned(), server.postgres().to_string()]);
    check(&python, "recipes.py", arguments).await;
    server.stop().await;
}
