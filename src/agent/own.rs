//! What the agent tells of itself: the state of its spool, as samples among the exporters'.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use warpline_ingest::dictionary::Dictionary;
use warpline_ingest::exposition::Format;
use warpline_ingest::scrape::{Mapper, Origin};
use warpline_ingest::spool::SpoolCounts;
use warpline_storage::model::{Layout, Timestamp};

/// Seldom enough that it does not count beside what is scraped.
pub(super) const EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Own {
    mapper: Mapper,
}

impl Own {
    pub(super) fn new(dictionary: Arc<Dictionary>, origin: Origin) -> Self {
        Self { mapper: Mapper::new(dictionary, origin) }
    }

    pub(super) fn read(
        &mut self,
        counts: &SpoolCounts,
        time: Timestamp,
    ) -> Vec<(Arc<Layout>, Bytes)> {
        self.mapper.map(text(counts).as_bytes(), Format::Prometheus, time).blocks
    }
}

fn text(counts: &SpoolCounts) -> String {
    let samples = [
        ("spool_frames", "gauge", counts.frames),
        ("spool_disk_bytes", "gauge", counts.disk_bytes),
        ("spool_memory_bytes", "gauge", counts.memory_bytes),
        ("frames_total", "counter", counts.appended),
        ("dropped_frames_total", "counter", counts.dropped),
        ("forgotten_frames_total", "counter", counts.forgotten),
        ("unreadable_frames_total", "counter", counts.unreadable),
        ("left_out_total", "counter", counts.left_out),
    ];
    let line = |(name, kind, value): &(&str, &str, u64)| {
        format!("# TYPE warpline_agent_{name} {kind}\nwarpline_agent_{name} {value}\n")
    };
    samples.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_is_a_sample() {
        let counts = SpoolCounts { dropped: 7, ..SpoolCounts::default() };
        let origin = Origin { cluster: "c".into(), node: "n".into(), instance: None };
        let mut own = Own::new(Arc::new(Dictionary::builtin()), origin);
        let blocks = own.read(&counts, 1_780_000_000_000_000);
        let [(layout, _)] = &blocks[..] else { panic!("{} blocks", blocks.len()) };
        assert_eq!((&**layout.table(), layout.series().len()), ("metric", 8));
        assert!(text(&counts).contains("\nwarpline_agent_dropped_frames_total 7\n"));
    }
}
