//! Real traces through `warpline import`, answered as DuckDB answers over the CSV itself.

use crate::clients::{check, python};
use crate::server::{BINARY, RESTLESS, Server};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A trace and how its columns are told apart.
struct Trace {
    file: &'static str,
    table: &'static str,
    identity: &'static str,
    attributes: &'static str,
}

const TRACES: [Trace; 2] = [
    Trace {
        file: "mlperf-training-v4.0-smc-64xH100node-gpt3-nodepower.csv.gz",
        table: "node_power",
        identity: "run,node",
        attributes: "system,benchmark",
    },
    Trace {
        file: "zhejianglab-a100cluster-leafswitch-ports-leaf1.csv.gz",
        table: "switch_port",
        identity: "device,port",
        attributes: "",
    },
];

/// The real traces, in the folder that `WARPLINE_TEST_DATA` names.
fn traces() -> Option<PathBuf> {
    let data = std::env::var_os("WARPLINE_TEST_DATA").map(PathBuf::from);
    let traces = data.map(|data| data.join("traces")).filter(|traces| traces.is_dir());
    if traces.is_none() {
        eprintln!("NOT TESTED: no folder traces; set WARPLINE_TEST_DATA");
    }
    traces
}

fn import(server: &Server, trace: &Trace, file: &Path) {
    let mut command = Command::new(BINARY);
    command.args(["import", "--server", server.url().as_str(), "--table", trace.table]);
    command.args(["--time", "time_ms", "--time-unit", "ms", "--identity", trace.identity]);
    if !trace.attributes.is_empty() {
        command.args(["--attributes", trace.attributes]);
    }
    let output = command.arg(file).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", file.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_answered_as_duckdb_answers() {
    let (Some(python), Some(traces)) = (python(), traces()) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("data"), &RESTLESS).await;
    for trace in &TRACES {
        let file = traces.join(trace.file);
        import(&server, trace, &file);
        let table = || server.number(&format!("SELECT count(*) FROM {}", trace.table));
        let rows = table();
        import(&server, trace, &file);
        assert_eq!(table(), rows, "the same file again changes nothing");
        let arguments = [
            file.display().to_string(),
            trace.table.to_owned(),
            trace.identity.to_owned(),
            server.postgres().to_string(),
        ];
        check(&python, "imported.py", arguments.into()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parquet_comes_back_as_it_was() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("data"), &RESTLESS).await;
    let file = folder.path().join("made.parquet").display().to_string();
    check(&python, "parquet_file.py", vec!["write".into(), file.clone()]).await;
    let output = Command::new(BINARY)
        .args(["import", "--server", server.url().as_str(), "--table", "made"])
        .args(["--time", "at", "--identity", "node", &file])
        .output()
        .expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let port = server.postgres().to_string();
    check(&python, "parquet_file.py", vec!["check".into(), file, port]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_fails_the_import() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("data"), &RESTLESS).await;
    let file = folder.path().join("power.csv");
    // Milliseconds that are taken for seconds lie in the future, all but the last.
    std::fs::write(&file, "at,node,watts\n1717243200000,a,1\n1717243201000,a,2\n1717243202,a,3\n")
        .expect("a written file");
    let output = Command::new(BINARY)
        .args(["import", "--server", server.url().as_str(), "--table", "power"])
        .args(["--time", "at", "--time-unit", "s", "--identity", "node"])
        .arg(&file)
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(said.contains("of 3 rows for power the server refused 2 rows (time: "), "{said}");
    assert_eq!(server.number("SELECT count(*) FROM power"), 1);
}
