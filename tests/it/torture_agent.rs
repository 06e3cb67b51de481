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

/// An agent with exporters before a server, and the network between them.
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
        let names = ["a", "b", "c", "d"];
        let exporters = futures::future::join_all(names.map(Exporter::start)).await;
        let mut arguments: Vec<String> =
            exporters.iter().flat_map(|one| ["--target".to_owned(), one.url()]).collect();
        arguments.extend([format!("--server=http://{}", proxy.address), "--interval=100ms".into()]);
        arguments.push(format!("--spool={}", folder.join("spool").display()));
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let mut agent = Agent::new(&folder.join("agent.stderr"), arguments);
        agent.launch();
        Self { server, proxy, agent, exporters }
    }

    async fn kill_agent(&mut self) {
        let told = self.told();
        self.agent.kill();
        self.excuse(&told).await;
    }

    fn told(&self) -> Vec<u64> {
        self.exporters.iter().map(Exporter::told).collect()
    }

    /// Excuses what was told since, once the requests that were under way have been answered.
    async fn excuse(&mut self, since: &[u64]) {
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.exporters.iter_mut().zip(since).for_each(|(one, told)| one.excuse(*told));
    }

    /// Waits until the server has what was told by now, then ends the agent.
    async fn settle(&mut self) {
        let exists = "SELECT count(*) FROM information_schema.tables WHERE table_name = 'gpu'";
        while self.server.number(exists) == 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        for (exporter, told) in self.exporters.iter().zip(self.told()) {
            let node = &exporter.node;
            let asked = format!("SELECT max(sm_clock) FROM gpu WHERE node = '{node}'");
            // Answers go on, so that it is passed even if that very one was given up.
            while self.server.number(&asked) < told.cast_signed() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        // Requests may be under way when the agent is asked to end.
        let told = self.told();
        self.agent.stop().await;
        self.excuse(&told).await;
        let said = self.agent.said();
        assert!(said.contains("the server has all of them on its disk"), "{said}");
    }

    /// Returns answers told, those of them that no agent kept, and how often one gave up waiting.
    fn check(&self) -> (u64, usize, usize) {
        let check = |exporter: &Exporter| exporter.check(&self.server, &self.agent);
        let missing = self.exporters.iter().map(check).sum();
        let given_up = self.exporters.iter().map(|one| self.agent.gave_up(&one.url())).sum();
        (self.told().iter().sum(), missing, given_up)
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
                scene.kill_agent().await;
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
    let (told, missing, given_up) = scene.check();
    println!(
        "{loss:?}: {agents} kills of the agent, {servers} of the server, {losses} with {loss:?} \
         lost; {told} answers, {missing} of them under way at a kill or given up ({given_up}), 0 lost, \
         0 twice"
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
    scene.kill_agent().await;
    scene.agent.launch();
    scene.proxy.change(Network::Fair);
    scene.settle().await;
    scene.check();
}
