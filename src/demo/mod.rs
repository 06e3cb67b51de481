//! `warpline demo`: a server with a simulated fleet behind it, and queries to try.
//!
//! ```text
//! server on a local folder <- hours of the past at full speed <- fleet (a function of its seed)
//!                          <- then one tick per second, until Ctrl-C
//! ```
//! Promises: a second run on the same folder goes on where the first one ended. A tick's sequence
//! is its number since 1970, so the server itself knows which ticks it has.

mod player;
mod tour;

use crate::config::{Address, Config, ConfigError, Span};
use crate::fleet::{FIELD_COUNT, Fleet, FleetSpec, GPUS_PER_NODE};
use crate::serve::{ServeOptions, Server};
use crate::{Failure, progress, signals};
use player::Player;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use url::Url;
use warpline_storage::Storage;
use warpline_storage::model::{ProducerId, Timestamp};

/// Microseconds between ticks.
const TICK: Timestamp = 1_000_000;

const EXAMPLES: &str = "\
Examples:
  warpline demo
  warpline demo --gpus 256 --hours 6
  warpline demo --for 60s                  (ends by itself)
  rm -r warpline-data                      (forgets it all)";

/// Run a server with a simulated fleet, and show queries worth trying.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DemoOptions {
    /// Folder of the data [default: ./warpline-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// GPUs in the fleet
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub gpus: u64,

    /// Hours of the past to begin with
    #[arg(long, value_name = "HOURS", default_value_t = 1.0)]
    pub hours: f64,

    /// End by itself after this long
    #[arg(long = "for", value_name = "TIME")]
    pub duration: Option<Span>,

    /// Another seed gives another fleet
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Address of HTTP and gRPC [default: 127.0.0.1:7480]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<Address>,

    /// Address of the PostgreSQL wire [default: 127.0.0.1:7432]
    #[arg(long, value_name = "ADDRESS")]
    pub postgres: Option<Address>,
}

impl DemoOptions {
    fn configuration(&self) -> Result<Config, ConfigError> {
        let flags = ServeOptions {
            data: self.data.clone(),
            listen: self.listen,
            postgres: self.postgres,
            ..ServeOptions::default()
        };
        flags.configuration()
    }
}

/// Where the demo's server is.
#[derive(Clone, Debug)]
struct Home {
    storage: Storage,
    url: Url,
    postgres: SocketAddr,
    data: PathBuf,
    /// The last tick that the store has taken in an earlier run; 0 in the first.
    last_tick: u64,
}

/// Runs until Ctrl-C, SIGTERM or the end of `--for`.
pub async fn run(options: DemoOptions) -> Result<(), Failure> {
    let asked = signals::asked_to_end()?;
    let config = options.configuration()?;
    let mut server = Server::start(&config).await?;
    let home = Home {
        storage: server.storage().clone(),
        url: server.url(),
        postgres: server.postgres(),
        data: config.server.data,
        last_tick: server.storage().producer(&producer()).borrow().durable,
    };
    let outcome = tokio::select! {
        () = asked => Ok(()),
        outcome = play(&home, &options) => outcome,
        error = server.ended() => Err(error.into()),
    };
    server.stop().await?;
    outcome?;
    println!("\nStopped. The data stays in {}; run it again to go on.", home.data.display());
    Ok(())
}

fn producer() -> ProducerId {
    ProducerId::new("demo").expect("a short name")
}

async fn play(home: &Home, options: &DemoOptions) -> Result<(), Failure> {
    let spec = FleetSpec::new(options.seed, options.gpus, TICK);
    // One second at least: the queries of the tour need a table.
    let past = ((options.hours * 3600.0) as u64).max(1);
    let earliest = now_tick().saturating_sub(past);
    let first = earliest.max(home.last_tick + 1);
    println!(
        "{} GPUs on {} nodes, {FIELD_COUNT} fields each, every second",
        spec.gpus,
        nodes(&spec)
    );
    if home.last_tick > 0 {
        println!("going on after {}", tour::time(home.last_tick));
    }
    let mut player = Player::connect(&home.url, producer(), Fleet::new(spec), first).await?;
    backfill(&mut player).await?;
    flush(&home.storage).await?;
    tour::show(home).await?;
    let live = stream(&mut player);
    match options.duration {
        None => live.await,
        Some(length) => tokio::time::timeout(length.0, live).await.unwrap_or(Ok(())),
    }?;
    player.finish().await
}

/// Plays the past as fast as it goes, until it has caught up with the clock.
async fn backfill(player: &mut Player) -> Result<(), Failure> {
    let started = Instant::now();
    let bar = progress::count("backfill", now_tick().saturating_sub(player.next_tick()));
    while player.next_tick() < now_tick() {
        player.play().await?;
        bar.inc(1);
    }
    player.settled().await?;
    bar.finish_and_clear();
    let (seconds, sent) = (started.elapsed().as_secs_f64(), player.played());
    println!(
        "backfilled {} rows, {} values, on disk in {seconds:.1} s: {:.1} million values per second",
        sent.rows,
        sent.values,
        sent.values as f64 / seconds / 1e6,
    );
    Ok(())
}

/// Puts the backfill into the tables now, so that other readers of the files see it too.
async fn flush(storage: &Storage) -> Result<(), Failure> {
    let started = Instant::now();
    storage.flush().await?;
    let (seconds, written) = (started.elapsed().as_secs_f64(), storage.metrics());
    if written.flushed_rows > 0 {
        println!(
            "flushed {} rows into Parquet in {seconds:.1} s: {:.2} bytes per value",
            written.flushed_rows,
            written.flushed_bytes as f64 / (written.flushed_rows as f64 * FIELD_COUNT as f64),
        );
    }
    Ok(())
}

/// Plays each second once it is over.
async fn stream(player: &mut Player) -> Result<(), Failure> {
    loop {
        while player.next_tick() < now_tick() {
            player.play().await?;
        }
        let next = UNIX_EPOCH + Duration::from_secs(player.next_tick() + 1);
        let wait = next.duration_since(SystemTime::now()).unwrap_or_default();
        tokio::time::sleep(wait).await;
    }
}

/// The number of the second that has begun last.
fn now_tick() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs()
}

fn nodes(spec: &FleetSpec) -> u64 {
    spec.gpus.div_ceil(GPUS_PER_NODE)
}
