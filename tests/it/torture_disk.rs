//! Disks that fill up and disks that fail, under the real server.

use crate::audit;
use crate::kill::check_acknowledged;
use crate::server::Server;
use crate::torture::{Feed, MERGING, audit_all};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A file system of a few MiB in memory; `None` where this user may not mount one.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(crate) fn mount(path: &Path) -> Option<Self> {
        std::fs::create_dir_all(path).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(path);
        if mount.output().is_ok_and(|done| done.status.success()) {
            return Some(Self(path.to_owned()));
        }
        eprintln!("NOT TESTED: a disk that fills up; mounting a tmpfs needs root");
        None
    }

    /// Takes all the room there is, beside what it has taken.
    pub(crate) fn fill(&self) {
        let ballast = File::options().append(true).create(true).open(self.0.join("ballast"));
        let mut ballast = ballast.expect("a file");
        let mut chunk = 64 << 10;
        while chunk > 0 {
            match ballast.write(&vec![1; chunk]) {
                Ok(written) if written > 0 => {}
                _ => chunk /= 2,
            }
        }
    }

    pub(crate) fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).expect("the ballast");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// Takes the room that the server frees as well, until it has met a full disk.
async fn fill_until_met(disk: &SmallDisk, server: &Server, sign: &str) {
    let before = server.metric(sign).await;
    while server.metric(sign).await <= before {
        disk.fill();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The journal's last frame once it has stopped growing.
async fn standstill(journal: &Path) -> u64 {
    let mut last = audit::acknowledged(journal);
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = audit::acknowledged(journal);
        if now == last {
            return now;
        }
        last = now;
    }
}

async fn until_acknowledged(journal: &Path, frame: u64) {
    while audit::acknowledged(journal) < frame {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The disk of `part` of the data folder fills up and is freed again under a running server, which
/// counts it in `sign`.
async fn fills_up(part: &str, more: &[(&str, &str)], sign: &str, stops: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, journal) = (folder.path().join("data"), folder.path().join("journal"));
    let Some(disk) = SmallDisk::mount(&data.join(part)) else { return };
    let settings: Vec<_> = MERGING.into_iter().chain(more.iter().copied()).collect();
    let mut server = Server::start(&data, &settings).await;
    let feed = Feed::start(server.url(), &journal);
    until_acknowledged(&journal, 50).await;
    for round in 0..3 {
        fill_until_met(&disk, &server, sign).await;
        let stood = if stops { standstill(&journal).await } else { audit::acknowledged(&journal) };
        check_acknowledged(&server, stood);
        if round == 1 {
            // The full disk and a death come together.
            server.kill();
            disk.free();
            server.restart().await;
            check_acknowledged(&server, stood);
        } else {
            disk.free();
        }
        until_acknowledged(&journal, stood + 100).await;
        check_acknowledged(&server, stood + 100);
    }
    let last = feed.finish().await;
    audit_all(&mut server, &data, last).await;
}

/// The flush that a full log asks for may free so many segments that it goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_disk_of_the_log_fills_up() {
    fills_up("log", &[], "warpline_log_waits_for_room_total", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_of_the_tables_fills_up() {
    let more = [("WARPLINE_STORAGE_MEMORY", "256KiB")];
    fills_up("store", &more, "warpline_flush_failures_total", true).await;
}

/// The library that lets syncs fail; `None` where there is no C compiler.
fn failing_syncs(folder: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fsync_fails.c");
    let library = folder.join("fsync_fails.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl");
    if compiler.status().is_ok_and(|status| status.success()) {
        return Some(library);
    }
    eprintln!("NOT TESTED: syncs that fail; there is no C compiler");
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn syncs_fail() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, journal) = (folder.path().join("data"), folder.path().join("journal"));
    let Some(library) = failing_syncs(folder.path()) else { return };
    let (library, trigger) = (library.display().to_string(), folder.path().join("trigger"));
    let named = trigger.display().to_string();
    let failing = [("LD_PRELOAD", library.as_str()), ("WARPLINE_TEST_FSYNC", named.as_str())];
    let settings: Vec<_> = MERGING.into_iter().chain(failing).collect();
    let mut server = Server::start(&data, &settings).await;
    let feed = Feed::start(server.url(), &journal);
    for round in 1..=3 {
        until_acknowledged(&journal, round * 200).await;
        std::fs::write(&trigger, "").expect("the trigger");
        let status = server.ended().await;
        let said = server.said();
        assert!(!status.success(), "{status}: {said}");
        assert!(said.contains("the write-ahead log could not be written"), "{said}");
        let acknowledged = audit::acknowledged(&journal);
        std::fs::remove_file(&trigger).expect("the trigger");
        server.restart().await;
        check_acknowledged(&server, acknowledged);
    }
    let last = feed.finish().await;
    audit_all(&mut server, &data, last).await;
}
