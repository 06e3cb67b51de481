//! The real binary as a child process, and what a test asks of it.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use url::Url;
use warpline_storage::{Storage, StorageOptions};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_warpline");

/// Settings under which a short test sees many flushes and segments.
pub(crate) const RESTLESS: [(&str, &str); 4] = [
    ("WARPLINE_STORAGE_FLUSH_INTERVAL", "200ms"),
    ("WARPLINE_STORAGE_FLUSH_SIZE", "256KiB"),
    ("WARPLINE_STORAGE_SEGMENT_SIZE", "1MiB"),
    ("WARPLINE_RETENTION_RAW", "forever"),
];

/// How long a server may take to be ready, on a machine that compiles beside it.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// A folder, two ports, and the server on them while it runs.
pub(crate) struct Server {
    data: PathBuf,
    http: u16,
    postgres: u16,
    settings: Vec<(String, String)>,
    child: Option<Child>,
}

impl Server {
    /// A server on `data` that has answered `/health`.
    pub(crate) async fn start(data: &Path, settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (http, postgres) = (free_port(), free_port());
        let mut server = Self { data: data.to_owned(), http, postgres, settings, child: None };
        server.restart().await;
        server
    }

    /// Starts it again on the same folder and ports.
    pub(crate) async fn restart(&mut self) {
        self.launch();
        self.ready().await;
    }

    /// The same without waiting until it is ready.
    pub(crate) fn launch(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let log = File::options().create(true).append(true).open(self.log()).expect("a log file");
        let child = Command::new(BINARY)
            .arg("serve")
            .arg("--data")
            .arg(&self.data)
            .args(["--listen", &format!("127.0.0.1:{}", self.http)])
            .args(["--postgres", &format!("127.0.0.1:{}", self.postgres)])
            .envs(self.settings.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        self.child = Some(child);
    }

    async fn ready(&mut self) {
        let started = Instant::now();
        let health = self.url().join("health").expect("a URL");
        // Whom its certificate is trusted by is for the test to say.
        let client = reqwest::Client::builder().danger_accept_invalid_certs(true).no_proxy();
        let client = client.build().expect("a client");
        loop {
            let answer = client.get(health.clone()).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            let ended = self.child.as_mut().expect("a child").try_wait().expect("its status");
            let late = started.elapsed() > READY_WITHIN;
            assert!(ended.is_none() && !late, "not ready ({ended:?}):\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the server wrote to standard error so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.data.with_extension("stderr")
    }

    pub(crate) fn url(&self) -> Url {
        let secure = self.settings.iter().any(|(name, _)| name.contains("TLS_CERTIFICATE"));
        let scheme = if secure { "https" } else { "http" };
        Url::parse(&format!("{scheme}://127.0.0.1:{}", self.http)).expect("a URL")
    }

    pub(crate) fn postgres(&self) -> u16 {
        self.postgres
    }

    /// `kill -9`, now.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("a living child");
        child.wait().expect("its status");
    }

    /// Waits until the server ends by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let waited = tokio::task::spawn_blocking(move || child.wait());
        waited.await.expect("a thread").expect("its status")
    }

    /// SIGTERM; the server must end well by itself.
    pub(crate) async fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let pid = Pid::from_child(&child);
        kill_process(pid, Signal::TERM).expect("a living child");
        let waited = tokio::task::spawn_blocking(move || child.wait());
        let status = waited.await.expect("a thread").expect("its status");
        assert!(status.success(), "{status}:\n{}", self.said());
    }

    /// The answer to a statement as CSV fields, header left out, by `warpline sql`.
    pub(crate) fn sql(&self, statement: &str) -> Vec<Vec<String>> {
        let server = self.url();
        let answer = Command::new(BINARY)
            .args(["sql", "--server", server.as_str(), "--format", "csv", statement])
            .output()
            .expect("the binary starts");
        let said = String::from_utf8_lossy(&answer.stderr);
        assert!(answer.status.success(), "{statement}: {said}");
        let mut reader = csv::Reader::from_reader(answer.stdout.as_slice());
        reader
            .records()
            .map(|record| record.expect("CSV").iter().map(str::to_owned).collect())
            .collect()
    }

    /// The one number a statement answers with.
    pub(crate) fn number(&self, statement: &str) -> i64 {
        let rows = self.sql(statement);
        let answer = rows.first().and_then(|row| row.first()).map(String::as_str);
        match answer {
            None | Some("") => 0,
            Some(text) => text.parse().unwrap_or_else(|_| panic!("{statement}: {text:?}")),
        }
    }

    /// A sample of `GET /metrics`.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let url = self.url().join("metrics").expect("a URL");
        let page = reqwest::get(url).await.expect("an answer").text().await.expect("a page");
        let sample = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        sample.unwrap_or_else(|| panic!("no {name} in:\n{page}"))
    }
}

/// No child outlives its test.
impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Rows in the files of a table once everything in the log has been flushed, counted without
/// regard to keys: a row committed twice counts twice. The server must be off.
pub(crate) async fn rows_in_files(data: &Path, table: &str) -> u64 {
    let options = StorageOptions { segment_bytes: 256 << 10, ..StorageOptions::new(data) };
    let storage = Storage::open(options).await.expect("the store opens");
    storage.flush().await.expect("a flush");
    let snapshot = storage.snapshot();
    let table = snapshot.table(table).expect("the table");
    assert_eq!(table.buffer.rows(), 0, "a flush leaves nothing in the buffer");
    let rows = table.files.iter().map(|file| file.rows).sum();
    storage.close().await.expect("the store closes");
    rows
}
