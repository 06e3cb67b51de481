//! The server's own numbers as Prometheus text.

use std::fmt::Write;
use warpline_ingest::stream::WireCounts;
use warpline_ingest::write::{Protocol, WriteCounts};
use warpline_storage::{LevelMetrics, Metrics};

/// One line of the exposition with its help and type.
struct Sample {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: f64,
}

fn counter(name: &'static str, help: &'static str, value: u64) -> Sample {
    Sample { name, kind: "counter", help, value: value as f64 }
}

fn gauge(name: &'static str, help: &'static str, value: u64) -> Sample {
    Sample { name, kind: "gauge", help, value: value as f64 }
}

/// The page `GET /metrics` answers with.
pub(crate) fn page(storage: &Metrics, wire: &WireCounts, writes: &WriteCounts) -> String {
    let mut page = String::new();
    let samples = storage_samples(storage).into_iter().chain(maintenance_samples(storage));
    let samples = samples.chain(wire_samples(wire)).chain(write_samples(writes));
    for sample in samples.chain(process_samples()) {
        let Sample { name, kind, help, value } = sample;
        let written = write!(
            page,
            "# HELP warpline_{name} {help}\n# TYPE warpline_{name} {kind}\nwarpline_{name} {value}\n"
        );
        written.expect("a string takes everything");
    }
    page.push_str(&levels(storage));
    page.push_str(&stream_refusals(wire));
    page.push_str(&writes_by_label(writes));
    page
}

/// One sample for each reason: what it counts is the reason's own unit.
fn stream_refusals(wire: &WireCounts) -> String {
    let refused = wire.refused.map(|(reason, count)| (reason.name(), count));
    let help = "Blocks, values, rows or columns not taken, by reason.";
    by_label("stream_refused_total", help, "reason", &refused)
}

fn writes_by_label(writes: &WriteCounts) -> String {
    let named = |counts: [(Protocol, u64); Protocol::ALL.len()]| {
        counts.map(|(protocol, count)| (protocol.name(), count))
    };
    let protocol = |name, help, counts| by_label(name, help, "protocol", &named(counts));
    let refused = writes.refused.map(|(reason, count)| (reason.name(), count));
    [
        protocol("write_requests_total", "Requests of other protocols taken.", writes.requests),
        protocol("write_bytes_total", "Bytes of their bodies as they came.", writes.bytes),
        protocol("write_samples_total", "Samples read from them.", writes.samples),
        by_label(
            "write_refused_total",
            "Samples, series or requests of other protocols not taken, by reason.",
            "reason",
            &refused,
        ),
    ]
    .concat()
}

/// A counter with one sample for each value of a label.
fn by_label(name: &str, help: &str, label: &str, counts: &[(&str, u64)]) -> String {
    let name = format!("warpline_{name}");
    let mut lines = format!("# HELP {name} {help}\n# TYPE {name} counter\n");
    for (value, count) in counts {
        writeln!(lines, "{name}{{{label}=\"{value}\"}} {count}")
            .expect("a string takes everything");
    }
    lines
}

fn storage_samples(metrics: &Metrics) -> Vec<Sample> {
    vec![
        counter("rows_total", "Rows taken.", metrics.rows),
        counter(
            "values_total",
            "Rows taken times their columns, absent values included.",
            metrics.values,
        ),
        counter("batches_total", "Batches taken.", metrics.batches),
        counter(
            "duplicate_batches_total",
            "Batches dropped because their sequence had been taken before.",
            metrics.duplicate_batches,
        ),
        gauge("log_bytes", "Bytes of log on disk.", metrics.log_bytes),
        counter("log_syncs_total", "Times the log was synced to disk.", metrics.log_syncs),
        counter("flushes_total", "Flushes committed to tables.", metrics.flushes),
        counter("flush_failures_total", "Flushes that failed; rows stay.", metrics.flush_failures),
        counter("flushed_rows_total", "Rows committed to tables.", metrics.flushed_rows),
        counter("flushed_bytes_total", "Parquet bytes committed to tables.", metrics.flushed_bytes),
        gauge("buffer_bytes", "Memory of rows not yet in the tables.", metrics.buffer_bytes),
        gauge(
            "latest_bytes",
            "Memory of the newest row of every series that is in the tables.",
            metrics.latest_bytes,
        ),
        counter(
            "log_waits_for_room_total",
            "Times that the log's disk had no room.",
            metrics.log_waits,
        ),
        gauge(
            "log_full",
            "1 while the log's disk has no room and producers wait.",
            metrics.log_full.into(),
        ),
        gauge("tables", "Tables.", metrics.tables),
        gauge("series", "Series seen since start.", metrics.series),
        gauge("files", "Data files that make up the tables.", metrics.files),
    ]
}

/// What happens behind the back of those who write and read.
fn maintenance_samples(metrics: &Metrics) -> Vec<Sample> {
    let seconds = |name, help, micros: u64| Sample {
        name,
        kind: "counter",
        help,
        value: micros as f64 / 1e6,
    };
    vec![
        counter("merges_total", "Merges of data files.", metrics.merges),
        counter("merged_rows_total", "Rows that merges wrote.", metrics.merged_rows),
        counter("merge_read_bytes_total", "Bytes that merges read.", metrics.merge_read_bytes),
        counter(
            "merge_written_bytes_total",
            "Bytes that merges wrote.",
            metrics.merge_written_bytes,
        ),
        seconds("merge_seconds_total", "Time that merges took.", metrics.merge_micros),
        counter("rollup_rows_total", "Rows that rollups wrote.", metrics.rolled_rows),
        counter("rollup_bytes_total", "Bytes that rollups wrote.", metrics.rolled_bytes),
        seconds("rollup_seconds_total", "Time that rollups took.", metrics.roll_micros),
        counter(
            "expired_rows_total",
            "Rows removed because their time was up.",
            metrics.expired_rows,
        ),
        counter(
            "deleted_files_total",
            "Data files deleted after they were replaced or left behind.",
            metrics.deleted_files,
        ),
        counter(
            "maintenance_failures_total",
            "Merges, rollups and removals that failed; each is tried again.",
            metrics.maintenance_failures,
        ),
        Sample {
            name: "merge_lag_seconds",
            kind: "gauge",
            help: "Age of the newest row of the oldest file that waits for its first merge.",
            value: metrics.merge_lag.as_secs_f64(),
        },
    ]
}

/// Files and bytes of each level of merging.
fn levels(metrics: &Metrics) -> String {
    let mut lines = String::new();
    let names = ["flush", "hour", "day"];
    let mut family = |name: &str, help: &str, value: fn(&LevelMetrics) -> u64| {
        let head = format!("# HELP warpline_{name} {help}\n# TYPE warpline_{name} gauge\n");
        lines.push_str(&head);
        for (level, own) in names.iter().zip(&metrics.levels) {
            let line = format!("warpline_{name}{{level=\"{level}\"}} {}\n", value(own));
            lines.push_str(&line);
        }
    };
    family("level_files", "Data files by how far they are merged.", |level| level.files);
    family("level_bytes", "Bytes of those files.", |level| level.bytes);
    lines
}

fn wire_samples(wire: &WireCounts) -> Vec<Sample> {
    vec![
        gauge("streams_open", "Streams open now.", wire.open),
        counter("streams_total", "Streams opened.", wire.streams),
        counter("streams_failed_total", "Streams that ended with an error.", wire.failed),
        counter("stream_messages_total", "Messages of all streams.", wire.messages),
        counter("stream_bytes_total", "Bytes of those messages.", wire.bytes),
    ]
}

fn write_samples(writes: &WriteCounts) -> Vec<Sample> {
    vec![
        gauge("write_series", "Series remembered by their labels.", writes.series),
        counter("write_stale_total", "Samples that said that a series has ended.", writes.stale),
    ]
}

/// What the kernel says about this process; nothing where it does not say.
fn process_samples() -> Vec<Sample> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| {
        let kib = line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?;
        kib.parse::<u64>().ok().map(|kib| kib * 1024)
    });
    let sample = |bytes| gauge("process_resident_bytes", "Resident memory of the server.", bytes);
    resident.map(sample).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::page;
    use warpline_ingest::stream::WireMetrics;
    use warpline_ingest::write::WriteCounts;
    use warpline_storage::Metrics;

    #[test]
    fn every_sample_has_help_type_and_value() {
        let wire = WireMetrics::default().counts();
        let metrics = Metrics { rows: 41, ..Metrics::default() };
        let page = page(&metrics, &wire, &WriteCounts::default());
        assert!(page.contains("\nwarpline_rows_total 41\n"));
        assert!(page.contains("\nwarpline_stream_refused_total{reason=\"value\"} 0\n"));
        assert!(page.contains("\nwarpline_write_refused_total{reason=\"exemplar\"} 0\n"));
        let families = page.matches("# TYPE ").count();
        let names: std::collections::HashSet<&str> =
            page.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        assert_eq!(names.len(), families, "a family comes once");
        assert_eq!(page.matches("# HELP ").count(), families);
        assert!(families >= 16);
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split([' ', '{']).next().expect("a name");
            assert!(page.contains(&format!("# TYPE {name} ")), "{line}");
        }
    }
}
