//! The server's own numbers: as Prometheus text, and as rows of `system.metrics`.

use std::fmt::Write;
use tikv_jemalloc_ctl::{epoch, stats};
use warpline_ingest::stream::WireCounts;
use warpline_ingest::write::{Protocol, WriteCounts};
use warpline_query::{Metric, QueryCounts};
use warpline_storage::{LATENCY_BOUNDS, LatencyCounts, LevelMetrics, Metrics};

/// The bounds of [`LATENCY_BOUNDS`] in seconds, as Prometheus labels buckets.
const LATENCY_LABELS: [&str; LATENCY_BOUNDS.len()] = [
    "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5",
    "10", "30", "60",
];

/// One number. Samples of one name stand together.
pub(crate) struct Sample {
    name: &'static str,
    /// What a histogram's sample has after its name.
    part: &'static str,
    label: Option<(&'static str, &'static str)>,
    kind: &'static str,
    help: &'static str,
    value: f64,
}

fn counter(name: &'static str, help: &'static str, value: u64) -> Sample {
    Sample { name, part: "", label: None, kind: "counter", help, value: value as f64 }
}

fn gauge(name: &'static str, help: &'static str, value: u64) -> Sample {
    Sample { name, part: "", label: None, kind: "gauge", help, value: value as f64 }
}

fn histogram(name: &'static str, help: &'static str, latency: &LatencyCounts) -> Vec<Sample> {
    let part = |part, label, value| Sample { name, part, label, kind: "histogram", help, value };
    let within = LATENCY_LABELS.into_iter().zip(latency.at_most);
    let all = [("+Inf", latency.count)];
    let buckets =
        within.chain(all).map(|(le, count)| part("_bucket", Some(("le", le)), count as f64));
    let sum = part("_sum", None, latency.micros as f64 / 1e6);
    buckets.chain([sum, part("_count", None, latency.count as f64)]).collect()
}

/// All that the server tells of itself at this moment.
pub(crate) fn samples(
    storage: &Metrics,
    wire: &WireCounts,
    writes: &WriteCounts,
    queries: &QueryCounts,
) -> Vec<Sample> {
    let mut samples = storage_samples(storage);
    samples.extend(maintenance_samples(storage));
    samples.extend(wire_samples(wire));
    samples.extend(write_samples(writes));
    samples.extend(query_samples(queries));
    samples.extend(latency_samples(storage));
    samples.extend(process_samples());
    samples.extend(allocator_samples());
    samples.extend(level_samples(storage));
    samples.extend(stream_refusals(wire));
    samples.extend(writes_by_label(writes));
    samples
}

/// The page `GET /metrics` answers with.
pub(crate) fn page(samples: &[Sample]) -> String {
    let mut page = String::new();
    let mut before = "";
    for Sample { name, part, label, kind, help, value } in samples {
        if *name != before {
            before = name;
            writeln!(page, "# HELP warpline_{name} {help}\n# TYPE warpline_{name} {kind}")
                .expect("a string takes everything");
        }
        let label = label.map_or_else(String::new, |(key, of)| format!("{{{key}=\"{of}\"}}"));
        writeln!(page, "warpline_{name}{part}{label} {value}").expect("a string takes everything");
    }
    page
}

/// The rows of `system.metrics`.
pub(crate) fn rows(samples: &[Sample]) -> Vec<Metric> {
    let labels = |label: Option<(&str, &str)>| {
        label.map_or_else(String::new, |(key, of)| serde_json::json!({ key: of }).to_string())
    };
    let row = |Sample { name, part, label, kind, help, value }: &Sample| Metric {
        name: format!("warpline_{name}{part}"),
        labels: labels(*label),
        kind,
        help,
        value: *value,
    };
    samples.iter().map(row).collect()
}

/// One sample for each reason: what it counts is the reason's own unit.
fn stream_refusals(wire: &WireCounts) -> Vec<Sample> {
    let refused = wire.refused.map(|(reason, count)| (reason.name(), count));
    let help = "Blocks, values, rows or columns not taken, by reason.";
    by_label("stream_refused_total", help, "reason", &refused)
}

fn writes_by_label(writes: &WriteCounts) -> Vec<Sample> {
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
    .into_iter()
    .flatten()
    .collect()
}

/// A counter with one sample for each value of a label.
fn by_label(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    counts: &[(&'static str, u64)],
) -> Vec<Sample> {
    let sample = |(of, count): &(&'static str, u64)| Sample {
        label: Some((label, *of)),
        ..counter(name, help, *count)
    };
    counts.iter().map(sample).collect()
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
        value: micros as f64 / 1e6,
        ..counter(name, help, micros)
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
            value: metrics.merge_lag.as_secs_f64(),
            ..gauge(
                "merge_lag_seconds",
                "Age of the newest row of the oldest file that waits for its first merge.",
                0,
            )
        },
    ]
}

/// Files and bytes of each level of merging.
fn level_samples(metrics: &Metrics) -> Vec<Sample> {
    let family = |name, help, value: fn(&LevelMetrics) -> u64| {
        let levels = ["flush", "hour", "day"].into_iter().zip(&metrics.levels);
        levels.map(move |(level, own)| Sample {
            label: Some(("level", level)),
            ..gauge(name, help, value(own))
        })
    };
    let files = family("level_files", "Data files by how far they are merged.", |own| own.files);
    files.chain(family("level_bytes", "Bytes of those files.", |own| own.bytes)).collect()
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

fn query_samples(queries: &QueryCounts) -> Vec<Sample> {
    let help = "From a statement's planning to the first rows of its answer.";
    let mut samples = histogram("statement_seconds", help, &queries.first_rows);
    samples.push(counter(
        "statements_failed_total",
        "Statements that failed before their first rows.",
        queries.failed,
    ));
    samples
}

fn latency_samples(metrics: &Metrics) -> Vec<Sample> {
    [
        histogram(
            "durable_seconds",
            "From a batch's coming to its being durable, the wait for memory included.",
            &metrics.durable,
        ),
        histogram(
            "log_sync_seconds",
            "Writing and syncing a group of batches to the log.",
            &metrics.log_sync,
        ),
        histogram(
            "flush_seconds",
            "A flush, from the end of its rows until its files are shown, tries that failed included.",
            &metrics.flush,
        ),
        histogram(
            "table_commit_seconds",
            "Committing the files of a flush to a table.",
            &metrics.table_commit,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
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

/// What jemalloc says of the memory that it hands out.
fn allocator_samples() -> Vec<Sample> {
    // Its counts are those of the last epoch.
    let counts =
        epoch::advance().and_then(|_| Ok([stats::allocated::read()?, stats::resident::read()?]));
    let Ok([allocated, resident]) = counts else { return Vec::new() };
    let allocator = |name, help, bytes: usize| gauge(name, help, bytes as u64);
    vec![
        allocator("heap_allocated_bytes", "Memory in use by the program.", allocated),
        allocator("heap_resident_bytes", "Memory that the allocator holds for it.", resident),
    ]
}

#[cfg(test)]
mod tests {
    use super::{LATENCY_LABELS, page, rows, samples};
    use std::time::Duration;
    use warpline_ingest::stream::WireMetrics;
    use warpline_ingest::write::WriteCounts;
    use warpline_query::QueryCounts;
    use warpline_storage::{LATENCY_BOUNDS, Latency, Metrics};

    #[test]
    fn every_sample_has_help_type_and_value() {
        let wire = WireMetrics::default().counts();
        let log_sync = Latency::default();
        log_sync.add(Duration::from_millis(3));
        let metrics = Metrics { rows: 41, log_sync: log_sync.counts(), ..Metrics::default() };
        let queries = QueryCounts::default();
        let samples = samples(&metrics, &wire, &WriteCounts::default(), &queries);
        let page = page(&samples);
        assert!(page.contains("\nwarpline_rows_total 41\n"));
        assert!(page.contains("\nwarpline_stream_refused_total{reason=\"value\"} 0\n"));
        assert!(page.contains("\nwarpline_write_refused_total{reason=\"exemplar\"} 0\n"));
        assert!(page.contains("\nwarpline_log_sync_seconds_bucket{le=\"0.0025\"} 0\n"));
        assert!(page.contains("\nwarpline_log_sync_seconds_bucket{le=\"0.005\"} 1\n"));
        assert!(page.contains("\nwarpline_log_sync_seconds_bucket{le=\"+Inf\"} 1\n"));
        assert!(page.contains("\nwarpline_log_sync_seconds_sum 0.003\n"));
        assert!(page.contains("\nwarpline_log_sync_seconds_count 1\n"));
        let families = page.matches("# TYPE ").count();
        let names: std::collections::HashSet<&str> =
            page.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        assert_eq!(names.len(), families, "a family comes once");
        assert_eq!(page.matches("# HELP ").count(), families);
        assert!(families >= 16);
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split([' ', '{']).next().expect("a name");
            let parts = ["_bucket", "_sum", "_count", ""];
            let mut families = parts.iter().filter_map(|part| name.strip_suffix(part));
            assert!(families.any(|name| page.contains(&format!("# TYPE {name} "))), "{line}");
        }
        let rows = rows(&samples);
        assert_eq!(rows.len(), page.lines().filter(|line| !line.starts_with('#')).count());
        let level = rows.iter().find(|row| row.labels == r#"{"level":"day"}"#).expect("a level");
        assert_eq!((&*level.name, level.kind), ("warpline_level_files", "gauge"));
    }

    #[test]
    fn labels_of_buckets_are_their_bounds() {
        for (label, bound) in LATENCY_LABELS.iter().zip(LATENCY_BOUNDS) {
            let seconds: f64 = label.parse().expect("a number");
            assert_eq!((seconds * 1e6).round() as u64, bound);
        }
    }
}
