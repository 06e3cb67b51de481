//! `warpline agent`: scrapes exporters at every tick and streams what they say.
//!
//! All targets are asked at the same moment, a whole multiple of the interval, and that moment is
//! the time of their rows. One frame carries a tick of all targets. Frames are kept until the
//! server has stored them, so a server that is away for a while loses nothing that fits the spool.

mod target;
mod uplink;

use crate::Failure;
use crate::config::{ByteSize, Span};
use crate::{fields, signals};
use futures::future::join_all;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use target::{Address, Scrape, Target};
use tracing::{info, warn};
use uplink::Uplink;
use url::Url;
use warpline_ingest::scrape::Origin;
use warpline_storage::model::{ProducerId, Timestamp};

/// How long what is under way may take when the agent is asked to end.
const LEAVE: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  warpline agent --target http://localhost:9400/metrics
  warpline agent --target http://gpu-1:9400/metrics --target http://gpu-2:9400/metrics --cluster c1
  warpline agent --once --target ./scrape.prom        (a file, read once)";

/// Scrape exporters (Prometheus text, OpenMetrics) and stream them to a server.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct AgentOptions {
    /// An exporter's URL, or a file of what one printed; may be given again
    #[arg(long = "target", value_name = "URL", required = true)]
    pub targets: Vec<Address>,

    /// The server's address
    #[arg(
        long,
        value_name = "URL",
        env = "WARPLINE_SERVER",
        default_value = "http://127.0.0.1:7480"
    )]
    pub server: Url,

    /// Time between scrapes; they happen at whole multiples of it
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub interval: Span,

    /// How long a target may take to answer; the interval, if that is shorter
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub timeout: Span,

    /// The node, where an exporter's labels do not name it
    /// [default: the target's host; this machine's name for a local target]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,

    /// The cluster, where an exporter's labels do not name it
    #[arg(long, value_name = "NAME", env = "WARPLINE_CLUSTER", default_value = "")]
    pub cluster: String,

    /// Under which name the server counts this agent's frames: one per running agent
    /// [default: agent/ and this machine's name, with --once and /once]
    #[arg(long, value_name = "ID")]
    pub producer_id: Option<String>,

    /// A CSV file of further fields: id,names,column,unit,kind,type
    #[arg(long, value_name = "FILE", env = "WARPLINE_DICTIONARY")]
    pub dictionary: Option<PathBuf>,

    /// Memory for frames that are not on the server's disk, and as much again for those that are
    /// and are not in its tables yet
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    pub spool: ByteSize,

    /// Scrape once, wait until it is durable, and say what it gave
    #[arg(long)]
    pub once: bool,
}

/// Scrapes until asked to end (or once), then waits until what was sent is durable.
pub async fn run(options: AgentOptions) -> Result<(), Failure> {
    let ended = signals::asked_to_end()?;
    let producer = producer(&options)?;
    let mut targets = targets(&options)?;
    if options.once {
        return once(&options, producer, &mut targets).await;
    }
    tokio::pin!(ended);
    let mut uplink = tokio::select! {
        uplink = Uplink::connect_patiently(&options.server, &producer, spool(&options)) => uplink?,
        () = &mut ended => return Ok(()),
    };
    tokio::select! {
        failure = scrape_for_ever(&options, &mut targets, &mut uplink) => return Err(failure),
        () = &mut ended => {}
    }
    let left = tokio::time::timeout(LEAVE, uplink.finish()).await;
    let summary = left.map_err(|_| format!("the server took nothing more within {LEAVE:?}"))??;
    info!("sent {} frames, all durable", summary.frames);
    Ok(())
}

async fn once(
    options: &AgentOptions,
    producer: ProducerId,
    targets: &mut [Target],
) -> Result<(), Failure> {
    let mut uplink = Uplink::connect(&options.server, &producer, spool(options)).await?;
    let time = micros(SystemTime::now());
    let mut failed = 0;
    for (target, scrape) in scrape_all(targets, time, options.timeout.0).await {
        match scrape {
            Ok(scrape) => {
                println!("{target} {}", scrape.summary());
                scrape.warn_of_refusals(target);
                uplink.send(scrape.mapped.blocks).await?;
            }
            Err(reason) => {
                warn!("{target}: {reason}");
                failed += 1;
            }
        }
    }
    let summary = uplink.finish().await?;
    println!("acknowledged frames={} bytes={}", summary.frames, summary.bytes);
    if !summary.refusals.is_empty() {
        return Err(format!("the server refused: {}", summary.refusals).into());
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} targets gave nothing").into()) }
}

async fn scrape_for_ever(
    options: &AgentOptions,
    targets: &mut [Target],
    uplink: &mut Uplink,
) -> Failure {
    let interval = options.interval.0.max(Duration::from_millis(1));
    let timeout = options.timeout.0.min(interval);
    info!("scraping {} targets every {interval:?}", targets.len());
    let mut last = micros(SystemTime::now());
    loop {
        let now = micros(SystemTime::now());
        if stepped_back(now, last, interval) {
            warn!("the clock is {:?} back: scraping on by it", micros_between(now, last));
            last = now;
        }
        let tick = next_tick(now, last, interval);
        let missed = (tick - last) / interval.as_micros() as i64 - 1;
        if missed > 0 {
            warn!("{missed} scrapes were missed: the server or a target was too slow");
        }
        tokio::time::sleep(until(tick)).await;
        last = tick;
        let mut blocks = Vec::new();
        for (target, scrape) in scrape_all(targets, tick, timeout).await {
            if let Ok(scrape) = scrape {
                scrape.warn_of_refusals(target);
                blocks.extend(scrape.mapped.blocks);
            }
        }
        if let Err(error) = uplink.send(blocks).await {
            return error.into();
        }
    }
}

/// Asks all targets at once; the answers come in the order of the targets.
async fn scrape_all(
    targets: &mut [Target],
    time: Timestamp,
    timeout: Duration,
) -> Vec<(&Address, Result<Scrape, String>)> {
    let asked = targets.iter_mut().map(async |target| {
        let scrape = target.scrape(time, timeout).await;
        (target.address(), scrape)
    });
    join_all(asked).await
}

/// Whether the last tick is so far ahead of the clock that waiting for the next would be a gap.
fn stepped_back(now: Timestamp, last: Timestamp, interval: Duration) -> bool {
    micros_between(now, last) > interval
}

fn micros_between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_micros((to - from).max(0).cast_unsigned())
}

/// The next multiple of the interval after both times.
fn next_tick(now: Timestamp, last: Timestamp, interval: Duration) -> Timestamp {
    let step = interval.as_micros() as i64;
    (now.max(last).div_euclid(step) + 1) * step
}

fn until(tick: Timestamp) -> Duration {
    micros_between(micros(SystemTime::now()), tick)
}

fn micros(time: SystemTime) -> Timestamp {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as Timestamp)
}

fn spool(options: &AgentOptions) -> usize {
    usize::try_from(options.spool.0).unwrap_or(usize::MAX)
}

fn targets(options: &AgentOptions) -> Result<Vec<Target>, Failure> {
    let dictionary = Arc::new(fields::load(options.dictionary.as_deref())?);
    // Exporters are beside the agent: a proxy of the environment is not for them.
    let client = reqwest::Client::builder().no_proxy().build()?;
    let here = machine_name();
    let target = |address: &Address| {
        let node = options.node.as_deref().or_else(|| address.remote_host()).unwrap_or(&here);
        let cluster = options.cluster.as_str().into();
        let instance = address.instance().map(Into::into);
        let origin = Origin { cluster, node: node.into(), instance };
        Target::new(address.clone(), dictionary.clone(), origin, client.clone())
    };
    Ok(options.targets.iter().map(target).collect())
}

fn producer(options: &AgentOptions) -> Result<ProducerId, Failure> {
    let once = if options.once { "/once" } else { "" };
    let default = || format!("agent/{}{once}", options.node.clone().unwrap_or_else(machine_name));
    let name = options.producer_id.clone().unwrap_or_else(default);
    let limit = ProducerId::MAX_BYTES;
    ProducerId::new(name)
        .ok_or_else(|| format!("--producer-id must have 1 to {limit} bytes").into())
}

fn machine_name() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = kernel.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests;
