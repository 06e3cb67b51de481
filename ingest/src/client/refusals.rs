//! What the server did not take, counted by reason, with the latest examples.

use crate::frame::{Reason, Refusal};
use std::collections::VecDeque;

const RECENT: usize = 16;

#[derive(Clone, Debug, Default)]
pub struct Refusals {
    counts: [u64; Reason::ALL.len()],
    recent: VecDeque<Refusal>,
}

impl Refusals {
    /// How many of a reason, in its own unit.
    pub fn count(&self, reason: Reason) -> u64 {
        self.counts[reason as usize]
    }

    pub fn is_empty(&self) -> bool {
        self.recent.is_empty()
    }

    /// The latest refusals, oldest first.
    pub fn recent(&self) -> impl ExactSizeIterator<Item = &Refusal> {
        self.recent.iter()
    }

    pub(super) fn add(&mut self, refusal: Refusal) {
        self.counts[refusal.reason as usize] += refusal.count;
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(refusal);
    }
}
