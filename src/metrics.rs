//! The server's own numbers as Prometheus text.

use std::fmt::Write;
use warpline_storage::Metrics;

/// One line of the exposition with its help and type.
struct Sample {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: f64,
}

/// The page `GET /metrics` answers with.
pub(crate) fn page(storage: &Metrics) -> String {
    let mut page = String::new();
    for sample in storage_samples(storage).iter().chain(&process_samples()) {
        let Sample { name, kind, help, value } = sample;
        let written = write!(
            page,
            "# HELP warpline_{name} {help}\n# TYPE warpline_{name} {kind}\nwarpline_{name} {value}\n"
        );
        written.expect("a string takes everything");
    }
    page
}

fn storage_samples(metrics: &Metrics) -> [Sample; 10] {
    let counter =
        |name, help, value: u64| Sample { name, kind: "counter", help, value: value as f64 };
    [
        counter("rows_total", "Rows taken.", metrics.rows),
        counter("values_total", "Values present in the rows taken.", metrics.values),
        counter("batches_total", "Batches taken.", metrics.batches),
        counter(
            "duplicate_batches_total",
            "Batches dropped because their sequence had been taken before.",
            metrics.duplicate_batches,
        ),
        counter("log_bytes_total", "Bytes written to the log.", metrics.log_bytes),
        counter("log_syncs_total", "Times the log was synced to disk.", metrics.log_syncs),
        counter("flushes_total", "Flushes committed to tables.", metrics.flushes),
        counter("flushed_rows_total", "Rows committed to tables.", metrics.flushed_rows),
        counter("flushed_bytes_total", "Parquet bytes committed to tables.", metrics.flushed_bytes),
        Sample {
            name: "buffer_bytes",
            kind: "gauge",
            help: "Memory of rows not yet committed to tables.",
            value: metrics.buffer_bytes as f64,
        },
    ]
}

/// What the kernel says about this process; nothing where it does not say.
fn process_samples() -> Vec<Sample> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| {
        let kib = line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?;
        kib.parse::<f64>().ok().map(|kib| kib * 1024.0)
    });
    let resident = resident.map(|value| Sample {
        name: "process_resident_bytes",
        kind: "gauge",
        help: "Resident memory of the server.",
        value,
    });
    resident.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::page;
    use warpline_storage::Metrics;

    #[test]
    fn every_sample_has_help_type_and_value() {
        let page = page(&Metrics { rows: 41, ..Metrics::default() });
        assert!(page.contains("\nwarpline_rows_total 41\n") || page.starts_with("# HELP"));
        let samples = page.lines().filter(|line| !line.starts_with('#')).count();
        assert!(samples >= 10);
        assert_eq!(page.lines().count(), samples * 3);
    }
}
