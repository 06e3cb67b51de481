//! What was acknowledged: counted, and written down for tests that kill servers.
//!
//! An audit file has one line for each frame that the server said is durable, written at once:
//!
//! ```text
//! producer sequence first_time last_time rows values first_node last_node
//! ```
//! Times are those of the frame's first and last row in microseconds, `-` where it has no rows.
//! The nodes' rows of another frame never lie between them, so each line can be checked by itself:
//! exactly `rows` rows of these nodes are stored between these times.

use super::frames::Content;
use super::latency::{Latencies, Latency};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use warpline_storage::model::{ProducerId, Sequence};

/// Progress of all streams together; readable at any time.
#[derive(Debug, Default)]
pub struct Progress {
    rows: AtomicU64,
    values: AtomicU64,
    latencies: Latencies,
}

impl Progress {
    /// Rows acknowledged as durable.
    pub fn rows(&self) -> u64 {
        self.rows.load(Relaxed)
    }

    /// Present values in those rows.
    pub fn values(&self) -> u64 {
        self.values.load(Relaxed)
    }

    /// How long the acknowledged frames took; `None` before the first.
    pub fn latency(&self) -> Option<Latency> {
        self.latencies.latency()
    }
}

/// The file that acknowledged frames are written to, shared by all streams.
#[derive(Debug)]
pub(super) struct AuditFile(File);

impl AuditFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().create(true).append(true).open(path).map(Self)
    }

    /// One write to a file open for appending: lines of streams do not mix, and a kill cuts
    /// at most the last.
    fn write(&self, lines: &str) -> io::Result<()> {
        (&self.0).write_all(lines.as_bytes())
    }
}

/// Frames of one stream that are sent and not yet durable.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) producer: ProducerId,
    pub(super) nodes: Range<u64>,
    pub(super) progress: Arc<Progress>,
    pub(super) audit: Option<Arc<AuditFile>>,
    open: VecDeque<(Sequence, Content, Instant)>,
}

impl Ledger {
    pub(super) fn new(
        producer: ProducerId,
        nodes: Range<u64>,
        progress: Arc<Progress>,
        audit: Option<Arc<AuditFile>>,
    ) -> Self {
        Self { producer, nodes, progress, audit, open: VecDeque::new() }
    }

    /// Notes a frame that is about to be sent.
    pub(super) fn sent(&mut self, sequence: Sequence, content: Content) {
        self.open.push_back((sequence, content, Instant::now()));
    }

    /// Counts and writes down what is durable now.
    pub(super) fn settle(&mut self, durable: Sequence) -> io::Result<()> {
        let mut lines = String::new();
        while let Some((sequence, content, sent)) = self.open.front().copied()
            && sequence <= durable
        {
            self.open.pop_front();
            self.progress.latencies.record(sent.elapsed());
            self.progress.rows.fetch_add(content.rows, Relaxed);
            self.progress.values.fetch_add(content.values, Relaxed);
            if self.audit.is_some() {
                self.describe(&mut lines, sequence, content);
            }
        }
        match &self.audit {
            Some(file) if !lines.is_empty() => file.write(&lines),
            _ => Ok(()),
        }
    }

    fn describe(&self, lines: &mut String, sequence: Sequence, content: Content) {
        let producer = self.producer.as_str();
        let Content { rows, values, times } = content;
        let (first, last) = times.map_or_else(
            || ("-".to_owned(), "-".to_owned()),
            |(first, last)| (first.to_string(), last.to_string()),
        );
        let (from, to) = (self.nodes.start, self.nodes.end - 1);
        writeln!(lines, "{producer} {sequence} {first} {last} {rows} {values} {from} {to}")
            .expect("a string takes every text");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_durable_is_counted_and_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit");
        let file = Arc::new(AuditFile::open(&path).expect("a file"));
        let progress = Arc::new(Progress::default());
        let producer = ProducerId::new("p").expect("a name");
        let mut ledger = Ledger::new(producer, 8..16, progress.clone(), Some(file));
        ledger.sent(5, Content { rows: 3, values: 180, times: Some((10, 20)) });
        ledger.sent(6, Content::default());
        ledger.sent(7, Content { rows: 1, values: 60, times: Some((30, 30)) });
        for durable in [4, 6, 6] {
            ledger.settle(durable).expect("a line");
        }
        assert_eq!((progress.rows(), progress.values()), (3, 180));
        let text = std::fs::read_to_string(&path).expect("the file");
        assert_eq!(text, "p 5 10 20 3 180 8 15\np 6 - - 0 0 8 15\n");
    }
}
