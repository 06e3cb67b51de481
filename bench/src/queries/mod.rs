//! `queries`: the twelve questions of the harness, put to Warpline and to other stores.
//!
//! A run is a fresh server on an empty folder, the harness's data set imported and waited for
//! until it lies in files, then each statement on a server started anew. Every answer of ours is
//! compared with the harness's reference before a figure is shown.

mod dataset;
mod measure;
mod statements;
mod tables;
mod theirs;

use crate::Failure;
use crate::harness::Harness;
use crate::report::{Machine, Report};
use crate::server::{self, Server, Setting};
use clap::builder::PossibleValuesParser;
use dataset::{Dataset, Load};
use measure::Measured;
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use theirs::PeerResults;

const QUESTIONS: &str = "Q1,Q2,Q3,Q4,Q5,Q6,Q7,Q8,Q9,Q10,Q11,Q12";

/// Measure twelve questions over a fleet's hour, beside other stores, with checked answers.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct QueryOptions {
    /// Folder of the harness that has the data, the reference answers and the other stores
    #[arg(long, value_name = "DIR")]
    peers: PathBuf,

    /// Sizes of the harness's data set, one run each
    #[arg(long, value_name = "SIZES", value_delimiter = ',', default_value = "S,M")]
    sizes: Vec<String>,

    /// Stores to measure beside Warpline
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "duckdb,chdb,polars-parquet,victoriametrics"
    )]
    systems: Vec<String>,

    /// Take the stores' results from the harness's last run
    #[arg(long)]
    reuse_peers: bool,

    /// The questions to ask
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = QUESTIONS,
        value_parser = PossibleValuesParser::new(QUESTIONS.split(',')),
        hide_possible_values = true
    )]
    queries: Vec<String>,

    /// The warpline to measure [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,

    /// A setting of the server, such as query.memory=2GiB; can be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<Setting>,

    /// How old a buffered row may get before the server flushes it
    #[arg(long, value_name = "TIME", default_value = "10s")]
    flush_interval: String,

    /// Folder on the disk to measure [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// One size measured.
#[derive(Clone, Debug, Serialize)]
struct Run {
    size: String,
    data: Dataset,
    load: Load,
    queries: Vec<Measured>,
    peers: Vec<PeerResults>,
    /// Whether the peers' results are of an earlier run.
    peers_reused: bool,
}

pub(crate) fn run(options: &QueryOptions) -> Result<Report, Failure> {
    let binary = server::binary(options.binary.as_deref())?;
    let harness = Harness::at(&options.peers)?;
    let machine = Machine::here();
    let mut runs = Vec::new();
    for size in &options.sizes {
        runs.push(measure_size(&binary, &harness, size, options)?);
    }
    let tables = runs.iter().flat_map(|run| tables::all(run, &machine)).collect();
    let figures = json!({ "machine": machine, "settings": options.settings(), "runs": runs });
    Ok(Report { tables, figures })
}

impl QueryOptions {
    fn settings(&self) -> Vec<Setting> {
        let flush = Setting::new("storage.flush_interval", &self.flush_interval);
        let maintain = Setting::new("maintenance.interval", "1s");
        let delete = Setting::new("maintenance.delete_after", "1s");
        [flush, maintain, delete].into_iter().chain(self.set.iter().cloned()).collect()
    }

    fn asks(&self, query: &str) -> bool {
        self.queries.iter().any(|asked| asked == query)
    }
}

fn measure_size(
    binary: &Path,
    harness: &Harness,
    size: &str,
    options: &QueryOptions,
) -> Result<Run, Failure> {
    let (data, files) = dataset::convert(harness, size, options.dir.as_deref())?;
    eprintln!("loading warpline, size {size}");
    let mut server = Server::start(binary, options.dir.as_deref(), options.settings())?;
    let load = files.load(binary, &mut server, &data)?;
    let statements: Vec<_> =
        statements::all(&data).into_iter().filter(|s| options.asks(s.query())).collect();
    let answers = tempfile::tempdir()?;
    let mut queries = measure::all(harness, &mut server, &statements, answers.path())?;
    drop(server);
    measure::check(harness, size, answers.path(), &mut queries)?;
    let peers_reused = options.reuse_peers;
    let peers = theirs::measure(harness, size, &options.systems, &options.queries, peers_reused)?;
    Ok(Run { size: size.to_owned(), data, load, queries, peers, peers_reused })
}
