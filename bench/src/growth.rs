//! `growth`: whether a panel costs what it shows, whatever the table holds.
//!
//! One node streams ever more days to a real server, which merges them and keeps its rollups; after
//! each span the same panels are asked with rollups and without, and both answers are compared.

use crate::Failure;
use crate::http::Connection;
use crate::report::{MIB, Machine, Report, Table, number};
use crate::server::{self, Compacted, Files, Server, Setting};
use crate::simulator::{self, Load};
use chrono::{DateTime, Days, Utc};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const START: &str = "2026-01-01T00:00:00Z";
const GPUS: u32 = 8;
const WARM_RUNS: usize = 9;
const PATIENCE: Duration = Duration::from_mins(10);
const MB: f64 = 1e6;
const CSV: &str = "text/csv";

/// Measure panels over a table that grows from a day to a month.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GrowthOptions {
    /// Days of data that panels are asked over, ascending
    #[arg(long, value_name = "DAYS", value_delimiter = ',', default_value = "1,7,30")]
    days: Vec<u64>,

    /// Time between two ticks of a GPU
    #[arg(long, default_value = "1s")]
    interval: String,

    /// The warpline to measure [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,

    /// Folder on the disk to measure [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A span of days taken in and asked about.
#[derive(Clone, Debug, Serialize)]
struct Span {
    days: u64,
    /// Values taken, and what the server did for them until it came to rest, of this span alone.
    values: u64,
    cpu: f64,
    written: Written,
    /// By table, of all days so far.
    files: BTreeMap<String, Files>,
    compacted: Compacted,
    peak_mib: f64,
    restart_ms: f64,
    panels: Vec<Panel>,
}

/// What maintenance read and wrote.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Written {
    flushed: f64,
    merge_read: f64,
    merged: f64,
    rolled: f64,
    roll_seconds: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Panel {
    name: &'static str,
    points: usize,
    routed_ms: f64,
    raw_ms: f64,
    same: bool,
}

pub(crate) fn run(options: &GrowthOptions) -> Result<Report, Failure> {
    let binary = server::binary(options.binary.as_deref())?;
    let settings = [
        ("storage.flush_interval", "10s"),
        ("maintenance.interval", "1s"),
        ("maintenance.delete_after", "1s"),
        ("retention.minute", "forever"),
    ];
    let settings = settings.map(|(name, value)| Setting::new(name, value)).to_vec();
    let mut server = Server::start(&binary, options.dir.as_deref(), settings)?;
    let mut spans: Vec<Span> = Vec::new();
    for days in &options.days {
        let before = spans.last().map_or(0, |span| span.days);
        eprintln!("taking in days {before} to {days}");
        spans.push(grow(&binary, &mut server, options, before..*days)?);
    }
    let panels = || spans.iter().flat_map(|span| &span.panels);
    if let Some(wrong) = panels().find(|panel| !panel.same) {
        return Err(format!("with rollups another answer: {}", wrong.name).into());
    }
    let machine = Machine::here();
    let figures = json!({ "machine": machine, "spans": spans });
    Ok(Report { tables: tables(&spans, &machine), figures })
}

fn grow(
    binary: &std::path::Path,
    server: &mut Server,
    options: &GrowthOptions,
    days: std::ops::Range<u64>,
) -> Result<Span, Failure> {
    let (cpu, before) = (server.cpu_seconds()?, written(server)?);
    let load = Load {
        interval: options.interval.clone(),
        duration: format!("{}h", (days.end - days.start) * 24),
        seed: 1,
        speed: "max".to_owned(),
        start: at(days.start)?.to_rfc3339(),
        prepare: 0,
        nodes_per_stream: None,
        cluster: None,
        streams_per_connection: 16,
    };
    let sent = simulator::stream(binary, &server.url(), GPUS, &load)?;
    server.wait_until_settled()?;
    let cpu = server.cpu_seconds()? - cpu;
    let written = written(server)?.since(before);
    let peak_mib = server.memory()?.peak as f64 / MIB;
    let compacted = server.compact()?;
    let (panels, restart_ms) = panels(server, days.end)?;
    let files = server.parquet_by_table()?;
    let (days, values) = (days.end, sent.values);
    Ok(Span { days, values, cpu, written, files, compacted, peak_mib, restart_ms, panels })
}

/// Midnight after so many days.
fn at(days: u64) -> Result<DateTime<Utc>, Failure> {
    let start: DateTime<Utc> = START.parse()?;
    Ok(start.checked_add_days(Days::new(days)).ok_or("there are not so many days")?)
}

fn written(server: &Server) -> Result<Written, Failure> {
    Ok(Written {
        flushed: server.sample("warpline_flushed_bytes_total")?,
        merge_read: server.sample("warpline_merge_read_bytes_total")?,
        merged: server.sample("warpline_merge_written_bytes_total")?,
        rolled: server.sample("warpline_rollup_bytes_total")?,
        roll_seconds: server.sample("warpline_rollup_seconds_total")?,
    })
}

impl Written {
    fn since(self, before: Self) -> Self {
        Self {
            flushed: self.flushed - before.flushed,
            merge_read: self.merge_read - before.merge_read,
            merged: self.merged - before.merged,
            rolled: self.rolled - before.rolled,
            roll_seconds: self.roll_seconds - before.roll_seconds,
        }
    }
}

/// Name and SQL of each panel over a table that ends at midnight after `days`.
fn statements(days: u64) -> Result<[(&'static str, String); 4], Failure> {
    let day = format!(
        "time >= TIMESTAMP '{}' AND time < TIMESTAMP '{}'",
        at(days - 1)?.to_rfc3339(),
        at(days)?.to_rfc3339()
    );
    let panel = |bucket: &str, keys: &str, times: &str| {
        let bucket = format!("time_bucket('{bucket}', time)");
        format!(
            "SELECT {bucket} b, {keys} avg(gpu_util) a, max(power_usage) x FROM gpu \
             WHERE {times} GROUP BY {keys} {bucket} ORDER BY {keys} b"
        )
    };
    Ok([
        ("all of it by hour, one GPU", panel("1 hour", "", "gpu = '3'")),
        ("all of it by hour, by GPU", panel("1 hour", "gpu,", "node IS NOT NULL")),
        ("last day by minute, one GPU", panel("1 minute", "", &format!("gpu = '3' AND {day}"))),
        ("last day by minute, by GPU", panel("1 minute", "gpu,", &day)),
    ])
}

/// Every panel with rollups and without; and how long the server took to start again, in ms.
fn panels(server: &mut Server, days: u64) -> Result<(Vec<Panel>, f64), Failure> {
    let statements = statements(days)?;
    let mut answers = Vec::new();
    let mut restart_ms = 0.0;
    for rollups in ["false", "true"] {
        server.set(Setting::new("query.rollups", rollups));
        let begun = Instant::now();
        server.restart(|_| Ok(()))?;
        restart_ms = begun.elapsed().as_secs_f64() * 1e3;
        let asked = statements.iter().map(|(_, sql)| ask(server, sql));
        answers.push(asked.collect::<Result<Vec<_>, Failure>>()?);
    }
    let [raw, routed] = answers.try_into().map_err(|_| "asked twice")?;
    let panels = statements.into_iter().zip(raw.into_iter().zip(routed));
    let panels = panels.map(|((name, _), (raw, routed))| Panel {
        name,
        points: routed.text.lines().count().saturating_sub(1),
        routed_ms: routed.ms,
        raw_ms: raw.ms,
        same: same(&raw.text, &routed.text),
    });
    Ok((panels.collect(), restart_ms))
}

struct Asked {
    ms: f64,
    text: String,
}

/// The median of some warm runs.
fn ask(server: &Server, sql: &str) -> Result<Asked, Failure> {
    let mut connection = Connection::open(server.address(), PATIENCE)?;
    let (mut answer, mut times) = (Vec::new(), Vec::new());
    for _ in 0..=WARM_RUNS {
        let begun = Instant::now();
        let status = connection.request("POST /sql", CSV, sql, &mut answer)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        if status != 200 {
            return Err(format!("{sql}: {}", String::from_utf8_lossy(&answer)).into());
        }
    }
    times.remove(0);
    times.sort_by(f64::total_cmp);
    Ok(Asked { ms: times[times.len() / 2], text: String::from_utf8(answer)? })
}

/// Whether two answers agree; doubles to the order of their additions.
fn same(one: &str, other: &str) -> bool {
    let cells = |text: &str| text.split(['\n', ',']).map(str::to_owned).collect::<Vec<_>>();
    let (one, other) = (cells(one), cells(other));
    let close = |pair: (&String, &String)| {
        let (one, other): (Result<f64, _>, Result<f64, _>) = (pair.0.parse(), pair.1.parse());
        match (one, other) {
            (Ok(one), Ok(other)) => (one - other).abs() <= 1e-9 * one.abs().max(1.0),
            _ => pair.0 == pair.1,
        }
    };
    one.len() == other.len() && one.iter().zip(&other).all(close)
}

fn tables(spans: &[Span], machine: &Machine) -> Vec<Table> {
    let header = ["panel", "days", "points", "rollups ms", "raw ms", "times"];
    let mut panels = Table::new(format!("Panels, warm p50 ({machine})"), &header);
    for span in spans {
        for panel in &span.panels {
            panels.row(vec![
                panel.name.to_owned(),
                span.days.to_string(),
                panel.points.to_string(),
                number(panel.routed_ms),
                number(panel.raw_ms),
                number(panel.raw_ms / panel.routed_ms),
            ]);
        }
    }
    vec![panels, storage(spans), work(spans)]
}

fn storage(spans: &[Span]) -> Table {
    let header = ["table", "days", "files", "MiB", "bytes/raw value"];
    let mut table = Table::new("What lies in files", &header);
    let mut values = 0;
    for span in spans {
        values += span.values;
        for (name, files) in &span.files {
            table.row(vec![
                name.clone(),
                span.days.to_string(),
                files.count.to_string(),
                number(files.bytes as f64 / MIB),
                number(files.bytes as f64 / values as f64),
            ]);
        }
    }
    table
}

fn work(spans: &[Span]) -> Table {
    let header = [
        "days so far",
        "M values",
        "server CPU s/M",
        "merges CPU s/M",
        "flushed MB",
        "merges read MB",
        "merges wrote MB",
        "rollups wrote MB",
        "written/flushed",
        "rollups s/M",
        "server peak MiB",
        "merges peak MiB",
        "restart ms",
    ];
    let mut table = Table::new("What it took, for the days since the row before", &header);
    table.note(
        "server: until all is in files with its rollups; merges: `warpline compact` after it",
    );
    table.note("rollups s/M: seconds of the clock, on one thread, beside ingest");
    for Span { days, values, cpu, written, compacted, peak_mib, restart_ms, .. } in spans {
        let millions = *values as f64 / 1e6;
        let merged = written.merged / MB + compacted.written_mb;
        let rolled = written.rolled / MB + compacted.rolled_mb;
        let flushed = written.flushed / MB;
        let figures = [
            millions,
            cpu / millions,
            compacted.cpu / millions,
            flushed,
            written.merge_read / MB + compacted.read_mb,
            merged,
            rolled,
            (flushed + merged + rolled) / flushed,
            written.roll_seconds / millions,
            *peak_mib,
            compacted.peak_mib,
            *restart_ms,
        ];
        table.row([days.to_string()].into_iter().chain(figures.map(number)).collect());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{same, statements};

    #[test]
    fn panels_ask_for_the_last_day() {
        let [_, _, minute, _] = statements(30).expect("statements");
        assert!(minute.1.contains("TIMESTAMP '2026-01-30T00:00:00+00:00'"), "{}", minute.1);
    }

    #[test]
    fn answers_differ_by_more_than_the_order_of_additions() {
        assert!(same("a,1.0000000000001\n", "a,1\n"));
        assert!(!same("a,1.1\n", "a,1\n"));
        assert!(!same("a,1\n", "b,1\n"));
        assert!(!same("a,1\nb,2\n", "a,1\n"));
    }
}
