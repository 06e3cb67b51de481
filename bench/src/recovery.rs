//! `recovery`: how long a server takes to start on a log that no table covers.
//!
//! A fleet is streamed to a server that flushes nothing; the server is killed and started again,
//! and every acknowledged row must be there before a figure is shown.

use crate::Failure;
use crate::http::Connection;
use crate::report::{MIB, Machine, Report, Table, number};
use crate::server::{self, Server, Setting};
use crate::simulator::{self, Load};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_mins(2);
const ROUNDS: usize = 3;

/// Measure starts after a kill, over logs of some sizes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RecoveryOptions {
    /// Seconds of the fleet that the log holds, one run each
    #[arg(long, value_name = "SECONDS", value_delimiter = ',', default_value = "10,60,300")]
    seconds: Vec<u64>,

    #[arg(long, value_name = "N", default_value_t = 8_000)]
    gpus: u32,

    /// The warpline to measure [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,

    /// Folder on the disk to measure [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Clone, Debug, Serialize)]
struct Recovery {
    values: u64,
    log_bytes: f64,
    /// Of a store without rows, killed as well.
    empty_ms: f64,
    /// From the start of the process until it answers, in each round.
    ready_ms: Vec<f64>,
    cpu: Vec<f64>,
}

pub(crate) fn run(options: &RecoveryOptions) -> Result<Report, Failure> {
    let binary = server::binary(options.binary.as_deref())?;
    let mut found = Vec::new();
    for seconds in &options.seconds {
        eprintln!("measuring a log of {seconds} s");
        found.push(measure(&binary, *seconds, options)?);
    }
    let machine = Machine::here();
    let title = format!("Starts after a kill, median of {ROUNDS} ({machine})");
    let header = ["log MiB", "M values", "ready ms", "CPU s", "M values/s", "empty store ms"];
    let mut table = Table::new(title, &header);
    table.note("the log's segments have their full size from the first row on");
    for Recovery { values, log_bytes, empty_ms, ready_ms, cpu } in &found {
        let ready = ready_ms[ready_ms.len() / 2];
        table.row(vec![
            number(log_bytes / MIB),
            number(*values as f64 / 1e6),
            number(ready),
            number(cpu[cpu.len() / 2]),
            number(*values as f64 / 1e3 / ready),
            number(*empty_ms),
        ]);
    }
    let figures = json!({ "machine": machine, "runs": found });
    Ok(Report { tables: vec![table], figures })
}

fn measure(binary: &Path, seconds: u64, options: &RecoveryOptions) -> Result<Recovery, Failure> {
    let settings = [
        ("storage.flush_interval", "24h"),
        ("storage.memory", "16GiB"),
        ("storage.flush_size", "8GiB"),
        ("maintenance.background", "false"),
    ];
    let settings = settings.map(|(name, value)| Setting::new(name, value)).to_vec();
    let mut server = Server::start(binary, options.dir.as_deref(), settings)?;
    let empty_ms = restarted(&mut server)?;
    let load = Load {
        interval: "1s".to_owned(),
        duration: format!("{seconds}s"),
        seed: 1,
        speed: "max".to_owned(),
        start: "2026-11-20T00:00:00Z".to_owned(),
        prepare: 4,
        nodes_per_stream: None,
        cluster: None,
        streams_per_connection: 16,
    };
    let sent = simulator::stream(binary, &server.url(), options.gpus, &load)?;
    let log_bytes = server.sample("warpline_log_bytes")?;
    let mut ready_ms = Vec::new();
    let mut cpu = Vec::new();
    for _ in 0..ROUNDS {
        ready_ms.push(restarted(&mut server)?);
        cpu.push(server.cpu_seconds()?);
        check(&server, sent.rows)?;
    }
    ready_ms.sort_by(f64::total_cmp);
    cpu.sort_by(f64::total_cmp);
    Ok(Recovery { values: sent.values, log_bytes, empty_ms, ready_ms, cpu })
}

fn restarted(server: &mut Server) -> Result<f64, Failure> {
    let begun = Instant::now();
    server.restart(|_| Ok(()))?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

fn check(server: &Server, rows: u64) -> Result<(), Failure> {
    let mut connection = Connection::open(server.address(), PATIENCE)?;
    let mut answer = Vec::new();
    connection.request("POST /sql", "text/csv", "SELECT count(*) FROM gpu", &mut answer)?;
    let text = String::from_utf8(answer)?;
    if text.lines().nth(1) == Some(rows.to_string().as_str()) {
        return Ok(());
    }
    Err(format!("of {rows} acknowledged rows the server has: {text}").into())
}
