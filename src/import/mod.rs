//! `warpline import`: CSV and Parquet files into a table, by the stream that agents use.
//!
//! ```text
//! file -> source (rows) -> plan (first reading: types, series)
//!                       -> blocks (second reading) -> StreamClient -> server
//! ```
//! Promises: where any file has an error nothing is sent; an error names file and line. What the
//! server itself refuses is told and fails the import, and the rest of it stays. Importing the
//! same file twice changes nothing: the same keys get the same values.

mod blocks;
mod fields;
mod plan;
mod source;
mod time;

pub use time::TimeUnit;

use crate::remote::RemoteOptions;
use crate::{Failure, progress};
use blocks::{Encoded, Encoder};
use indicatif::ProgressBar;
use plan::{Plan, Planner, Roles};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;
use uuid::Uuid;
use warpline_ingest::client::Refusals;
use warpline_ingest::{ClientOptions, StreamClient};
use warpline_storage::model::{FieldType, ProducerId};

const EXAMPLES: &str = "\
Examples:
  warpline import --table node_power --time time_ms --time-unit ms \\
                  --identity run,node --attributes system,benchmark power.csv.gz
  warpline import --table port --time at --identity device,port --types in_ratio='decimal(9,2)' *.parquet

Every column without a role becomes a field: int64 where all its values are whole numbers,
float64 otherwise. Text belongs to --identity (which thing) or --attributes (what is known of it).

A server refuses rows older than it keeps them (14 days): for older data start it with
  WARPLINE_RETENTION_RAW=forever warpline serve";

/// Blocks that may wait for the network while the next ones are made.
const BLOCKS_AHEAD: usize = 16;

/// Load CSV (also gzip) and Parquet files into a table.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ImportOptions {
    #[command(flatten)]
    pub remote: RemoteOptions,

    /// The table that takes the rows; it is made where there is none
    #[arg(long, value_name = "NAME")]
    pub table: String,

    /// The column that says when
    #[arg(long, value_name = "COLUMN")]
    pub time: String,

    /// What the numbers of the time column count since 1970
    #[arg(long, value_enum, value_name = "UNIT", conflicts_with = "time_format")]
    pub time_unit: Option<TimeUnit>,

    /// How the time column is written (strptime); RFC 3339 needs none. Without a zone: UTC
    #[arg(long, value_name = "FORMAT")]
    pub time_format: Option<String>,

    /// The columns that say which thing a row is about
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', required = true)]
    pub identity: Vec<String>,

    /// The columns that say what is known about it
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub attributes: Vec<String>,

    /// Columns to leave out
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub skip: Vec<String>,

    /// A column's new name, which the other options then use; can be repeated
    #[arg(long, value_name = "COLUMN=NAME", value_parser = column_name)]
    pub rename: Vec<(String, String)>,

    /// The type of a field, where the one found is not wanted; can be repeated
    #[arg(long, value_name = "COLUMN=TYPE", value_parser = column_type)]
    pub types: Vec<(String, FieldType)>,

    /// The files, all of one table
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// What stands between a file and its table: one sentence with the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ImportError(String);

fn column_name(text: &str) -> Result<(String, String), String> {
    let (old, new) = text.split_once('=').ok_or_else(|| format!("{text:?} is not COLUMN=NAME"))?;
    Ok((old.to_owned(), new.to_owned()))
}

fn column_type(text: &str) -> Result<(String, FieldType), String> {
    let (name, field_type) =
        text.split_once('=').ok_or_else(|| format!("{text:?} is not COLUMN=TYPE"))?;
    Ok((name.to_owned(), field_type.parse()?))
}

/// Reads the files twice and streams them; ends when the server has them on disk.
pub async fn run(options: ImportOptions) -> Result<(), Failure> {
    let mut bytes = 0;
    for file in &options.files {
        bytes += std::fs::metadata(file).map_err(|e| format!("{}: {e}", file.display()))?.len();
    }
    let bar = progress::bytes("reading", bytes * 2);
    let plan = Arc::new(plan_files(options.clone(), bar.clone()).await?);
    if plan.rows == 0 {
        return Err("the files have no rows".into());
    }
    bar.set_message("sending");
    let outcome = send(&options, &plan, &bar).await?;
    bar.finish_and_clear();
    if !outcome.refusals.is_empty() {
        return Err(outcome.refused(&options.table).into());
    }
    println!(
        "imported {} rows of {} series into {}; {} values, all on the server's disk",
        outcome.rows,
        plan.series_count(),
        options.table,
        outcome.values,
    );
    println!("fields: {}", plan.described());
    Ok(())
}

async fn plan_files(options: ImportOptions, bar: ProgressBar) -> Result<Plan, Failure> {
    let planned = tokio::task::spawn_blocking(move || {
        let mut planner = Planner::new(Roles::of(&options));
        for file in &options.files {
            source::read(file, &bar, &mut planner)?;
        }
        planner.finish(&options.table)
    });
    Ok(planned.await??)
}

/// What went over the wire.
#[derive(Clone, Debug, Default)]
struct Sent {
    rows: u64,
    values: u64,
    refusals: Refusals,
}

impl Sent {
    fn refused(&self, table: &str) -> String {
        let Self { rows, refusals, .. } = self;
        format!(
            "of {rows} rows for {table} the server refused {refusals}; what it took stays, and \
             importing the mended files again does not double it"
        )
    }
}

async fn send(
    options: &ImportOptions,
    plan: &Arc<Plan>,
    bar: &ProgressBar,
) -> Result<Sent, Failure> {
    let producer = ProducerId::new(format!("import-{}", Uuid::new_v4())).expect("a short name");
    let mut client =
        StreamClient::connect(options.remote.remote()?, producer, ClientOptions::default()).await?;
    let mut numbers = Vec::new();
    for layout in &plan.layouts {
        numbers.push(client.define(layout.clone()).await?);
    }
    let (out, mut encoded) = mpsc::channel::<Encoded>(BLOCKS_AHEAD);
    let encoding = tokio::task::spawn_blocking({
        let (plan, files, bar) = (plan.clone(), options.files.clone(), bar.clone());
        move || {
            let mut blocks = Encoder::new(&plan, out);
            for file in &files {
                source::read(file, &bar, &mut blocks)?;
            }
            blocks.finish()
        }
    });
    let mut sent = Sent::default();
    while let Some(block) = encoded.recv().await {
        sent.rows += block.rows;
        sent.values += block.values;
        client.send(vec![(numbers[block.layout], block.bytes)]).await?;
    }
    encoding.await??;
    sent.refusals = client.finish().await?.refusals;
    Ok(sent)
}

#[cfg(test)]
mod tests;
