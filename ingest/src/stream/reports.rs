//! What a stream has to tell its producer about refusals, merged until it is told.

use crate::frame::Refusal;
use parking_lot::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A producer that errs at every tick is told once in this time.
const INTERVAL: Duration = Duration::from_secs(1);
/// Refusals told apart; beyond it those of one reason are told together.
const MAX_PENDING: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Reports {
    pending: Mutex<Pending>,
    urgent: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    refusals: Vec<Refusal>,
    told: Option<Instant>,
}

impl Reports {
    /// Adds a refusal to what will be told with a next acknowledgement.
    pub(super) fn add(&self, refusal: Refusal) {
        let pending = &mut self.pending.lock().refusals;
        let full = pending.len() >= MAX_PENDING;
        let same = pending.iter_mut().find(|other| {
            let subject = other.layout == refusal.layout && other.column == refusal.column;
            other.reason == refusal.reason && (full || subject)
        });
        match same {
            Some(other) => {
                other.count += refusal.count;
                other.sequence = other.sequence.max(refusal.sequence);
            }
            None => pending.push(refusal),
        }
    }

    /// Adds a refusal that no acknowledgement would follow.
    pub(super) fn add_urgent(&self, refusal: Refusal) {
        self.add(refusal);
        self.pending.lock().told = None;
        self.urgent.notify_one();
    }

    /// Waits for an urgent refusal.
    pub(super) async fn urgent(&self) {
        self.urgent.notified().await;
    }

    /// What is due to be told now.
    pub(super) fn due(&self) -> Vec<Refusal> {
        let pending = &mut *self.pending.lock();
        let due = pending.told.is_none_or(|told| told.elapsed() >= INTERVAL);
        if pending.refusals.is_empty() || !due {
            return Vec::new();
        }
        pending.told = Some(Instant::now());
        std::mem::take(&mut pending.refusals)
    }

    /// All that has not been told.
    pub(super) fn rest(&self) -> Vec<Refusal> {
        std::mem::take(&mut self.pending.lock().refusals)
    }
}
