//! What a spool could not keep: counted, and logged without flooding the log.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tracing::warn;
use warpline_storage::model::Timestamp;

/// Losses that follow each other are told together.
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// What a spool holds, and what became of the rest. Frames are counted once each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoolCounts {
    /// Frames kept, those that a server has included.
    pub frames: u64,
    pub disk_bytes: u64,
    pub memory_bytes: u64,
    /// Frames, and their bytes, that were taken since the start.
    pub appended: u64,
    pub appended_bytes: u64,
    /// Dropped at the bound, and on no server's disk as far as is known: lost.
    pub dropped: u64,
    /// Dropped at the bound, on a server's disk and not in its tables yet.
    pub forgotten: u64,
    /// Frames that were damaged on disk when they had to be sent.
    pub unreadable: u64,
    /// Bytes passed over when the spool was opened: writes that had not ended.
    pub cut_bytes: u64,
    /// Blocks and frames that were too large for the server.
    pub left_out: u64,
}

#[derive(Debug, Default)]
pub(super) struct Losses {
    counts: SpoolCounts,
    /// When losses were last told, and those that were not told yet with their times.
    told: Option<Instant>,
    untold: u64,
    times: Option<(Timestamp, Timestamp)>,
}

impl Losses {
    pub(super) fn counts(&self) -> SpoolCounts {
        self.counts
    }

    pub(super) fn count_append(&mut self, bytes: u64) {
        self.counts.appended += 1;
        self.counts.appended_bytes += bytes;
    }

    pub(super) fn found_unreadable(&mut self, bytes: u64) {
        self.counts.cut_bytes = bytes;
        if bytes > 0 {
            warn!("the spool had {bytes} bytes of writes that did not end; they are not read");
        }
    }

    pub(super) fn count_unreadable(&mut self, frames: u64) {
        self.counts.unreadable += frames;
    }

    pub(super) fn count_left_out(&mut self) {
        self.counts.left_out += 1;
    }

    pub(super) fn forget(&mut self, frames: u64) {
        self.counts.forgotten += frames;
    }

    /// Counts frames that are lost, with the times of the first and the last.
    pub(super) fn drop(&mut self, frames: u64, times: Option<(Timestamp, Timestamp)>) {
        if frames == 0 {
            return;
        }
        self.counts.dropped += frames;
        self.untold += frames;
        self.times = match (self.times, times) {
            (Some((first, _)), Some((_, last))) => Some((first, last)),
            (before, now) => now.or(before),
        };
        if self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let (first, last) = self.times.take().unwrap_or_default();
        warn!(
            "the spool is full: dropped {} frames that no server has, of {} to {} seconds ago; {} \
             in all",
            std::mem::take(&mut self.untold),
            age(first),
            age(last),
            self.counts.dropped
        );
        self.told = Some(Instant::now());
    }
}

/// What was not told yet is told at the end.
impl Drop for Losses {
    fn drop(&mut self) {
        if self.untold > 0 {
            self.tell();
        }
    }
}

fn age(time: Timestamp) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    u64::try_from(now).unwrap_or(u64::MAX).saturating_sub(time.max(0).cast_unsigned()) / 1_000_000
}
