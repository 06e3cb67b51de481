//! When a node is up and when its scrape goes missing.

use super::noise::{Draw, derive};
use super::schedule::{HOUR, MINUTE, SECOND};
use warpline_storage::model::Timestamp;

/// Every node reboots once in each stretch of this length, at a time of its own.
const REBOOT_EVERY: i64 = 7 * 24 * HOUR;
/// Scrapes in a million that are missed while a node is up.
const MISSED_PER_MILLION: u64 = 1_000;

/// A node's state over a stretch of time, both ends included in the answer so that it can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uptime {
    /// Counters count from `from` on if the node is up.
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    pub(super) up: bool,
}

impl Uptime {
    pub(super) fn at(node_key: u64, time: Timestamp) -> Self {
        let key = derive(node_key, 0xB007);
        let offset = Draw::new(key).between(0, REBOOT_EVERY);
        let stretch = (time - offset).div_euclid(REBOOT_EVERY);
        let reboot = |stretch: i64| {
            let mut draw = Draw::new(derive(key, stretch.cast_unsigned()));
            let down = offset + stretch * REBOOT_EVERY + draw.between(0, REBOOT_EVERY - HOUR);
            (down, down + draw.between(2 * MINUTE, 7 * MINUTE))
        };
        let (down, back) = reboot(stretch);
        if time < down {
            Self { from: reboot(stretch - 1).1, until: down, up: true }
        } else if time < back {
            Self { from: down, until: back, up: false }
        } else {
            Self { from: back, until: reboot(stretch + 1).0, up: true }
        }
    }

    pub(super) fn covers(&self, time: Timestamp) -> bool {
        (self.from..self.until).contains(&time)
    }
}

/// Whether the scrape of the tick at `time` goes missing though the node is up.
pub(super) fn is_missed(node_key: u64, time: Timestamp) -> bool {
    derive(node_key ^ 0x0BAD, time.cast_unsigned()) % 1_000_000 < MISSED_PER_MILLION
}

/// How long after a tick's nominal time this node is scraped: racks are spread over the interval.
pub(super) fn phase(rack_key: u64, node_key: u64, interval: i64) -> i64 {
    let rack = Draw::new(derive(rack_key, 0xFA5E)).between(interval / 10, interval * 8 / 10);
    let node = Draw::new(derive(node_key, 0xFA5E)).between(0, (interval / 10).max(1));
    (rack + node) / 1_000 * 1_000
}

/// A few milliseconds, one scrape in ten.
pub(super) fn jitter(node_key: u64, time: Timestamp, interval: i64) -> i64 {
    let bits = derive(node_key ^ 0x71C, time.cast_unsigned());
    if interval < SECOND || !bits.is_multiple_of(10) {
        return 0;
    }
    ((bits >> 32) % 7) as i64 * 1_000 - 3_000
}
