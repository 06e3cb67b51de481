//! The downsampling kernel on one thread, beside the same reduction by other engines.
//!
//! Buckets by time; count, min, max and sum of each. The arrays fit no cache, and a read loop over
//! as much memory, timed between them, says how fast anything could be. Beside other engines the
//! array is smaller, the same for all, in each engine's own form; all must give the same answers.

mod data;
mod measure;
mod peers;

use crate::Failure;
use crate::report::{Machine, Report, Table, known, number};
use data::Kind;
use measure::Measured;
use peers::Peer;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;

/// Seconds of a bucket, and values in it: a series has a value a second.
const WIDTHS: [u32; 4] = [10, 60, 300, 3600];

/// Measure the downsampling kernel, and other engines doing the same.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct KernelOptions {
    /// MiB of values of each type; times take 8 bytes a value more
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    memory: u32,

    /// Rounds of each measurement, of which the best counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// A Python that has pyarrow, datafusion, duckdb, chdb and polars, to measure those as well
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,

    /// Engines to measure by that Python
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "datafusion,duckdb,clickhouse,polars",
        requires = "python"
    )]
    engines: Vec<String>,

    /// Rows of the array that all engines get
    #[arg(long, value_name = "N", default_value_t = 1 << 23, requires = "python")]
    peer_rows: usize,
}

/// What is reduced.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Case {
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    /// Of a bucket, in seconds; as many values.
    pub(crate) width: u32,
    /// Whether times are up to 300 ms late.
    pub(crate) jittered: bool,
    /// Whether 5 % are NULL.
    pub(crate) nulls: bool,
}

impl Case {
    /// In the order of their memory: what shares an array stands together.
    fn all() -> impl Iterator<Item = Self> {
        Kind::ALL.into_iter().flat_map(|kind| {
            [false, true].into_iter().flat_map(move |jittered| {
                WIDTHS.into_iter().flat_map(move |width| {
                    [false, true].map(|nulls| Self { kind, width, jittered, nulls })
                })
            })
        })
    }

    fn cells(self) -> Vec<String> {
        let time = if self.jittered { "jittered" } else { "regular" };
        let nulls = if self.nulls { "5 %" } else { "none" };
        vec![self.kind.name().into(), self.width.to_string(), time.into(), nulls.into()]
    }
}

pub(crate) fn run(options: &KernelOptions) -> Result<Report, Failure> {
    let machine = Machine::here();
    let ours = measure::all(options.memory, options.rounds);
    let peers = match &options.python {
        Some(python) => peers::all(python, &options.engines, options.peer_rows, options.rounds)?,
        None => Vec::new(),
    };
    let instructions = warpline_kernel::instruction_set();
    let title =
        format!("Kernel, one thread, {instructions}, {} MiB of values ({machine})", options.memory);
    let mut tables = vec![own_table(title, &ours)];
    if !peers.is_empty() {
        tables.push(peer_table(options.peer_rows, &peers));
    }
    let figures = json!({
        "machine": machine,
        "instructions": instructions,
        "memory_mib": options.memory,
        "kernel": ours,
        "peer_rows": options.peer_rows,
        "peers": peers,
    });
    Ok(Report { tables, figures })
}

fn own_table(title: String, ours: &[Measured]) -> Table {
    let header = [
        "type",
        "a bucket",
        "time",
        "NULL",
        "G values/s",
        "GB/s",
        "of read",
        "edges known: G values/s",
        "GB/s",
        "of read",
        "read GB/s",
    ];
    let mut table = Table::new(title, &header);
    for measured in ours {
        let mut cells = measured.case.cells();
        for rate in [measured.whole, measured.reduced] {
            let bytes = measured.gb_per_second(rate);
            let share = bytes / measured.read_gb_per_second;
            cells.extend([number(rate / 1e9), number(bytes), format!("{:.0} %", share * 100.0)]);
        }
        cells.push(number(measured.read_gb_per_second));
        table.row(cells);
    }
    table
}

/// The first of the peers is ours.
fn peer_table(rows: usize, peers: &[Peer]) -> Table {
    let mut header = vec!["type", "a bucket", "time", "NULL"];
    header.extend(peers.iter().map(|peer| peer.engine.as_str()));
    header.push("times the best");
    let title = format!("M values/s, edges found, {rows} values of one series in memory");
    let mut table = Table::new(title, &header);
    for case in Case::all() {
        let rates: Vec<Option<f64>> = peers.iter().map(|peer| peer.rate(case)).collect();
        let best = rates[1..].iter().copied().flatten().reduce(f64::max);
        let mut cells = case.cells();
        cells.extend(rates.iter().map(|rate| known(rate.map(|rate| rate / 1e6))));
        cells.push(known(rates[0].zip(best).map(|(ours, best)| ours / best)));
        table.row(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_there_once() {
        let cases: Vec<Case> = Case::all().collect();
        assert_eq!(cases.len(), 4 * 4 * 2 * 2);
        assert!((1..cases.len()).all(|at| !cases[..at].contains(&cases[at])));
    }
}
