//! The README's first command: what it shows, that a second run goes on, that it ends.

use crate::server::{BINARY, Server, free_port, rows_in_files};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

fn demo(data: &Path, http: u16) -> Output {
    Command::new(BINARY)
        .args(["demo", "--gpus", "24", "--hours", "0.05", "--for", "3s", "--data"])
        .arg(data)
        .args(["--listen", &format!("127.0.0.1:{http}")])
        .args(["--postgres", &format!("127.0.0.1:{}", free_port())])
        .output()
        .expect("the binary starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_demo_goes_on_without_doubling() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    for run in ["first", "second"] {
        let output = demo(&data, free_port());
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{run}: {said}\n{complained}");
        assert_eq!(said.matches("\n-- ").count(), 3, "three queries: {said}");
        assert_eq!(said.matches(" ms)").count(), 3, "three answers: {said}");
        assert!(said.contains("psql -h 127.0.0.1 -p "), "{said}");
        assert_eq!(said.contains("going on after"), run == "second", "{said}");
    }
    let mut server = Server::start(&data, &[]).await;
    let rows = server.number("SELECT count(*) FROM gpu");
    let keys = "SELECT count(*) FROM (SELECT DISTINCT node, gpu, time FROM gpu)";
    assert_eq!(server.number(keys), rows);
    // Two runs of a few seconds and 180 seconds of the past, 24 GPUs, few scrapes missed.
    assert!((180 * 22..300 * 24).contains(&rows), "{rows} rows");
    server.stop().await;
    assert_eq!(rows_in_files(&data, "gpu").await, rows.cast_unsigned());
}

#[test]
fn a_taken_port_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let output = demo(folder.path(), taken.local_addr().expect("its address").port());
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(complained.contains("--listen"), "{complained}");
}
