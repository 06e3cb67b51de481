//! `streams`: many producers at rest: what each costs the server, and how soon all are back after
//! the server was killed.
//!
//! Each producer opens a native stream and sends nothing. Producers share connections, which is
//! where most of the memory of a stream goes: a system bounds the connections of a process by its
//! open files, so a run with few streams on a connection may have to be a small one.

use crate::Failure;
use crate::report::{MIB, Machine, Report, Table, number};
use crate::server::{self, Server};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use url::Url;
use warpline_ingest::client::{ClientOptions, StreamClient, dial};
use warpline_storage::model::ProducerId;

const PATIENCE: Duration = Duration::from_mins(2);
/// Before memory is read: what opening took has been given back.
const CALM: Duration = Duration::from_secs(3);

/// Measure the memory of idle streams, and a fleet that comes back all at once.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StreamsOptions {
    #[arg(long, value_name = "N", default_value_t = 27_750)]
    streams: usize,

    /// Streams that share a connection, one run each
    #[arg(long, value_name = "C", value_delimiter = ',', default_value = "1000")]
    per_connection: Vec<usize>,

    /// How long they are left idle while the server's CPU is counted
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    idle: u64,

    /// The warpline to measure [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,

    /// Folder on the disk to measure [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Clone, Debug, Serialize)]
struct Run {
    per_connection: usize,
    rest_bytes: u64,
    bytes: u64,
    /// Opening all at once: seconds, and the server's CPU seconds.
    opened: (f64, f64),
    /// The same once the server had been killed and was ready again.
    reopened: (f64, f64),
    /// CPU seconds of the server in a second in which nobody sends.
    idle_cpu: f64,
}

pub(crate) fn run(options: &StreamsOptions) -> Result<Report, Failure> {
    let binary = server::binary(options.binary.as_deref())?;
    let mut found = Vec::new();
    for per_connection in &options.per_connection {
        eprintln!("measuring {} streams, {per_connection} on a connection", options.streams);
        found.push(measure(&binary, (*per_connection).max(1), options)?);
    }
    let machine = Machine::here();
    let title = format!("{} idle streams ({machine})", options.streams);
    let header = [
        "streams on a connection",
        "server MiB before",
        "with all",
        "kB a stream",
        "all open after s",
        "CPU s",
        "back after a kill after s",
        "CPU s",
        "idle CPU, % of a core",
    ];
    let mut table = Table::new(title, &header);
    table.note("clients run on the same machine; their time to open is in the seconds");
    for one in &found {
        let (before, with) = (one.rest_bytes as f64, one.bytes as f64);
        table.row(vec![
            one.per_connection.to_string(),
            number(before / MIB),
            number(with / MIB),
            number((with - before) / 1e3 / options.streams as f64),
            number(one.opened.0),
            number(one.opened.1),
            number(one.reopened.0),
            number(one.reopened.1),
            number(100.0 * one.idle_cpu),
        ]);
    }
    let figures = json!({ "machine": machine, "streams": options.streams, "runs": found });
    Ok(Report { tables: vec![table], figures })
}

fn measure(binary: &Path, per_connection: usize, options: &StreamsOptions) -> Result<Run, Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let mut server = Server::start(binary, options.dir.as_deref(), Vec::new())?;
    sleep(CALM);
    let rest_bytes = server.memory()?.now;
    let open = |server: &Server| runtime.block_on(open(server, options.streams, per_connection));
    let (clients, opened) = timed(&server, open)?;
    sleep(CALM);
    let (bytes, cpu) = (server.memory()?.now, server.cpu_seconds()?);
    let idle = options.idle.max(1);
    sleep(Duration::from_secs(idle));
    let idle_cpu = (server.cpu_seconds()? - cpu) / idle as f64;
    drop(clients);
    server.restart(|_| Ok(()))?;
    let (_clients, reopened) = timed(&server, open)?;
    Ok(Run { per_connection, rest_bytes, bytes, opened, reopened, idle_cpu })
}

/// What `open` answers, its seconds and the server's CPU seconds.
fn timed<T>(
    server: &Server,
    open: impl FnOnce(&Server) -> Result<T, Failure>,
) -> Result<(T, (f64, f64)), Failure> {
    let (begun, cpu) = (Instant::now(), server.cpu_seconds()?);
    let opened = open(server)?;
    Ok((opened, (begun.elapsed().as_secs_f64(), server.cpu_seconds()? - cpu)))
}

/// Opens all streams at the same time; each has been welcomed when it returns.
async fn open(
    server: &Server,
    streams: usize,
    per_connection: usize,
) -> Result<Vec<StreamClient>, Failure> {
    let url = Url::parse(&server.url())?;
    let mut opening = JoinSet::new();
    for first in (0..streams).step_by(per_connection) {
        let link = dial(&url)?;
        for number in first..streams.min(first + per_connection) {
            let producer = ProducerId::new(format!("node-{number:05}")).ok_or("a name too long")?;
            let options = ClientOptions { patience: PATIENCE, ..ClientOptions::default() };
            opening.spawn(StreamClient::connect_over(link.clone(), producer, options));
        }
    }
    let mut clients = Vec::with_capacity(streams);
    while let Some(opened) = opening.join_next().await {
        clients.push(opened??);
    }
    let open = server.sample("warpline_streams_open")?;
    if open as usize != streams {
        return Err(format!("of {streams} streams the server has {open}").into());
    }
    Ok(clients)
}
