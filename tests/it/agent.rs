//! The real agent as a child process, and an exporter that knows what it has told.
//!
//! Answer number `n` of an exporter holds `n` in every sample, so a row says which answer it is of.

use crate::server::{BINARY, Server};
use axum::Router;
use axum::routing::get;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// An exporter on a free port.
pub(crate) struct Exporter {
    pub(crate) node: String,
    address: SocketAddr,
    told: Arc<AtomicU64>,
    /// Answers that an agent may have got and not have kept: it was killed meanwhile.
    excused: BTreeSet<u64>,
}

impl Exporter {
    pub(crate) async fn start(node: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let told = Arc::new(AtomicU64::new(0));
        let (count, name) = (told.clone(), node.to_owned());
        let answer = move || async move { text(&name, count.fetch_add(1, SeqCst) + 1) };
        let routes = Router::new().route("/metrics", get(answer));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { node: node.to_owned(), address, told, excused: BTreeSet::new() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    pub(crate) fn told(&self) -> u64 {
        self.told.load(SeqCst)
    }

    /// Notes answers that the agent may have got and not kept: the last before it died, and those to
    /// requests that were under way then.
    pub(crate) fn excuse(&mut self, since: u64) {
        self.excused.extend(since..=self.told());
    }

    /// Every answer is a row of both tables, once, in order, with its values, but for those excused
    /// and for as many as the agent says that it gave up waiting for. Returns how many are missing.
    pub(crate) fn check(&self, server: &Server, agent: &Agent) -> usize {
        let given_up = agent.gave_up(&self.url());
        let node = &self.node;
        let gpu = format!("SELECT sm_clock, gpu_temp FROM gpu WHERE node = '{node}' ORDER BY time");
        let metric = format!(
            "SELECT CAST(value AS BIGINT), 0 FROM metric \
             WHERE node = '{node}' AND name = 'audit_answer' ORDER BY time"
        );
        let mut missing = Vec::new();
        for asked in [gpu, metric] {
            let rows = server.sql(&asked);
            let number = |text: &String| text.parse::<u64>().expect("a number");
            let told: Vec<u64> = rows.iter().map(|row| number(&row[0])).collect();
            assert!(told.is_sorted_by(|a, b| a < b), "{node}: an answer twice or out of order");
            let there: BTreeSet<u64> = told.into_iter().collect();
            let lost: Vec<u64> = (1..=self.told()).filter(|n| !there.contains(n)).collect();
            let unexcused: Vec<_> = lost.iter().filter(|n| !self.excused.contains(n)).collect();
            let told = self.told();
            assert!(
                unexcused.len() <= given_up,
                "{node}: lost {unexcused:?} of {told}, {given_up} given up by the agent: {asked}"
            );
            for row in rows.iter().filter(|_| asked.contains("gpu_temp")) {
                assert_eq!(number(&row[1]), number(&row[0]) % 100, "{node}: values of one answer");
            }
            missing.push(lost.len());
        }
        assert_eq!(missing[0], missing[1], "{node}: both tables have a frame, or neither");
        missing[0]
    }
}

/// The label changes from time to time, and the layout with it.
fn text(node: &str, n: u64) -> String {
    let labels = format!("{{gpu=\"0\",Hostname=\"{node}\",pod=\"p{}\"}}", n / 7);
    let temp = n % 100;
    format!(
        "DCGM_FI_DEV_SM_CLOCK{labels} {n}\nDCGM_FI_DEV_GPU_TEMP{labels} {temp}\n\
         audit_answer{{Hostname=\"{node}\"}} {n}\n"
    )
}

/// `warpline agent` as a process.
pub(crate) struct Agent {
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Agent {
    pub(crate) fn new(log: &Path, arguments: Vec<String>) -> Self {
        Self { arguments, log: log.to_owned(), child: None }
    }

    pub(crate) fn launch(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let log = File::options().create(true).append(true).open(&self.log).expect("a log file");
        let mut command = Command::new(BINARY);
        command.arg("agent").args(&self.arguments).env("WARPLINE_LOG", "info,warpline=debug");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().expect("the binary starts"));
    }

    /// `kill -9`, now.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("a living child");
        child.wait().expect("its status");
    }

    /// SIGTERM; the agent must end well by itself.
    pub(crate) async fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        kill_process(Pid::from_child(&child), Signal::TERM).expect("a living child");
        let waited = tokio::task::spawn_blocking(move || child.wait());
        let status = waited.await.expect("a thread").expect("its status");
        assert!(status.success(), "{status}:\n{}", self.said());
    }

    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How often it gave up waiting for a target.
    pub(crate) fn gave_up(&self, target: &str) -> usize {
        let said = self.said();
        said.lines().filter(|line| line.contains(&format!("{target}: no answer within"))).count()
    }
}

/// No child outlives its test.
impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
