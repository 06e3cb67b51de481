//! When what is known of senders' series is forgotten: their names are theirs to make up, so
//! memory must not grow with all that ever came.
//!
//! Promises: memory is bounded by a limit of series and by what was sent within [`REMEMBERED`]:
//! when most of what is known is no longer sent, the register that asks here starts over, which
//! costs the next requests a second look at their series and changes no row.

use std::time::Duration;

/// A series that was not sent for this long may be forgotten.
pub(crate) const REMEMBERED: Duration = Duration::from_hours(1);
/// Series that may be known beyond twice those sent lately.
pub(crate) const SPARE: usize = 1 << 16;

/// Bytes of what a series is known by; one of more takes the room of others.
const NAME_BYTES: usize = 1 << 10;

/// How many series these are to the limit, which is of memory too.
pub(crate) fn weight(series: usize, name_bytes: usize) -> usize {
    series.max(name_bytes / NAME_BYTES)
}

/// One register's clock and limit.
#[derive(Debug)]
pub(crate) struct Forgetting {
    limit: usize,
    /// The number of series at which those no longer sent are counted next.
    count_at: usize,
    minute: u32,
}

impl Forgetting {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, count_at: SPARE, minute: 0 }
    }

    /// Series that may be known.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The minute of the present request.
    pub(crate) fn minute(&self) -> u32 {
        self.minute
    }

    /// Turns to the minute of a request. `sent_since` counts those of the `known` series, by their
    /// weight, that were sent at or after a minute. Answers whether to forget all of them now.
    pub(crate) fn turn(
        &mut self,
        minute: u32,
        known: usize,
        sent_since: impl FnOnce(u32) -> usize,
    ) -> bool {
        let turned = std::mem::replace(&mut self.minute, minute) != minute;
        let full = known >= self.limit && turned;
        if !full && known < self.count_at {
            return false;
        }
        let lately = sent_since(minute.saturating_sub((REMEMBERED.as_secs() / 60) as u32));
        let forget = (full && lately < known) || known > 2 * lately + SPARE;
        self.count_at = if forget { SPARE } else { (2 * known).max(SPARE) };
        forget
    }
}

/// Why a series beyond the limit is not taken.
pub(crate) fn too_many(limit: usize, what: &str) -> String {
    format!(
        "the server knows {limit} series {what}, which is its limit, and has had all of them \
         within {} minutes",
        REMEMBERED.as_secs() / 60
    )
}
