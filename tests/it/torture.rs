//! `kill -9` again and again under load, while files are merged and deleted behind it.
//!
//! `WARPLINE_TEST_KILLS` says how often; hundreds take a while.

use crate::audit::{self, ROWS, TABLE};
use crate::clients::{check, python};
use crate::kill::{check_acknowledged, check_all, moment};
use crate::server::Server;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::task::JoinHandle;
use url::Url;

/// Settings under which files are merged by fours and deleted soon after.
pub(crate) const MERGING: [(&str, &str); 9] = [
    ("WARPLINE_STORAGE_FLUSH_INTERVAL", "150ms"),
    ("WARPLINE_STORAGE_FLUSH_SIZE", "256KiB"),
    ("WARPLINE_STORAGE_SEGMENT_SIZE", "256KiB"),
    ("WARPLINE_RETENTION_RAW", "forever"),
    ("WARPLINE_MAINTENANCE_INTERVAL", "100ms"),
    ("WARPLINE_MAINTENANCE_MERGE_MEMORY", "64KiB"),
    ("WARPLINE_MAINTENANCE_FILE_SIZE", "64KiB"),
    ("WARPLINE_MAINTENANCE_DELETE_AFTER", "300ms"),
    ("WARPLINE_LOG", "info"),
];

/// A producer that goes on until it is told to stop, under ever new connections.
pub(crate) struct Feed {
    stop: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

impl Feed {
    pub(crate) fn start(server: Url, journal: &Path) -> Self {
        let (stop, journal) = (Arc::new(AtomicBool::new(false)), journal.to_owned());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut last = 0;
            while !stopped.load(Relaxed) {
                last += 500;
                audit::produce(server.clone(), last, &journal).await;
            }
            last
        });
        Self { stop, task }
    }

    /// The last frame, once it and all before are durable.
    pub(crate) async fn finish(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.task.await.expect("the producer ends well")
    }
}

/// Exactly the frames up to `last`, for us and, over the files alone, for DuckDB.
pub(crate) async fn audit_all(server: &mut Server, data: &Path, last: u64) {
    check_all(server, data, last).await;
    let Some(python) = python() else { return };
    let sum = audit::sum_of_frames(last).to_string();
    let store = data.join("store").display().to_string();
    let wanted = [(last * ROWS).to_string(), sum, last.to_string()];
    let arguments = [store, TABLE.to_owned()].into_iter().chain(wanted).collect();
    check(&python, "audited.py", arguments).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_dies_while_files_are_merged() {
    let kills = std::env::var("WARPLINE_TEST_KILLS").map_or(12, |n| n.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let (data, journal) = (folder.path().join("data"), folder.path().join("journal"));
    let mut server = Server::start(&data, &MERGING).await;
    let feed = Feed::start(server.url(), &journal);
    let (mut merges, mut deleted) = (0, 0);
    for kill in 0..kills {
        tokio::time::sleep(moment(50, 1_500)).await;
        merges += server.metric("warpline_merges_total").await;
        deleted += server.metric("warpline_deleted_files_total").await;
        server.kill();
        let acknowledged = audit::acknowledged(&journal);
        if kill % 4 == 3 {
            // It dies while it starts as well.
            server.launch();
            tokio::time::sleep(moment(1, 400)).await;
            server.kill();
        }
        server.restart().await;
        if acknowledged > 0 {
            check_acknowledged(&server, acknowledged);
        }
    }
    let last = feed.finish().await;
    println!("{kills} kills, {merges} merges, {deleted} files deleted, {last} frames");
    assert!(merges > 0 && deleted > 0, "{merges} merges, {deleted} files deleted");
    audit_all(&mut server, &data, last).await;
}
