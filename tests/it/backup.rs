//! The real binary backs up a server that is written to, restores it and verifies it; the restored
//! store takes what the same producer sends.

use crate::audit::{self, ROWS, TABLE};
use crate::kill::check_all;
use crate::server::{BINARY, Server};
use crate::torture::{Feed, MERGING};
use std::path::Path;
use std::process::{Command, Output};

/// Runs the binary with a data folder.
fn warpline(arguments: &[&str], data: &Path) -> Output {
    Command::new(BINARY)
        .args(arguments)
        .arg("--data")
        .arg(data)
        .env("WARPLINE_RETENTION_RAW", "forever")
        .output()
        .expect("the binary starts")
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// The position that the backup says a table covers.
fn covered(backup: &str) -> u64 {
    let line = backup.lines().find(|line| line.starts_with(&format!("{TABLE}:")));
    let (_, position) = line.and_then(|line| line.rsplit_once(' ')).expect("the table's line");
    position.parse().expect("a position")
}

fn assert_clean(data: &Path) {
    let check = warpline(&["check"], data);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_is_backed_up_and_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (data, target, restored) = (path("data"), path("backup"), path("restored"));
    let mut settings = MERGING;
    settings[7] = ("WARPLINE_MAINTENANCE_DELETE_AFTER", "2s");
    let mut server = Server::start(&data, &settings).await;
    let feed = Feed::start(server.url(), &path("journal"));
    while server.metric("warpline_merges_total").await < 5 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let to = target.to_str().expect("text");
    let made = warpline(&["backup", to], &data);
    assert!(made.status.success(), "{}", text(&made));
    assert!(text(&made).contains("the server is running"), "{}", text(&made));
    assert_clean(&data);
    let last = feed.finish().await;
    check_all(&mut server, &data, last).await;
    assert_clean(&data);

    let back = warpline(&["restore", to], &restored);
    assert!(back.status.success(), "{}", text(&back));
    assert_clean(&restored);
    let covered = covered(&text(&made));
    assert!(covered > 0 && covered <= last);
    let mut server = Server::start(&restored, &settings).await;
    let asked = format!("SELECT count(*), sum(frame), max(frame) FROM {TABLE}");
    let rows = (covered * ROWS).to_string();
    let wanted = [rows, audit::sum_of_frames(covered).to_string(), covered.to_string()];
    assert_eq!(server.sql(&asked), [wanted]);
    // The log is new: the producer sends all that it has, and nothing is there twice.
    audit::produce(server.url(), last, &path("again")).await;
    let wanted =
        [(last * ROWS).to_string(), audit::sum_of_frames(last).to_string(), last.to_string()];
    assert_eq!(server.sql(&asked), std::slice::from_ref(&wanted));
    server.stop().await;
    assert_clean(&restored);

    // Without a server the log is in the backup, and the producer goes on where it was.
    let made = warpline(&["backup", to], &data);
    assert!(text(&made).contains("the log is in it"), "{}", text(&made));
    let second = path("second");
    let back = warpline(&["restore", to], &second);
    assert!(back.status.success(), "{}", text(&back));
    let mut server = Server::start(&second, &settings).await;
    assert_eq!(server.sql(&asked), [wanted]);
    audit::produce(server.url(), last + 100, &path("on")).await;
    check_all(&mut server, &second, last + 100).await;
    assert_clean(&second);
}

#[test]
fn check_says_by_its_status_what_it_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = folder.path().join("nowhere");
    let check = warpline(&["check"], &nowhere);
    assert_eq!(check.status.code(), Some(2), "{}", text(&check));
    assert!(!nowhere.exists(), "nothing is made");
    let table = folder.path().join("store/gpu/_delta_log");
    std::fs::create_dir_all(&table).expect("a folder");
    std::fs::write(table.join("00000000000000000000.json"), "no JSON").expect("a file");
    let check = warpline(&["check"], folder.path());
    assert_eq!(check.status.code(), Some(1), "{}", text(&check));
    let said = text(&check);
    assert!(said.contains("table log") && said.contains("what to do"), "{said}");
    let refused = warpline(&["restore", "/nowhere/at/all"], &folder.path().join("new"));
    assert!(!refused.status.success() && text(&refused).contains("no folder"), "{refused:?}");
}
