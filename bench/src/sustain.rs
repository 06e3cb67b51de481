//! `sustain`: whether a server holds a load for as long as it lasts, and what it costs all told.
//!
//! A fleet streams in real time, frames made ahead, while server and sender are looked at; then the
//! server comes to rest, and what is left to merge is merged. Only then is the cost of a value known.

use crate::Failure;
use crate::http::Connection;
use crate::limits;
use crate::process;
use crate::report::{MIB, Machine, Report, Table, known, number};
use crate::server::{self, Compacted, Server, Setting};
use crate::simulator::{self, Acknowledged, Load, Sender};
use serde::Serialize;
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often the server is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Rows of the table that shows the run.
const STRETCHES: usize = 10;
/// The cluster of the single node beside the fleet.
const NEIGHBOUR: &str = "beside";
const QUESTION_PATIENCE: Duration = Duration::from_mins(1);
const OK: u16 = 200;

/// Hold a load for a while: rate, CPU, memory, acknowledgements, and the cost until all is merged.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SustainOptions {
    /// GPUs of 60 fields at 1 Hz
    #[arg(long, default_value_t = 222_000)]
    gpus: u32,

    /// How long they stream
    #[arg(long, value_name = "TIME", default_value = "30m")]
    duration: String,

    /// Ticks made ahead and replayed
    #[arg(long, value_name = "N", default_value_t = 8)]
    prepare: u64,

    /// Nodes that share a producer; 1 is a stream a node
    #[arg(long, value_name = "K")]
    nodes_per_stream: Option<u64>,

    /// Producers that share a connection
    #[arg(long, value_name = "C", default_value_t = 16)]
    streams_per_connection: usize,

    /// End when the server is at rest: merging all to days takes as much disk again
    #[arg(long)]
    at_rest: bool,

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

/// What was seen at one moment of the run.
#[derive(Clone, Copy, Debug, Serialize)]
struct Look {
    seconds: f64,
    rows: f64,
    server_cpu: f64,
    sender_cpu: f64,
    resident_mib: f64,
    buffer_mib: f64,
    log_mib: f64,
    flush_files: f64,
    merge_lag: f64,
    /// How long a dashboard's question took, where it was answered.
    question_ms: Option<f64>,
}

/// CPU seconds of the server, each until all before it had happened.
#[derive(Clone, Copy, Debug, Serialize)]
struct Cost {
    durable: f64,
    stored: f64,
    rest: f64,
    merged: Option<f64>,
}

/// A load held to its end, and what was left to do then.
#[derive(Debug, Serialize)]
struct Held {
    sent: Acknowledged,
    /// What a single node beside the fleet met.
    neighbour: Acknowledged,
    looks: Vec<Look>,
    cost: Cost,
    peak_mib: f64,
    bytes: u64,
    compacted: Option<Compacted>,
}

pub(crate) fn run(options: &SustainOptions) -> Result<Report, Failure> {
    let machine = Machine::here();
    let limits = limits::measure(options.dir.as_deref())?;
    let held = hold(options)?;
    let title = format!("{} GPUs at 1 Hz for {} ({machine})", options.gpus, options.duration);
    let limits_table = limits.table("Limits of the machine".to_owned());
    let tables = vec![summary(title, options.gpus, &held), course(&held.looks), limits_table];
    let figures = json!({
        "machine": machine, "limits": limits, "gpus": options.gpus, "held": held,
    });
    Ok(Report { tables, figures })
}

fn hold(options: &SustainOptions) -> Result<Held, Failure> {
    let binary = server::binary(options.binary.as_deref())?;
    let mut server = Server::start(&binary, options.dir.as_deref(), options.settings.clone())?;
    let before = server.cpu_seconds()?;
    let (sent, neighbour, looks) = stream(&binary, &server, options)?;
    let durable = server.cpu_seconds()? - before;
    let counters = server.wait_until_flushed()?;
    let acknowledged = sent.rows + neighbour.rows;
    if counters.rows != acknowledged {
        return Err(
            format!("{acknowledged} rows were acknowledged, {} taken", counters.rows).into()
        );
    }
    let stored = server.cpu_seconds()? - before;
    server.wait_until_settled()?;
    let rest = server.cpu_seconds()? - before;
    let peak_mib = server.memory()?.peak as f64 / MIB;
    let compacted = (!options.at_rest).then(|| server.compact()).transpose()?;
    let merged = compacted.as_ref().map(|compacted| rest + compacted.cpu);
    let cost = Cost { durable, stored, rest, merged };
    Ok(Held { sent, neighbour, looks, cost, peak_mib, bytes: server.parquet()?.bytes, compacted })
}

/// Streams the fleet and a node beside it to their ends, and looks at all sides meanwhile.
fn stream(
    binary: &Path,
    server: &Server,
    options: &SustainOptions,
) -> Result<(Acknowledged, Acknowledged, Vec<Look>), Failure> {
    let load = Load {
        interval: "1s".to_owned(),
        duration: options.duration.clone(),
        seed: 1,
        speed: "real".to_owned(),
        start: String::new(),
        prepare: options.prepare,
        nodes_per_stream: options.nodes_per_stream,
        cluster: None,
        streams_per_connection: options.streams_per_connection,
    };
    let mut sender = simulator::start(binary, &server.url(), options.gpus, &load)?;
    wait_for_rows(server, &mut sender)?;
    let alone = Load { cluster: Some(NEIGHBOUR.to_owned()), prepare: 0, ..load };
    let neighbour = simulator::start(binary, &server.url(), 8, &alone)?;
    let mut questions = Questions::of(server);
    let (begun, before) = (Instant::now(), server.cpu_seconds()?);
    let mut looks = Vec::new();
    while sender.is_running()? {
        // The sender's figures are gone once it has ended.
        if let Ok(sender_cpu) = process::cpu_seconds(sender.id()) {
            let question_ms = questions.ask();
            looks.push(look(server, begun, before, sender_cpu, question_ms)?);
        }
        sleep(LOOK);
    }
    Ok((sender.finish()?, neighbour.finish()?, looks))
}

/// The sender makes its frames before it sends the first.
fn wait_for_rows(server: &Server, sender: &mut Sender) -> Result<(), Failure> {
    while server.counters()?.rows == 0 && sender.is_running()? {
        sleep(LOOK);
    }
    Ok(())
}

/// A dashboard's question over the newest minutes of the node beside the fleet.
struct Questions {
    server: SocketAddr,
    connection: Option<Connection>,
    answer: Vec<u8>,
}

impl Questions {
    fn of(server: &Server) -> Self {
        Self { server: server.address(), connection: None, answer: Vec::new() }
    }

    /// The milliseconds of an answer; `None` where there was none.
    fn ask(&mut self) -> Option<f64> {
        let question = format!(
            "SELECT date_bin('10 seconds', time) AS t, gpu, avg(power_usage), max(gpu_util) \
             FROM gpu WHERE cluster = '{NEIGHBOUR}' AND time > now() - interval '5 minutes' \
             GROUP BY t, gpu ORDER BY t, gpu"
        );
        let begun = Instant::now();
        let known = self.connection.take();
        let open = || Connection::open(self.server, QUESTION_PATIENCE).ok();
        let mut connection = known.or_else(open)?;
        let status =
            connection.request("POST /sql", "text/csv", &question, &mut self.answer).ok()?;
        self.connection = Some(connection);
        (status == OK).then(|| begun.elapsed().as_secs_f64() * 1e3)
    }
}

fn look(
    server: &Server,
    begun: Instant,
    before: f64,
    sender_cpu: f64,
    question_ms: Option<f64>,
) -> Result<Look, Failure> {
    let page = server.page()?;
    let sample = |name: &str| server::sample(&page, name);
    Ok(Look {
        seconds: begun.elapsed().as_secs_f64(),
        rows: sample("warpline_rows_total")?,
        server_cpu: server.cpu_seconds()? - before,
        sender_cpu,
        resident_mib: server.memory()?.now as f64 / MIB,
        buffer_mib: sample("warpline_buffer_bytes")? / MIB,
        log_mib: sample("warpline_log_bytes")? / MIB,
        flush_files: sample("warpline_level_files{level=\"flush\"}")?,
        merge_lag: sample("warpline_merge_lag_seconds")?,
        question_ms,
    })
}

fn summary(title: String, gpus: u32, held: &Held) -> Table {
    let Held { sent, neighbour, looks, cost, .. } = held;
    let values = sent.values as f64;
    let per_million = |cpu: f64| number(cpu / values * 1e6);
    let sender = looks.last().map_or(0.0, |look| look.sender_cpu);
    let mut table = Table::new(title, &["figure", "value"]);
    let mut row = |what: &str, value: String| table.row(vec![what.to_owned(), value]);
    row("M values offered a second", number(f64::from(gpus) * 60.0 / 1e6));
    row("M values taken a second", number(values / sent.seconds / 1e6));
    row("acknowledgement p50 ms", known(sent.latency_p50));
    row("acknowledgement p99 ms", known(sent.latency_p99));
    row("of a single node beside them, p50 ms", known(neighbour.latency_p50));
    row("its p99 ms", known(neighbour.latency_p99));
    let mut questions: Vec<f64> = looks.iter().filter_map(|look| look.question_ms).collect();
    questions.sort_by(f64::total_cmp);
    let at = |share: f64| questions.get((questions.len() as f64 * share) as usize).copied();
    row("its panel of 5 minutes by 10 s, p50 ms", known(at(0.5)));
    row("its p99 ms", known(at(0.99)));
    row(
        "panels not answered, of all",
        format!("{} of {}", looks.len() - questions.len(), looks.len()),
    );
    row("server CPU s/M until durable, with what ran beside it", per_million(cost.durable));
    row("until stored", per_million(cost.stored));
    row("until at rest, with rollups", per_million(cost.rest));
    let merged = cost.merged.map(|cpu| cpu / values * 1e6);
    row("until merged to days by `warpline compact`", known(merged));
    row("sender CPU s/M", per_million(sender));
    row("server's peak MiB", number(held.peak_mib));
    let peak = held.compacted.as_ref().map(|compacted| compacted.peak_mib);
    row("peak MiB of `warpline compact`", known(peak));
    row("bytes a value, rollups included", number(held.bytes as f64 / values));
    table
}

/// The run in stretches of equal length.
fn course(looks: &[Look]) -> Table {
    let header = [
        "until s",
        "M rows/s",
        "server cores",
        "sender cores",
        "resident MiB",
        "buffer MiB",
        "log MiB",
        "flush files",
        "merge lag s",
    ];
    let mut table = Table::new("Its course: means, and the most of memory, log and files", &header);
    let stretch = looks.len().div_ceil(STRETCHES).max(2);
    for from in (0..looks.len().saturating_sub(1)).step_by(stretch) {
        let own = &looks[from..(from + stretch + 1).min(looks.len())];
        let (Some(first), Some(last)) = (own.first(), own.last()) else { continue };
        let seconds = (last.seconds - first.seconds).max(f64::MIN_POSITIVE);
        let rate = |value: fn(&Look) -> f64| (value(last) - value(first)) / seconds;
        let most = |value: fn(&Look) -> f64| number(own.iter().map(value).fold(0.0, f64::max));
        table.row(vec![
            number(last.seconds),
            number(rate(|look| look.rows) / 1e6),
            number(rate(|look| look.server_cpu)),
            number(rate(|look| look.sender_cpu)),
            most(|look| look.resident_mib),
            most(|look| look.buffer_mib),
            most(|look| look.log_mib),
            most(|look| look.flush_files),
            most(|look| look.merge_lag),
        ]);
    }
    table
}
