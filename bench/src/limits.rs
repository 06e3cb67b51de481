//! What this machine can do at most: the yardstick for every other figure.

use crate::Failure;
use crate::report::{Machine, Report, Table, number};
use serde::Serialize;
use serde_json::json;
use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

const READ_WORDS: usize = 1 << 27;
const READ_ROUNDS: usize = 5;
const APPEND_BYTES: usize = 64 << 10;
const APPENDS: usize = 400;

/// Measure memory read bandwidth of one core and synced appends to the disk.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LimitsOptions {
    /// Folder on the disk to measure [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Limits {
    /// One core reading 1 GiB.
    memory_read_gb_per_second: f64,
    /// Appends of 64 KiB, each with its fdatasync.
    append_mb_per_second: f64,
    append_p50_ms: f64,
    append_p99_ms: f64,
}

pub(crate) fn run(options: &LimitsOptions) -> Result<Report, Failure> {
    let machine = Machine::here();
    let limits = measure(options.dir.as_deref())?;
    let title = format!("Limits of the machine ({machine})");
    let figures = json!({ "machine": machine, "limits": limits });
    Ok(Report { tables: vec![limits.table(title)], figures })
}

pub(crate) fn measure(dir: Option<&Path>) -> Result<Limits, Failure> {
    let (append_mb_per_second, append_p50_ms, append_p99_ms) = appends(dir)?;
    Ok(Limits {
        memory_read_gb_per_second: memory_read(),
        append_mb_per_second,
        append_p50_ms,
        append_p99_ms,
    })
}

impl Limits {
    pub(crate) fn table(&self, title: String) -> Table {
        let mut table = Table::new(title, &["limit", "figure"]);
        for (what, figure) in [
            ("memory read, one core, GB/s", self.memory_read_gb_per_second),
            ("append 64 KiB + fdatasync, MB/s", self.append_mb_per_second),
            ("append 64 KiB + fdatasync, p50 ms", self.append_p50_ms),
            ("append 64 KiB + fdatasync, p99 ms", self.append_p99_ms),
        ] {
            table.row(vec![what.to_owned(), number(figure)]);
        }
        table
    }
}

/// The best of a few rounds over memory that fits no cache.
fn memory_read() -> f64 {
    let words: Vec<u64> = (0..READ_WORDS as u64).collect();
    let rounds = (0..READ_ROUNDS).map(|_| {
        let begun = Instant::now();
        black_box(warpline_kernel::read(black_box(&words)));
        size_of_val(words.as_slice()) as f64 / begun.elapsed().as_secs_f64()
    });
    rounds.fold(0.0, f64::max) / 1e9
}

fn appends(dir: Option<&Path>) -> Result<(f64, f64, f64), Failure> {
    let mut file = match dir {
        Some(dir) => tempfile::tempfile_in(dir)?,
        None => tempfile::tempfile()?,
    };
    let bytes = vec![0xa5; APPEND_BYTES];
    let mut milliseconds = Vec::with_capacity(APPENDS);
    for _ in 0..APPENDS {
        let begun = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        milliseconds.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let total: f64 = milliseconds.iter().sum();
    milliseconds.sort_by(f64::total_cmp);
    let quantile = |q: usize| milliseconds[APPENDS * q / 100];
    let rate = (APPENDS * APPEND_BYTES) as f64 / 1e6 / (total / 1e3);
    Ok((rate, quantile(50), quantile(99)))
}
