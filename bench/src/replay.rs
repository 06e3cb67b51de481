//! The harness's ready-made requests of other protocols, sent to a server of ours as the harness
//! sends them to its peers: two connections, one request after the other on each.

use crate::Failure;
use crate::harness::Harness;
use crate::http::Connection;
use crate::peers::{Ingest, Peer};
use crate::server::{self, Server, Setting};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

/// The harness's metrics as fields of GPUs.
const FIELDS: &str = include_str!("../harness_fields.csv");
const CONNECTIONS: usize = 2;
const PATIENCE: Duration = Duration::from_mins(1);
/// Before a request is sent again that the server had no room for.
const AGAIN: Duration = Duration::from_millis(100);

/// A protocol that the harness has requests of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// Prometheus remote write 1.0, of metrics that the dictionary does not know
    RemoteWrite,
    /// The same of metrics that are the fields of GPUs, by a dictionary of the server's
    RemoteWriteFields,
    /// InfluxDB's line protocol
    Line,
}

impl Protocol {
    /// The harness's word for it.
    fn file(self) -> &'static str {
        match self {
            Self::RemoteWrite | Self::RemoteWriteFields => "rw",
            Self::Line => "line",
        }
    }

    fn request(self) -> (&'static str, &'static [(&'static str, &'static str)]) {
        match self {
            Self::RemoteWrite | Self::RemoteWriteFields => (
                "POST /api/v1/write",
                &[
                    ("Content-Type", "application/x-protobuf"),
                    ("Content-Encoding", "snappy"),
                    ("X-Prometheus-Remote-Write-Version", "0.1.0"),
                ],
            ),
            Self::Line => ("POST /write?precision=ms", &[]),
        }
    }

    /// Where the server counts the samples it read.
    fn counter(self) -> &'static str {
        match self {
            Self::RemoteWrite | Self::RemoteWriteFields => {
                "warpline_write_samples_total{protocol=\"remote_write_1\"}"
            }
            Self::Line => "warpline_write_samples_total{protocol=\"influx\"}",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::RemoteWrite => "warpline, remote write",
            Self::RemoteWriteFields => "warpline, remote write of fields",
            Self::Line => "warpline, line protocol",
        }
    }
}

/// Takes all requests of a protocol in, until every row is in files with its rollups.
pub(crate) fn measure(
    binary: &Path,
    dir: Option<&Path>,
    harness: &Harness,
    size: &str,
    protocol: Protocol,
) -> Result<Peer, Failure> {
    let bodies: Vec<Vec<Vec<u8>>> = (0..CONNECTIONS)
        .map(|part| read(&harness.payload(size, &format!("{}-{part}.bin", protocol.file()))))
        .collect::<Result<_, _>>()?;
    let fields = tempfile::NamedTempFile::new()?;
    let mut settings = vec![Setting::new("storage.flush_interval", "10s")];
    if protocol == Protocol::RemoteWriteFields {
        fs::write(fields.path(), FIELDS)?;
        let fields = fields.path().to_str().ok_or("the temporary folder's name is no text")?;
        settings.push(Setting::new("server.dictionary", fields));
    }
    let server = Server::start(binary, dir, settings)?;
    let (begun, before) = (Instant::now(), server.cpu_seconds()?);
    let address = server.address();
    scope(|threads| {
        let senders: Vec<_> =
            bodies.iter().map(|bodies| threads.spawn(|| send(address, protocol, bodies))).collect();
        senders.into_iter().try_for_each(|sender| match sender.join() {
            Ok(sent) => sent,
            Err(_) => Err("a sender panicked".into()),
        })
    })?;
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), server.cpu_seconds()? - before);
    server.wait_until_settled()?;
    let ingest = Ingest {
        wall,
        cpu,
        opt_cpu: server.cpu_seconds()? - before - cpu,
        rss: server.memory()?.peak as f64,
        disk: server.parquet()?.bytes as f64,
        samples: server::sample(&server.page()?, protocol.counter())?,
    };
    Ok(Peer { system: protocol.name().to_owned(), size: size.to_owned(), ingest })
}

/// Requests, each behind its length in four bytes, the least first.
fn read(file: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let missing = |error| {
        let file = file.display();
        format!("{file}: {error}; measure a peer of this protocol first, which makes the requests")
    };
    let bytes = fs::read(file).map_err(missing)?;
    let mut rest = bytes.as_slice();
    let mut bodies = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (body, after) = after.split_at_checked(length).ok_or("a request is broken off")?;
        bodies.push(body.to_vec());
        rest = after;
    }
    Ok(bodies)
}

fn send(address: SocketAddr, protocol: Protocol, bodies: &[Vec<u8>]) -> Result<(), Failure> {
    let mut connection = Connection::open(address, PATIENCE)?;
    let (line, headers) = protocol.request();
    let mut answer = Vec::new();
    for body in bodies {
        loop {
            match connection.send(line, headers, body, &mut answer)? {
                200 | 204 => break,
                429 | 503 => sleep(AGAIN),
                status => {
                    let text = String::from_utf8_lossy(&answer);
                    return Err(format!("a request was answered {status}: {text}").into());
                }
            }
        }
    }
    Ok(())
}
