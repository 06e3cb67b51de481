//! `warpline simulate`: streams a fleet without hardware to a server and says what it took.

mod audit;
mod feed;
mod frames;
mod latency;
#[cfg(test)]
mod tests;

pub use audit::Progress;
pub use feed::Feed;
pub use latency::Latency;

use crate::Failure;
use crate::config::Span;
use crate::fleet::{Fleet, FleetSpec, Preset};
use crate::remote::RemoteOptions;
use crate::signals;
use chrono::{DateTime, Utc};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use warpline_ingest::client::Refusals;
use warpline_storage::model::Timestamp;

const EXAMPLES: &str = "\
Examples:
  warpline simulate --gpus 64                           a minute in real time
  warpline simulate --fleet small --duration 0s         until Ctrl-C
  warpline simulate --fleet medium --interval 10s --duration 6h --speed max
                                                        the last six hours, as fast as it goes
  warpline simulate --fleet colossus-1 --prepare 4 --duration 2m
                                                        222,000 GPUs, frames made ahead

The same seed, size, interval and cluster give the same data, whenever and wherever it is made.
The last line counts what the server said is durable: rows, and the values present in them.";

/// Stream a simulated GPU fleet to a server.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SimulateOptions {
    #[command(flatten)]
    pub remote: RemoteOptions,

    /// Number of GPUs, eight to a node [default: 1024]
    #[arg(long, value_name = "N", conflicts_with = "fleet")]
    pub gpus: Option<u64>,

    /// A fleet by name
    #[arg(long, value_name = "NAME")]
    pub fleet: Option<Preset>,

    /// Name of the fleet's cluster: fleets of other names are other series [default: gpu-east-1]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,

    /// Time between the scrapes of a node, at least 10ms
    #[arg(long, default_value = "1s")]
    pub interval: Span,

    /// How much of the fleet's time to stream; 0s goes on until Ctrl-C
    #[arg(long, default_value = "60s")]
    pub duration: Span,

    /// What the fleet is drawn from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// As time passes, or as fast as the server acknowledges
    #[arg(long, default_value = "real")]
    pub speed: Speed,

    /// The first tick, as 2026-11-20T00:00:00Z [default: now, or with --speed max such that the
    /// last tick is now]
    #[arg(long, value_name = "TIME")]
    pub start: Option<DateTime<Utc>>,

    /// Producers that share the fleet's nodes [default: one a node, at most 64]
    #[arg(long, value_name = "S", conflicts_with = "nodes_per_stream")]
    pub streams: Option<u64>,

    /// The same as nodes of one producer
    #[arg(long, value_name = "K")]
    pub nodes_per_stream: Option<u64>,

    /// Producers that share a connection; 1 is how agents come
    #[arg(long, value_name = "C", default_value_t = feed::STREAMS_PER_CONNECTION)]
    pub streams_per_connection: usize,

    /// Ticks sent at once [default: 1, or with --speed max what makes good frames]
    #[arg(long, value_name = "T")]
    pub ticks_per_frame: Option<u64>,

    /// Make N frames ahead and replay them with new times: sending costs little, counters jump
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub prepare: u64,

    /// Go on where the server stands with this very feed (needs the same options and --start)
    #[arg(long, requires = "start")]
    pub resume: bool,

    /// Append a line to FILE for every frame acknowledged as durable
    #[arg(long, value_name = "FILE")]
    pub audit: Option<PathBuf>,
}

/// It is part of the name of each producer.
const MAX_CLUSTER_BYTES: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Speed {
    /// Ticks as time passes
    Real,
    /// As fast as they are acknowledged
    Max,
}

/// What a server took.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Rows acknowledged as durable.
    pub rows: u64,
    /// Values in them, absent ones not counted.
    pub values: u64,
    pub elapsed: Duration,
    /// `None` where nothing was acknowledged.
    pub latency: Option<Latency>,
    pub reconnects: u64,
    /// What the server did not take; it is in `rows` and `values` all the same.
    pub refusals: Refusals,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, values, seconds) = (self.rows, self.values, self.elapsed.as_secs_f64());
        write!(f, "acknowledged rows={rows} values={values} seconds={seconds:.3}")
    }
}

/// Streams what `options` say and prints the summary; Ctrl-C ends it early and cleanly.
pub async fn run(options: SimulateOptions) -> Result<Summary, Failure> {
    let ended = signals::asked_to_end()?;
    let (end, stop) = watch::channel(false);
    tokio::spawn(async move {
        ended.await;
        end.send_replace(true);
    });
    let (server, feed) = (options.remote.remote()?, options.feed()?);
    let summary = feed.run(&server, Arc::new(Progress::default()), stop).await?;
    if let Some(latency) = summary.latency {
        println!("{latency}");
    }
    println!("{summary}");
    if summary.refusals.is_empty() {
        Ok(summary)
    } else {
        Err(format!("of that the server did not take {}", summary.refusals).into())
    }
}

impl SimulateOptions {
    fn feed(self) -> Result<Feed, Failure> {
        let interval = micros(self.interval.0);
        if interval < 10_000 {
            return Err("--interval must be at least 10ms".into());
        }
        let mut spec = match self.fleet {
            Some(preset) => preset.spec(self.seed, interval),
            None => FleetSpec::new(self.seed, self.gpus.unwrap_or(1_024), interval),
        };
        if let Some(cluster) = self.cluster {
            if cluster.is_empty() || cluster.len() > MAX_CLUSTER_BYTES {
                return Err(format!("--cluster must have 1 to {MAX_CLUSTER_BYTES} bytes").into());
            }
            spec.cluster = cluster;
        }
        let fleet = Fleet::new(spec);
        let ticks = match micros(self.duration.0) {
            0 => u64::MAX / 2,
            duration => duration.cast_unsigned().div_ceil(interval.cast_unsigned()),
        };
        let start = match self.start {
            Some(start) => start.timestamp_micros(),
            None => default_start(self.speed, ticks, interval)?,
        };
        let per_stream = |nodes: u64| fleet.nodes().div_ceil(nodes.max(1));
        let streams = self.streams.or(self.nodes_per_stream.map(per_stream));
        Ok(Feed {
            streams,
            streams_per_connection: self.streams_per_connection,
            ticks_per_frame: self.ticks_per_frame,
            prepare: self.prepare,
            resume: self.resume,
            audit: self.audit,
            ..Feed::new(fleet, start, ticks, self.speed)
        })
    }
}

fn default_start(speed: Speed, ticks: u64, interval: i64) -> Result<Timestamp, Failure> {
    let now = Utc::now().timestamp_micros();
    let length = i64::try_from(ticks).ok().and_then(|ticks| ticks.checked_mul(interval));
    match (speed, length) {
        (Speed::Real, _) => Ok(now),
        (Speed::Max, Some(length)) => Ok(now - length),
        (Speed::Max, None) => Err("--speed max without an end needs --start".into()),
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
