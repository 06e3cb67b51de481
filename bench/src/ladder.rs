//! `ladder`: what each step on a value's way costs the server, a run for each over the same frames.
//!
//! ```text
//! checked     all times lie ahead of the clock: frames are read, verified and refused
//! buffered    the folder lies in memory, and nothing is flushed
//! durable     the folder lies on the disk
//! flushed     until all rows are in files
//! merged      until those are merged by days, with rollups, and the server rests
//! ```

use crate::Failure;
use crate::limits;
use crate::peers::{self, Peer, PeerOptions};
use crate::report::{MIB, Machine, Report, Table, known, number};
use crate::server::{self, Server, Setting};
use crate::simulator::{self, Acknowledged, Load};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};

/// A file system in memory.
const MEMORY: &str = "/dev/shm";
/// Rows of a day that is over, so that all merges are due.
const PAST: &str = "2026-11-20T00:00:00Z";
/// Rows that no server takes.
const AHEAD: &str = "2100-01-01T00:00:00Z";

/// Measure what each step costs: checked, buffered, durable, flushed, merged.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LadderOptions {
    /// GPUs of 60 fields
    #[arg(long, default_value_t = 222_000)]
    gpus: u32,

    /// Seconds of the fleet's time, a tick each, sent as fast as the server takes them
    #[arg(long, default_value_t = 20)]
    ticks: u32,

    /// The warpline to measure [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,

    /// Folder on the disk to measure [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    #[command(flatten)]
    peers: PeerOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Serialize)]
enum Step {
    Checked,
    Buffered,
    Durable,
    Flushed,
    Merged,
}

/// A run that ended with a step.
#[derive(Clone, Debug, Serialize)]
struct Run {
    step: Step,
    sent: Acknowledged,
    cpu: f64,
    peak_mib: f64,
    bytes: u64,
}

pub(crate) fn run(options: &LadderOptions) -> Result<Report, Failure> {
    let binary = server::binary(options.binary.as_deref())?;
    let machine = Machine::here();
    let limits = limits::measure(options.dir.as_deref())?;
    let steps = [Step::Checked, Step::Buffered, Step::Durable, Step::Flushed, Step::Merged];
    let mut runs = Vec::new();
    for step in steps {
        eprintln!("measuring until {}", step.name());
        runs.push(measure(&binary, step, options)?);
    }
    let peers = peers::measure(&options.peers)?;
    let title = format!("{} GPUs, {} ticks ({machine})", options.gpus, options.ticks);
    let limits_table = limits.table("Limits of the machine".to_owned());
    let tables = vec![table(title, &runs, &peers), limits_table];
    let figures = json!({ "machine": machine, "limits": limits, "runs": runs, "peers": peers });
    Ok(Report { tables, figures })
}

fn measure(binary: &Path, step: Step, options: &LadderOptions) -> Result<Run, Failure> {
    let dir = if step == Step::Buffered { Some(Path::new(MEMORY)) } else { options.dir.as_deref() };
    let server = Server::start(binary, dir, step.settings())?;
    let load = Load {
        interval: "1s".to_owned(),
        duration: format!("{}s", options.ticks),
        seed: 1,
        speed: "max".to_owned(),
        start: if step == Step::Checked { AHEAD } else { PAST }.to_owned(),
        prepare: u64::from(options.ticks),
        nodes_per_stream: None,
        cluster: None,
        streams_per_connection: 16,
    };
    let before = server.cpu_seconds()?;
    let sender = simulator::start(binary, &server.url(), options.gpus, &load)?;
    let sent = if step == Step::Checked { sender.finish_refused()? } else { sender.finish()? };
    let taken = server.counters()?.rows;
    if taken != if step == Step::Checked { 0 } else { sent.rows } {
        return Err(format!("{} rows were sent, {taken} taken", sent.rows).into());
    }
    match step {
        Step::Checked | Step::Buffered | Step::Durable => {}
        Step::Flushed => drop(server.wait_until_flushed()?),
        Step::Merged => server.wait_until_settled()?,
    }
    let cpu = server.cpu_seconds()? - before;
    let (peak_mib, bytes) = (server.memory()?.peak as f64 / MIB, server.parquet()?.bytes);
    Ok(Run { step, sent, cpu, peak_mib, bytes })
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Checked => "checked",
            Self::Buffered => "buffered",
            Self::Durable => "durable",
            Self::Flushed => "flushed",
            Self::Merged => "merged",
        }
    }

    fn settings(self) -> Vec<Setting> {
        let mut settings = Vec::new();
        if self <= Self::Durable {
            settings.push(Setting::new("storage.memory", "4GiB"));
            settings.push(Setting::new("storage.flush_size", "4GiB"));
            settings.push(Setting::new("storage.flush_interval", "1h"));
        } else {
            settings.push(Setting::new("storage.flush_interval", "10s"));
        }
        if self < Self::Merged {
            settings.push(Setting::new("maintenance.background", "false"));
        }
        settings
    }
}

fn table(title: String, runs: &[Run], peers: &[Peer]) -> Table {
    let header = [
        "until",
        "M values",
        "M values/s sent",
        "CPU s/M",
        "of this step",
        "bytes/value",
        "peak MiB",
    ];
    let mut table = Table::new(title, &header);
    let mut before = 0.0;
    for run in runs {
        let values = run.sent.values as f64;
        let cpu = run.cpu / values * 1e6;
        table.row(vec![
            run.step.name().to_owned(),
            number(values / 1e6),
            number(values / run.sent.seconds / 1e6),
            number(cpu),
            number(cpu - before),
            known((run.bytes > 0).then_some(run.bytes as f64 / values)),
            number(run.peak_mib),
        ]);
        before = cpu;
    }
    for Peer { system, size, ingest } in peers {
        table.row(vec![
            format!("{system}, size {size}, merged"),
            number(ingest.samples() / 1e6),
            number(ingest.values_per_second() / 1e6),
            number(ingest.cpu_per_million_merged()),
            known(None),
            number(ingest.bytes_per_value()),
            number(ingest.peak_bytes() / MIB),
        ]);
    }
    table
}
