//! The dashboards of `docs/grafana`, every panel asked as Grafana asks it.

use crate::clients::{check, python};
use crate::server::{BINARY, Server};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Small files at once, and rollups as soon as there are files.
const SETTINGS: [(&str, &str); 2] =
    [("WARPLINE_STORAGE_FLUSH_INTERVAL", "1s"), ("WARPLINE_MAINTENANCE_INTERVAL", "1s")];

/// A fleet of 128 GPUs, dense enough for rollups by the minute.
fn simulate(server: &Server) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["simulate", "--server", server.url().as_str()]);
    command.args(["--gpus", "128", "--interval", "2s"]);
    command
}

/// The fleet's past two hours.
fn fill(server: &Server) {
    let output = simulate(server)
        .args(["--duration", "2h", "--speed", "max"])
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// The fleet from now on: panels of what is now look two minutes back.
struct Present(Child);

impl Present {
    fn start(server: &Server) -> Self {
        let child = simulate(server)
            .args(["--duration", "0s"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        Self(child)
    }
}

/// No child outlives its test.
impl Drop for Present {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Rollups by the hour come or not: where jobs change often, their rows are hardly fewer than those
/// by the minute.
async fn rolled_up(server: &Server) {
    let tiers = r#"SELECT count(*) FROM system.tables WHERE "table" = 'gpu_1m'"#;
    let started = Instant::now();
    while server.number(tiers) == 0 {
        assert!(started.elapsed() < Duration::from_mins(1), "no rollups:\n{}", server.said());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_is_answered() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    // All of the past in one flush: a first one of few rows would be too sparse for rollups.
    let mut filled = Server::start(&data, &[]).await;
    fill(&filled);
    filled.stop().await;
    let server = Server::start(&data, &SETTINGS).await;
    let range = "SELECT max(time) - INTERVAL '110 minutes', max(time) FROM gpu";
    let range = server.sql(range).remove(0);
    let _present = Present::start(&server);
    rolled_up(&server).await;
    let mut arguments = vec!["127.0.0.1".to_owned(), server.postgres().to_string()];
    arguments.extend(range);
    arguments.extend(["--intervals".to_owned(), "5m".to_owned()]);
    check(&python, "dashboards.py", arguments).await;
}
