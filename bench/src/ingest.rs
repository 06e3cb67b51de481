//! `ingest`: what it costs the server to take a fleet in, beside other stores.
//!
//! A run is a fresh server on an empty folder, a simulated fleet at full speed, and the wait until
//! everything is in Parquet.

use crate::Failure;
use crate::limits;
use crate::peers::{self, Peer, PeerOptions};
use crate::report::{MIB, Machine, Report, Table, known, number};
use crate::server::{self, Server, Setting};
use crate::simulator::{self, Load};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Measure taking a fleet in: speed, server CPU, bytes, memory, acknowledgement.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct IngestOptions {
    /// The warpline to measure [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,

    /// Sizes of the fleet, one run each
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', default_value = "1000,8000")]
    gpus: Vec<u32>,

    #[command(flatten)]
    load: Load,

    /// How old a buffered row may get before the server flushes it
    #[arg(long, value_name = "TIME", default_value = "10s")]
    flush_interval: String,

    /// Folder on the disk to measure [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    #[command(flatten)]
    peers: PeerOptions,
}

/// One fleet taken in.
#[derive(Clone, Debug, Serialize)]
struct Run {
    gpus: u32,
    rows: u64,
    values: u64,
    /// Until the last acknowledgement, and until the last commit.
    durable_seconds: f64,
    stored_seconds: f64,
    /// CPU seconds of the server until then.
    durable_cpu: f64,
    stored_cpu: f64,
    parquet_bytes: u64,
    parquet_files: u64,
    flushes: u64,
    memory_at_rest: u64,
    memory_peak: u64,
    latency_p50_ms: Option<f64>,
    latency_p99_ms: Option<f64>,
}

pub(crate) fn run(options: &IngestOptions) -> Result<Report, Failure> {
    let binary = server::binary(options.binary.as_deref())?;
    let machine = Machine::here();
    let limits = limits::measure(options.dir.as_deref())?;
    let mut runs = Vec::new();
    for gpus in &options.gpus {
        eprintln!("measuring warpline, {gpus} GPUs");
        runs.push(measure(&binary, *gpus, options)?);
    }
    let peers = peers::measure(&options.peers)?;
    let replayed = peers::replayed(&options.peers, &binary, options.dir.as_deref())?;
    let title = format!("Ingest ({machine})");
    let all: Vec<&Peer> = replayed.iter().chain(&peers).collect();
    let mut tables = vec![figures_table(title, &runs, &all)];
    if let Some(ours) = runs.last().filter(|_| !peers.is_empty()) {
        tables.push(ratios_table(ours, &peers));
    }
    tables.push(limits.table("Limits of the machine".to_owned()));
    let figures = json!({
        "machine": machine, "limits": limits, "runs": runs, "peers": peers, "replayed": replayed,
    });
    Ok(Report { tables, figures })
}

fn measure(binary: &Path, gpus: u32, options: &IngestOptions) -> Result<Run, Failure> {
    let flush = Setting::new("storage.flush_interval", &options.flush_interval);
    let keep = Setting::new("retention.raw", "forever");
    let server = Server::start(binary, options.dir.as_deref(), vec![flush, keep])?;
    let (cpu, memory_at_rest) = (server.cpu_seconds()?, server.memory()?.now);
    let begun = Instant::now();
    let sent = simulator::stream(binary, &server.url(), gpus, &options.load)?;
    let durable_cpu = server.cpu_seconds()? - cpu;
    let counters = server.wait_until_flushed()?;
    let stored_seconds = begun.elapsed().as_secs_f64();
    if counters.rows != sent.rows {
        return Err(format!("{} rows were acknowledged, {} taken", sent.rows, counters.rows).into());
    }
    let files = server.parquet()?;
    Ok(Run {
        gpus,
        rows: sent.rows,
        values: sent.values,
        durable_seconds: sent.seconds,
        stored_seconds,
        durable_cpu,
        stored_cpu: server.cpu_seconds()? - cpu,
        parquet_bytes: files.bytes,
        parquet_files: files.count,
        flushes: counters.flushes,
        memory_at_rest,
        memory_peak: server.memory()?.peak,
        latency_p50_ms: sent.latency_p50,
        latency_p99_ms: sent.latency_p99,
    })
}

impl Run {
    fn values_per_second(&self) -> f64 {
        self.values as f64 / self.durable_seconds
    }

    fn per_million(&self, cpu: f64) -> f64 {
        cpu / self.values as f64 * 1e6
    }

    fn bytes_per_value(&self) -> f64 {
        self.parquet_bytes as f64 / self.values as f64
    }
}

fn figures_table(title: String, runs: &[Run], peers: &[&Peer]) -> Table {
    let header = [
        "system",
        "M values",
        "M values/s",
        "CPU s/M",
        "with merge or flush",
        "bytes/value",
        "files",
        "rest MiB",
        "peak MiB",
        "ack p50 ms",
        "ack p99 ms",
    ];
    let mut table = Table::new(title, &header);
    for run in runs {
        table.row(vec![
            format!("warpline, {} GPUs", run.gpus),
            number(run.values as f64 / 1e6),
            number(run.values_per_second() / 1e6),
            number(run.per_million(run.durable_cpu)),
            number(run.per_million(run.stored_cpu)),
            number(run.bytes_per_value()),
            run.parquet_files.to_string(),
            number(run.memory_at_rest as f64 / MIB),
            number(run.memory_peak as f64 / MIB),
            known(run.latency_p50_ms),
            known(run.latency_p99_ms),
        ]);
    }
    for Peer { system, size, ingest } in peers {
        table.row(vec![
            format!("{system}, size {size}"),
            number(ingest.samples() / 1e6),
            number(ingest.values_per_second() / 1e6),
            number(ingest.cpu_per_million()),
            number(ingest.cpu_per_million_merged()),
            number(ingest.bytes_per_value()),
            known(None),
            known(None),
            number(ingest.peak_bytes() / MIB),
            known(None),
            known(None),
        ]);
    }
    table
}

/// How many times over Warpline's last run is ahead of each peer; below 1 it is behind.
fn ratios_table(ours: &Run, peers: &[Peer]) -> Table {
    let title = format!("Warpline ({} GPUs) against peers, times better", ours.gpus);
    let mut table =
        Table::new(title, &["peer", "values/s", "CPU, all in", "bytes/value", "peak memory"]);
    for Peer { system, size, ingest } in peers {
        table.row(vec![
            format!("{system}, size {size}"),
            number(ours.values_per_second() / ingest.values_per_second()),
            number(ingest.cpu_per_million_merged() / ours.per_million(ours.stored_cpu)),
            number(ingest.bytes_per_value() / ours.bytes_per_value()),
            number(ingest.peak_bytes() / ours.memory_peak as f64),
        ]);
    }
    table
}
