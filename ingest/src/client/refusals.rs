//! What the server did not take, counted by reason, with the latest examples.

use crate::frame::{Reason, Refusal};
use std::collections::VecDeque;
use std::fmt;

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

    /// Adds what another stream was refused.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.recent.extend(other.recent.iter().cloned());
        self.recent.drain(..self.recent.len().saturating_sub(RECENT));
    }

    pub(super) fn add(&mut self, refusal: Refusal) {
        self.counts[refusal.reason as usize] += refusal.count;
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(refusal);
    }
}

/// How many of what, each kind with the latest example: `12 rows (time: ...), 3 values (...)`.
impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = Reason::ALL.into_iter().filter(|reason| self.count(*reason) > 0);
        for (number, reason) in counted.enumerate() {
            let apart = if number == 0 { "" } else { ", " };
            write!(f, "{apart}{} {}", self.count(reason), reason.unit())?;
            if let Some(latest) = self.recent.iter().rfind(|refusal| refusal.reason == reason) {
                write!(f, " ({}: {})", reason.name(), latest.message)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(reason: Reason, count: u64, message: &str) -> Refusal {
        let (column, message) = (String::new(), message.to_owned());
        Refusal { reason, sequence: 1, layout: 0, column, count, message }
    }

    #[test]
    fn refusals_say_what_and_how_many() {
        let mut refusals = Refusals::default();
        refusals.add(refusal(Reason::Time, 3, "year 30000"));
        let mut other = Refusals::default();
        other.add(refusal(Reason::Time, 4, "year 40000"));
        other.add(refusal(Reason::Column, 1, "watts is int64"));
        refusals.merge(&other);
        assert_eq!(
            refusals.to_string(),
            "1 columns (column: watts is int64), 7 rows (time: year 40000)"
        );
        assert_eq!(refusals.recent().len(), 3);
    }
}
