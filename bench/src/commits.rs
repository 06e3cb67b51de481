//! `commits`: whether flushes stay as fast as they were, over as many as some weeks have.
//!
//! One table, a handful of rows a flush, ten minutes of time from one to the next; files are merged
//! beside it as in a server, and days as if each were over once it is full.

use crate::Failure;
use crate::report::{Machine, Report, Table, number};
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use warpline_storage::model::{
    Batch, Block, BlockBuilder, Column, FieldType, Layout, ProducerId, Series, Value,
};
use warpline_storage::{Storage, StorageOptions};

const SERIES: u32 = 8;
const DAY_COMMITS: u64 = 144;
const STEP: i64 = 600_000_000;
/// 2026-01-01T00:00:00Z
const START: i64 = 1_767_225_600_000_000;
/// Commits that one point of the plot is of.
const WINDOW: usize = 200;

/// Measure flush commits of one table, one after the other.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CommitOptions {
    /// How many; a day has 144 at the default interval
    #[arg(long, value_name = "N", default_value_t = 5_760)]
    commits: u64,

    /// Folder on the disk to measure [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Folder to write commits.svg to
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
}

/// Some commits in a row: milliseconds, and the files that the table had at their end.
#[derive(Clone, Copy, Debug, serde::Serialize)]
struct Window {
    last: u64,
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
    files: u64,
}

pub(crate) fn run(options: &CommitOptions) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (windows, merges) = runtime.block_on(measure(options))?;
    let machine = Machine::here();
    let title = format!("{} flush commits, {merges} merges ({machine})", options.commits);
    let mut table =
        Table::new(title, &["commits", "p50 ms", "p90 ms", "p99 ms", "max ms", "files"]);
    for Window { last, p50, p90, p99, max, files } in &windows {
        let times = [p50, p90, p99, max].map(|time| number(*time));
        table.row([last.to_string()].into_iter().chain(times).chain([files.to_string()]).collect());
    }
    if let Some(folder) = &options.plot {
        std::fs::write(folder.join("commits.svg"), plot(&windows))?;
    }
    let figures = json!({ "machine": machine, "merges": merges, "windows": windows });
    Ok(Report { tables: vec![table], figures })
}

async fn measure(options: &CommitOptions) -> Result<(Vec<Window>, u64), Failure> {
    let parent = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    let folder = TempDir::with_prefix_in("warpline-bench-", parent)?;
    let mut settings = StorageOptions {
        flush_interval: Duration::from_hours(24),
        segment_bytes: 16 << 20,
        ..StorageOptions::new(folder.path())
    };
    settings.maintenance.interval = Duration::from_secs(1);
    settings.maintenance.delete_after = Duration::from_secs(10);
    let storage = Storage::open(settings).await?;
    let (mut times, mut windows) = (Vec::with_capacity(WINDOW), Vec::new());
    for commit in 1..=options.commits {
        append(&storage, commit).await?;
        let began = Instant::now();
        storage.flush().await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        if times.len() == WINDOW || commit == options.commits {
            windows.push(Window::of(&mut times, commit, storage.metrics().files));
        }
        if commit % DAY_COMMITS == 0 {
            storage.compact(|_, _| {}).await?;
        }
    }
    let merges = storage.metrics().merges;
    storage.close().await?;
    Ok((windows, merges))
}

/// Sends the rows of the ten minutes of this number.
pub(crate) async fn append(storage: &Storage, number: u64) -> Result<(), Failure> {
    let layout = storage.admit(&layout()?)?.layout;
    let blocks = vec![block(&layout, number)?];
    let producer = ProducerId::new("commits").ok_or("a producer has a short name")?;
    Ok(storage.append(Batch { producer, sequence: number.max(1), blocks }).await?)
}

/// The date so many days after the first.
pub(crate) fn day(after: u64) -> Result<String, Failure> {
    let first = chrono::DateTime::from_timestamp_micros(START).ok_or("a first day")?.date_naive();
    let day = first.checked_add_days(chrono::Days::new(after)).ok_or("too many files")?;
    Ok(day.to_string())
}

fn layout() -> Result<Layout, Failure> {
    let series = (0..SERIES).map(|gpu| Series {
        identity: vec!["n0".into(), gpu.to_string().into()],
        attributes: Vec::new(),
    });
    let column = Column { name: "temp".into(), field_type: FieldType::Int16 };
    let identity = vec!["node".into(), "gpu".into()];
    Ok(Layout::new("gpu", identity, Vec::new(), vec![column], series.collect())?)
}

fn block(layout: &Arc<Layout>, commit: u64) -> Result<Block, Failure> {
    let mut builder = BlockBuilder::new(layout.clone());
    for series in 0..SERIES {
        builder.row(series, START + commit.cast_signed() * STEP);
        builder.set(0, Value::Int((commit % 100).cast_signed()))?;
    }
    Ok(Block::parse(layout.clone(), builder.finish())?)
}

impl Window {
    /// Of these milliseconds, which are taken.
    fn of(times: &mut Vec<f64>, last: u64, files: u64) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
        let window = Self { last, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0), files };
        times.clear();
        window
    }
}

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 300.0;
const MARGIN: f64 = 50.0;

/// A line's name, colour and value.
type Line = (&'static str, &'static str, fn(&Window) -> f64);

/// Lines of the percentiles over the commits.
fn plot(windows: &[Window]) -> String {
    let lines: [Line; 3] = [
        ("p50", "#2166ac", |window| window.p50),
        ("p90", "#e08214", |window| window.p90),
        ("p99", "#b2182b", |window| window.p99),
    ];
    let top = windows.iter().map(|window| window.p99).fold(1.0, f64::max);
    let commits = windows.last().map_or(1, |window| window.last) as f64;
    let (x, y) = (
        |at: u64| MARGIN + at as f64 / commits * WIDTH,
        |time: f64| MARGIN + HEIGHT - time / top * HEIGHT,
    );
    let (wide, high) = (WIDTH + 2.0 * MARGIN, HEIGHT + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{wide}\" height=\"{high}\" fill=\"white\"/>\n"
    );
    for quarter in 0..=4 {
        let time = top * f64::from(quarter) / 4.0;
        let (at, right) = (y(time), MARGIN + WIDTH);
        let _ = writeln!(
            svg,
            "<line x1=\"{MARGIN}\" x2=\"{right}\" y1=\"{at}\" y2=\"{at}\" stroke=\"#ddd\"/>\
             <text x=\"5\" y=\"{at}\">{} ms</text>",
            number(time)
        );
    }
    for (index, (name, colour, value)) in lines.iter().enumerate() {
        let points: Vec<_> = windows
            .iter()
            .map(|window| format!("{:.1},{:.1}", x(window.last), y(value(window))))
            .collect();
        let left = MARGIN + 60.0 * index as f64;
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" points=\"{}\"/>\
             <text x=\"{left}\" y=\"30\" fill=\"{colour}\">{name}</text>",
            points.join(" ")
        );
    }
    let below = high - 20.0;
    let _ = writeln!(svg, "<text x=\"{MARGIN}\" y=\"{below}\">0 to {commits} commits</text></svg>");
    svg
}
