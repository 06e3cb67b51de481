//! `kill -9` of the agent and of the server, again and again, over a bad network: every answer of
//! an exporter that the agent kept is a row, once.
//!
//! `WARPLINE_TEST_KILLS` says how often, `WARPLINE_TEST_SEED` repeats a run's choices.

use crate::agent::{Agent, Exporter};
use crate::network::{Dice, Network, Proxy};
use crate::server::{RESTLESS, Server};
use crate::torture_disk::SmallDisk;
use std::path::Path;
use std::time::Duration;

/// What is lost of a server beside its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Nothing,
    /// The log: a new one begins on the same tables.
    Log,
    /// Log and tables.
    All,
}

/// Nothing gets into tables, so that the spool keeps everything.
const NEVER_STORED: [(&str, &str); 2] =
    [("WARPLINE_STORAGE_FLUSH_INTERVAL", "1h"), ("WARPLINE_RETENTION_RAW", "forever")];

/// An agent with two exporters before a server, and the network between them.
struct Scene {
    server: Server,
    proxy: Proxy,
    agent: Agent,
    exporters: Vec<Exporter>,
}

impl Scene {
    async fn set(folder: &Path, settings: &[(&str, &str)], more: &[&str]) -> Self {
        let server = Server::start(&folder.join("data"), settings).await;
        let address = server.url().socket_addrs(|| None).expect("an address")[0];
        let proxy = Proxy::start(address).await;
        let exporters = vec![Exporter::start("a").await, Exporter::start("b").await];
        let mut arguments: Vec<String> =
            exporters.iter().flat_map(|one| ["--target".to_owned(), one.url()]).collect();
        arguments.extend([format!("--server=http://{}", proxy.address), "--interval=50ms".into()]);
        arguments.push(format!("--spool={}", folder.join("spool").display()));
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let mut agent = Agent::new(&folder.join("agent.stderr"), arguments);
        agent.launch();
        Self { server, proxy, agent, exporters }
    }

    fn kill_agent(&mut self) {
        self.agent.kill();
        self.exporters.iter_mut().for_each(Exporter::excuse_last);
    }

    /// Waits until the server has what was told by now, then ends the agent.
    async fn settle(&mut self) {
        let exists = "SELECT count(*) FROM information_schema.tables WHERE table_name = 'gpu'";
        while self.server.number(exists) == 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let told: Vec<u64> = self.exporters.iter().map(Exporter::told).collect();
        for (exporter, told) in self.exporters.iter().zip(told) {
            let node = &exporter.node;
            let asked = format!("SELECT max(sm_clock) FROM gpu WHERE node = '{node}'");
            while self.server.number(&asked) < told.cast_signed() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        // A request may be under way when the agent is asked to end.
        self.agent.stop().await;
        self.exporters.iter_mut().for_each(Exporter::excuse_last);
        let said = self.agent.said();
        assert!(said.contains("the server has all of them on its disk"), "{said}");
    }

    /// Returns answers told, and those of them that no agent lived to keep.
    fn check(&self) -> (u64, usize) {
        let missing = self.exporters.iter().map(|exporter| exporter.check(&self.server)).sum();
        (self.exporters.iter().map(Exporter::told).sum(), missing)
    }
}

async fn lose(scene: &mut Scene, data: &Path, loss: Loss) {
    scene.server.kill();
    match loss {
        Loss::Nothing => {}
        Loss::Log => std::fs::remove_dir_all(data.join("log")).expect("the log"),
        Loss::All => std::fs::remove_dir_all(data).expect("the data"),
    }
    scene.server.restart().await;
}

async fn torture(loss: Loss, settings: &[(&str, &str)]) {
    let kills = std::env::var("WARPLINE_TEST_KILLS").map_or(12, |n| n.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut dice = Dice::new(&format!("{loss:?}"));
    let mut scene = Scene::set(folder.path(), settings, &[]).await;
    let (mut agents, mut servers, mut losses) = (0, 0, 0);
    for _ in 0..kills {
        scene.proxy.change(match dice.roll(0, 5) {
            0 => Network::Slow,
            1 | 2 => Network::Cuts(dice.roll(100, 20_000)),
            3 => Network::Silent,
            _ => Network::Fair,
        });
        tokio::time::sleep(dice.millis(100, 1_500)).await;
        match dice.roll(0, 4) {
            0 | 1 => {
                scene.kill_agent();
                agents += 1;
                if dice.roll(0, 2) == 0 {
                    tokio::time::sleep(dice.millis(1, 500)).await;
                }
                scene.agent.launch();
            }
            2 => {
                lose(&mut scene, &data, Loss::Nothing).await;
                servers += 1;
            }
            _ => {
                lose(&mut scene, &data, loss).await;
                losses += 1;
            }
        }
    }
    if loss != Loss::Nothing {
        lose(&mut scene, &data, loss).await;
        losses += 1;
    }
    // What stands falls silent without an end: the agent must find that out by itself.
    scene.proxy.change(Network::Fair);
    tokio::time::sleep(Duration::from_millis(500)).await;
    scene.proxy.forget_what_stands();
    scene.settle().await;
    let (told, missing) = scene.check();
    println!(
        "{loss:?}: {agents} kills of the agent, {servers} of the server, {losses} with {loss:?} \
         lost; {told} answers, {missing} under way at a kill, 0 lost, 0 twice"
    );
    let said = scene.agent.said();
    assert!(!said.contains("the spool is full"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_and_server_die_over_a_bad_network() {
    torture(Loss::Nothing, &RESTLESS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_log_on_the_same_tables_is_refilled_by_the_agent() {
    torture(Loss::Log, &RESTLESS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_server_is_refilled_by_the_agent() {
    torture(Loss::All, &NEVER_STORED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_of_the_spool_fills_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(&folder.path().join("spool")) else { return };
    disk.fill();
    let mut scene = Scene::set(folder.path(), &RESTLESS, &[]).await;
    scene.proxy.change(Network::Silent);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let said = scene.agent.said();
    assert!(said.contains("the spool cannot be written"), "{said}");
    disk.free();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let said = scene.agent.said();
    assert!(said.contains("the spool is written again"), "{said}");
    // What was in memory is on the disk by now.
    scene.kill_agent();
    scene.agent.launch();
    scene.proxy.change(Network::Fair);
    scene.settle().await;
    scene.check();
}
