//! `warpline agent`: scrapes exporters, GPUs and the machine at every tick and streams what they say.
//!
//! All targets are asked at the same moment, a whole multiple of the interval, and that moment is
//! the time of their rows. One frame carries a tick of one target. Frames are kept in a spool until
//! the server has stored them, so a server that is away for a while loses nothing that fits it.

mod gpus;
mod labels;
mod node;
mod own;
mod spool;
mod target;
mod ticks;

use crate::Failure;
use crate::config::{ByteSize, Span};
use crate::remote::RemoteOptions;
use crate::signals;
use bytes::Bytes;
use futures::future::join_all;
use gpus::Gpus;
use labels::Dresser;
use own::Own;
pub use spool::Until;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use target::{Address, Target};
use ticks::Ticks;
use tokio::task::JoinSet;
use tracing::{info, warn};
use warpline_ingest::SpoolClient;
use warpline_ingest::dictionary::Dictionary;
use warpline_ingest::node::NodeTable;
use warpline_ingest::scrape::Origin;
use warpline_ingest::spool::SpoolCounts;
use warpline_storage::model::{Layout, ProducerId};

/// How long what is under way may take when the agent is asked to end.
const LEAVE: Duration = Duration::from_secs(10);

/// With --once: how long until the server answers, and until it has all on its disk.
const PATIENCE: Duration = Duration::from_secs(10);
const ONCE: Duration = Duration::from_mins(1);

const EXAMPLES: &str = "\
Examples:
  warpline agent --target http://localhost:9400/metrics
  warpline agent --target http://gpu-1:9400/metrics --target http://gpu-2:9400/metrics --cluster c1
  warpline agent --nvml --node-metrics --spool /var/lib/warpline/spool
  warpline agent --once --target ./scrape.prom        (a file, read once)";

/// Scrape exporters (Prometheus text, OpenMetrics) and stream them to a server.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct AgentOptions {
    /// An exporter's URL, or a file of what one printed; may be given again
    #[arg(long = "target", value_name = "URL", required_unless_present_any = ["node_metrics", "nvml"])]
    pub targets: Vec<Address>,

    /// Also read this machine's processors, memory, disks and network into table node
    #[arg(long)]
    pub node_metrics: bool,

    /// Also read this machine's NVIDIA GPUs through the driver's library, without an exporter
    #[arg(long)]
    pub nvml: bool,

    /// The driver's library for --nvml
    /// [default: libnvidia-ml.so.1, where the system finds it]
    #[arg(long, value_name = "FILE")]
    pub nvml_library: Option<PathBuf>,

    /// A file of name=value lines: attributes for all rows; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// A folder with a file per GPU index, each line a job: attribute hpc_job, as dcgm-exporter's
    #[arg(long, value_name = "DIR", env = "DCGM_HPC_JOB_MAPPING_DIR")]
    pub hpc_job_mapping_dir: Option<PathBuf>,

    #[command(flatten)]
    pub remote: RemoteOptions,

    /// Time between scrapes; they happen at whole multiples of it
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub interval: Span,

    /// How long a target may take to answer; at most nine tenths of the interval
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

    /// A folder for what the server does not have yet: it outlives the agent
    /// [default: spool in systemd's StateDirectory; without one, memory, lost when the agent ends]
    #[arg(long, value_name = "DIR", env = "WARPLINE_SPOOL")]
    pub spool: Option<PathBuf>,

    /// How much may wait for the server; past it the oldest is dropped
    /// [default: 1GiB in a folder, 64MiB in memory]
    #[arg(long, value_name = "SIZE")]
    pub spool_size: Option<ByteSize>,

    /// Until when the spool keeps what was measured: in the server's tables, or on its disk
    #[arg(long, value_name = "STATE", value_enum, default_value = "stored")]
    pub spool_until: Until,

    /// Scrape once, wait until it is durable, and say what it gave
    #[arg(long)]
    pub once: bool,
}

/// Scrapes until asked to end (or once), then waits until what was sent is durable.
pub async fn run(options: AgentOptions) -> Result<(), Failure> {
    let mut ended = pin!(signals::asked_to_end()?);
    let producer = producer(&options)?;
    let targets = targets(&options)?;
    if options.once {
        return tokio::select! {
            done = once(&options, &producer, targets) => done,
            () = &mut ended => Err("ended before all was on the server's disk".into()),
        };
    }
    let gpus = tokio::select! {
        gpus = Gpus::open(&options) => gpus?,
        () = &mut ended => return Ok(()),
    };
    let spool = spool::open(&options)?;
    let client = Arc::new(SpoolClient::start(options.remote.remote()?, &producer, spool)?);
    let labels = Arc::new(Dresser::new(&options)?);
    let mut sources = start(&options, targets, gpus, &Sink { client: client.clone(), labels })?;
    let failure = tokio::select! {
        failure = client.failed() => Some(failure),
        () = ended => None,
    };
    sources.shutdown().await;
    match failure {
        Some(failure) => Err(failure.into()),
        None => leave(&options, client).await,
    }
}

/// Where sources put what they read.
#[derive(Clone, Debug)]
struct Sink {
    client: Arc<SpoolClient>,
    labels: Arc<Dresser>,
}

impl Sink {
    fn put(&self, blocks: Vec<(Arc<Layout>, Bytes)>) {
        self.client.append(self.labels.dress(blocks), ticks::now());
    }
}

/// Every source reads for itself, so that a slow one holds up no other.
fn start(
    options: &AgentOptions,
    targets: Vec<Target>,
    gpus: Option<Gpus>,
    sink: &Sink,
) -> Result<JoinSet<()>, Failure> {
    let interval = options.interval.0.max(ticks::SHORTEST);
    info!("scraping {} targets every {interval:?}", targets.len());
    let patience = ticks::patience(options.timeout.0, interval);
    let mut sources = JoinSet::new();
    for target in targets {
        let ticks = Ticks::new(target.address().to_string(), interval);
        sources.spawn(scrape_for_ever(target, ticks, patience, sink.clone()));
    }
    let origin = origin(options);
    if options.node_metrics {
        let table = NodeTable::new(&origin.cluster, &origin.node);
        sources.spawn(read_node_for_ever(table, interval, sink.clone()));
    }
    if let Some(gpus) = gpus {
        sources.spawn(read_gpus_for_ever(gpus, interval, sink.clone()));
    }
    sources.spawn(tell_for_ever(Own::new(dictionary(options)?, origin), sink.clone()));
    sources.spawn(refresh_for_ever(interval, sink.clone()));
    Ok(sources)
}

async fn scrape_for_ever(mut target: Target, mut ticks: Ticks, patience: Duration, sink: Sink) {
    loop {
        let tick = ticks.next().await;
        if let Ok(scrape) = target.scrape(tick, patience).await {
            scrape.warn_of_refusals(target.address());
            sink.put(scrape.mapped.blocks);
        }
    }
}

async fn read_node_for_ever(mut table: NodeTable, interval: Duration, sink: Sink) {
    let mut ticks = Ticks::new("/proc".to_owned(), interval);
    loop {
        let tick = ticks.next().await;
        let texts = node::texts().await;
        sink.put(table.read(&texts, tick).into_iter().collect());
    }
}

async fn read_gpus_for_ever(mut gpus: Gpus, interval: Duration, sink: Sink) {
    let mut ticks = Ticks::new("NVML".to_owned(), interval);
    loop {
        let tick = ticks.next().await;
        let blocks;
        (gpus, blocks) = gpus.read(tick).await;
        sink.put(blocks);
    }
}

async fn tell_for_ever(mut own: Own, sink: Sink) {
    let mut ticks = Ticks::new("the agent".to_owned(), own::EVERY);
    loop {
        let tick = ticks.next().await;
        sink.put(own.read(&sink.client.counts(), tick));
    }
}

async fn refresh_for_ever(interval: Duration, sink: Sink) {
    let mut ticks = Ticks::new("labels".to_owned(), interval.max(Duration::from_secs(1)));
    loop {
        ticks.next().await;
        sink.labels.refresh();
    }
}

/// Lets the server take what it can within a while; the rest stays in the spool.
async fn leave(options: &AgentOptions, client: Arc<SpoolClient>) -> Result<(), Failure> {
    let client = Arc::into_inner(client).expect("the sources have ended");
    let (summary, settled) = client.finish(LEAVE).await?;
    let (stream, counts) = (summary.stream, summary.spool);
    info!(
        "took {} frames: {} dropped, {} unreadable, {} too large",
        stream.frames, counts.dropped, counts.unreadable, counts.left_out
    );
    if !stream.refusals.is_empty() {
        warn!("the server refused: {}", stream.refusals);
    }
    match (settled, spool::folder(options)) {
        (true, _) => info!("the server has all of them on its disk"),
        (false, Some(folder)) => info!("what the server has not taken is in {}", folder.display()),
        (false, None) => {
            return Err(format!("the server took nothing more within {LEAVE:?}").into());
        }
    }
    Ok(())
}

async fn once(
    options: &AgentOptions,
    producer: &ProducerId,
    targets: Vec<Target>,
) -> Result<(), Failure> {
    let client =
        SpoolClient::start(options.remote.remote()?, producer, spool::in_memory(options)?)?;
    let labels = Dresser::new(options)?;
    client.met(PATIENCE).await?;
    let time = ticks::now();
    let asked = targets.into_iter().map(async |mut target| {
        let scrape = target.scrape(time, options.timeout.0).await;
        (target, scrape)
    });
    let mut failed = 0;
    for (target, scrape) in join_all(asked).await {
        match scrape {
            Ok(scrape) => {
                println!("{} {}", target.address(), scrape.summary());
                scrape.warn_of_refusals(target.address());
                client.append(labels.dress(scrape.mapped.blocks), time);
            }
            Err(reason) => {
                warn!("{}: {reason}", target.address());
                failed += 1;
            }
        }
    }
    if options.node_metrics {
        let origin = origin(options);
        let row = NodeTable::new(&origin.cluster, &origin.node).read(&node::texts().await, time);
        client.append(labels.dress(row.into_iter().collect()), time);
    }
    if let Some(gpus) = Gpus::open(options).await? {
        client.append(labels.dress(gpus.read(time).await.1), time);
    }
    let (summary, settled) = client.finish(ONCE).await?;
    let (stream, counts) = (summary.stream, summary.spool);
    if !settled {
        return Err(format!("not on the server's disk within {ONCE:?}").into());
    }
    println!("acknowledged frames={} bytes={}", stream.frames, stream.bytes);
    if !stream.refusals.is_empty() {
        return Err(format!("the server refused: {}", stream.refusals).into());
    }
    if counts.dropped + counts.left_out > 0 {
        let SpoolCounts { dropped, left_out, .. } = counts;
        return Err(
            format!("{dropped} frames dropped at --spool-size, {left_out} too large").into()
        );
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} targets gave nothing").into()) }
}

fn dictionary(options: &AgentOptions) -> Result<Arc<Dictionary>, Failure> {
    Ok(Arc::new(Dictionary::with(options.dictionary.as_deref())?))
}

/// This machine, for what is told of itself.
fn origin(options: &AgentOptions) -> Origin {
    let node = options.node.clone().unwrap_or_else(machine_name).into();
    Origin { cluster: options.cluster.as_str().into(), node, instance: None }
}

fn targets(options: &AgentOptions) -> Result<Vec<Target>, Failure> {
    let dictionary = dictionary(options)?;
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
