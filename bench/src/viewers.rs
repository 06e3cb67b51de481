//! `viewers`: dashboards that many people watch while a fleet streams in.
//!
//! The fleet streams in real time twice for as long: first alone, then with viewers who each refresh
//! a dashboard of twenty panels, while one more asks small things. What a panel takes, what those
//! take, and what the acknowledgements of the fleet notice of it; that the store has grown by the
//! second time is in it too.

use crate::Failure;
use crate::http::Connection;
use crate::report::{Machine, Report, Table, known, number};
use crate::server::{self, Server, Setting};
use crate::simulator::{self, Acknowledged, Load};
use serde::Serialize;
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_mins(1);
const OK: u16 = 200;
/// How often each of the small things is asked.
const SMALL_TIMES: usize = 100;

/// Watch dashboards while a fleet streams in: what panels take, and what ingest notices.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ViewersOptions {
    /// GPUs of 60 fields at 1 Hz
    #[arg(long, default_value_t = 16_667)]
    gpus: u32,

    /// Seconds without viewers, and as many with them
    #[arg(long, value_name = "S", default_value_t = 60)]
    seconds: u64,

    #[arg(long, default_value_t = 50)]
    viewers: usize,

    /// Seconds between two refreshes of a dashboard
    #[arg(long, value_name = "S", default_value_t = 10)]
    refresh: u64,

    /// A setting of the server, SECTION.KEY=VALUE; may be given several times
    #[arg(long = "set", value_name = "SETTING")]
    settings: Vec<Setting>,

    /// The warpline to measure [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,

    /// Folder on the disk to measure [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A stretch of the fleet's stream.
#[derive(Clone, Copy, Debug, Serialize)]
struct Stretch {
    sent: Acknowledged,
    server_cores: f64,
}

/// Milliseconds of everything that was answered, and how much was not.
#[derive(Clone, Debug, Default, Serialize)]
struct Times {
    milliseconds: Vec<f64>,
    unanswered: usize,
    /// Refreshes that were due while the one before was not over.
    skipped: usize,
}

impl Times {
    fn see(&mut self, answered: Option<f64>) {
        match answered {
            Some(time) => self.milliseconds.push(time),
            None => self.unanswered += 1,
        }
    }

    fn add(&mut self, other: Self) {
        self.milliseconds.extend(other.milliseconds);
        self.unanswered += other.unanswered;
        self.skipped += other.skipped;
    }

    fn at(&mut self, share: f64) -> Option<f64> {
        self.milliseconds.sort_by(f64::total_cmp);
        let place = (self.milliseconds.len() as f64 * share) as usize;
        self.milliseconds.get(place).copied()
    }
}

/// Twenty panels of the last quarter of an hour: a viewer's own node, its GPUs, and the fleet's
/// last rows.
fn panels(viewer: usize, gpus: u32) -> Vec<String> {
    let node = viewer as u64 * 37 % u64::from(gpus / 8).max(1);
    let rows =
        format!("FROM gpu WHERE node = 'node-{node:05}' AND time > now() - INTERVAL '15 minutes'");
    let by_gpu = ["power_usage", "gpu_util", "gpu_temp", "memory_temp", "sm_clock", "fb_used"];
    let by_node = ["sm_active", "dram_active", "pipe_tensor_active", "mem_copy_util"];
    let bucket = "date_bin('15 seconds', time) AS t";
    let mut panels = Vec::new();
    for field in by_gpu {
        panels.push(format!(
            "SELECT {bucket}, gpu, avg({field}) {rows} GROUP BY t, gpu ORDER BY t, gpu"
        ));
        panels.push(format!(
            "SELECT {bucket}, max({field}), min({field}) {rows} GROUP BY t ORDER BY t"
        ));
    }
    for field in by_node {
        panels.push(format!("SELECT {bucket}, avg({field}) {rows} GROUP BY t ORDER BY t"));
    }
    panels.push("SELECT count(*), sum(power_usage), max(gpu_temp) FROM latest.gpu".to_owned());
    panels.push("SELECT model, avg(gpu_util) FROM latest.gpu GROUP BY model ORDER BY 1".to_owned());
    panels.push(
        "SELECT node, max(gpu_temp) AS t FROM latest.gpu GROUP BY node ORDER BY t DESC LIMIT 20"
            .to_owned(),
    );
    panels.push("SELECT count(*) FROM latest.gpu WHERE gpu_util = 0".to_owned());
    panels
}

/// What is asked beside panels, by itself.
const SMALL: [(&str, &str); 5] = [
    ("SELECT 1, on a new connection", "SELECT 1"),
    ("last row of one GPU", "SELECT * FROM latest.gpu WHERE node = 'node-00007' AND gpu = '3'"),
    ("last rows of the fleet, summed", "SELECT count(*), sum(power_usage) FROM latest.gpu"),
    ("a variable: SELECT DISTINCT node", "SELECT DISTINCT node FROM latest.gpu ORDER BY 1"),
    (
        "an empty result",
        "SELECT gpu_util FROM gpu WHERE node = 'nobody' AND time > now() - INTERVAL '5 minutes'",
    ),
];

pub(crate) fn run(options: &ViewersOptions) -> Result<Report, Failure> {
    let machine = Machine::here();
    let binary = server::binary(options.binary.as_deref())?;
    let server = Server::start(&binary, options.dir.as_deref(), options.settings.clone())?;
    let stream = |meanwhile: &mut dyn FnMut(Instant)| -> Result<Stretch, Failure> {
        let sender = simulator::start(&binary, &server.url(), options.gpus, &load(options))?;
        let (begun, cpu) = (Instant::now(), server.cpu_seconds()?);
        meanwhile(begun + Duration::from_secs(options.seconds));
        let sent = sender.finish()?;
        let server_cores = (server.cpu_seconds()? - cpu) / begun.elapsed().as_secs_f64();
        Ok(Stretch { sent, server_cores })
    };
    let alone = stream(&mut |_| {})?;
    let (mut watched, mut small) =
        (Times::default(), SMALL.map(|(what, _)| (what, Times::default())));
    let beside = stream(&mut |until| {
        let address = server.address();
        thread::scope(|scope| {
            let asked = scope.spawn(|| SMALL.map(|(what, sql)| (what, ask_small(address, sql))));
            watched = watch(address, options, until);
            small = asked.join().expect("it ends");
        });
    })?;
    let title =
        format!("{} viewers of 20 panels every {} s ({machine})", options.viewers, options.refresh);
    let figures = json!({
        "machine": machine, "gpus": options.gpus, "viewers": options.viewers,
        "alone": alone, "beside": beside, "panels": watched, "small": small,
    });
    let tables = vec![summary(title, &alone, &beside, &mut watched), of_small(small)];
    Ok(Report { tables, figures })
}

fn load(options: &ViewersOptions) -> Load {
    Load {
        interval: "1s".to_owned(),
        duration: format!("{}s", options.seconds),
        seed: 1,
        speed: "real".to_owned(),
        start: String::new(),
        prepare: 8,
        nodes_per_stream: None,
        cluster: None,
        streams_per_connection: 16,
    }
}

/// All viewers, each from a moment of its own on, until that time.
fn watch(server: SocketAddr, options: &ViewersOptions, until: Instant) -> Times {
    let refresh = Duration::from_secs(options.refresh);
    let viewer = |number: usize| {
        let panels = panels(number, options.gpus);
        let mut next = Instant::now() + refresh.mul_f64(number as f64 / options.viewers as f64);
        let mut times = Times::default();
        while next < until {
            sleep(next.saturating_duration_since(Instant::now()));
            let mut connection = None;
            for panel in &panels {
                times.see(ask(server, &mut connection, panel));
            }
            next += refresh;
            while next < Instant::now() {
                next += refresh;
                times.skipped += 1;
            }
        }
        times
    };
    thread::scope(|scope| {
        let viewers: Vec<_> =
            (0..options.viewers).map(|number| scope.spawn(move || viewer(number))).collect();
        let mut all = Times::default();
        for viewer in viewers {
            all.add(viewer.join().expect("a viewer ends"));
        }
        all
    })
}

/// The milliseconds of an answer; `None` where there was none.
fn ask(server: SocketAddr, connection: &mut Option<Connection>, sql: &str) -> Option<f64> {
    let begun = Instant::now();
    let known = connection.take();
    let mut open = known.or_else(|| Connection::open(server, PATIENCE).ok())?;
    let mut answer = Vec::new();
    let status = open.request("POST /sql", "text/csv", sql, &mut answer).ok()?;
    *connection = Some(open);
    (status == OK).then(|| begun.elapsed().as_secs_f64() * 1e3)
}

fn ask_small(server: SocketAddr, sql: &str) -> Times {
    let (mut times, mut connection) = (Times::default(), None);
    for _ in 0..SMALL_TIMES {
        if sql == SMALL[0].1 {
            connection = None;
        }
        times.see(ask(server, &mut connection, sql));
    }
    times
}

fn summary(title: String, alone: &Stretch, beside: &Stretch, panels: &mut Times) -> Table {
    let mut table = Table::new(title, &["figure", "fleet alone", "with viewers"]);
    let mut row = |what: &str, one: String, other: String| {
        table.row(vec![what.to_owned(), one, other]);
    };
    let rate = |stretch: &Stretch| number(stretch.sent.values as f64 / stretch.sent.seconds / 1e6);
    row("M values a second", rate(alone), rate(beside));
    let p50 = |stretch: &Stretch| known(stretch.sent.latency_p50);
    row("acknowledgement p50 ms", p50(alone), p50(beside));
    let p99 = |stretch: &Stretch| known(stretch.sent.latency_p99);
    row("acknowledgement p99 ms", p99(alone), p99(beside));
    row("server cores", number(alone.server_cores), number(beside.server_cores));
    let none = || "-".to_owned();
    row("panels answered", none(), panels.milliseconds.len().to_string());
    row("panels not answered", none(), panels.unanswered.to_string());
    row("refreshes skipped", none(), panels.skipped.to_string());
    row("panel p50 ms", none(), known(panels.at(0.5)));
    row("panel p99 ms", none(), known(panels.at(0.99)));
    table
}

fn of_small(small: [(&'static str, Times); SMALL.len()]) -> Table {
    let title = format!("Small things beside it, {SMALL_TIMES} times each");
    let mut table = Table::new(title, &["asked", "p50 ms", "p99 ms", "not answered"]);
    for (what, mut times) in small {
        let (p50, p99) = (known(times.at(0.5)), known(times.at(0.99)));
        table.row(vec![what.to_owned(), p50, p99, times.unanswered.to_string()]);
    }
    table
}
