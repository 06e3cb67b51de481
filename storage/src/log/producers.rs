//! How far each producer's sequences have come: what makes a resend harmless.
//!
//! Promises: a snapshot tells durable sequences only. A sequence that was staged and lost with
//! its group would otherwise be taken for durable, and its resend be dropped.

use super::format::{Cursor, Malformed, append_name};
use crate::model::{ProducerId, Sequence};
use hashbrown::{Equivalent, HashMap};
use std::hash::{Hash, Hasher};

#[derive(Debug, Default)]
pub(super) struct Producers {
    table: HashMap<ProducerId, Taken>,
}

/// The last sequences of one producer; `staged` is never behind `durable`.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    durable: Sequence,
    staged: Sequence,
}

impl Producers {
    /// Whether `sequence` is new; if so it counts as taken.
    pub(super) fn stage(&mut self, id: &ProducerId, sequence: Sequence) -> bool {
        match self.table.get_mut(id) {
            Some(taken) if sequence <= taken.staged => false,
            Some(taken) => {
                taken.staged = sequence;
                true
            }
            None if sequence == 0 => false,
            None => {
                self.table.insert(id.clone(), Taken { durable: 0, staged: sequence });
                true
            }
        }
    }

    /// Says that a staged sequence is on disk.
    pub(super) fn settle(&mut self, id: &ProducerId, sequence: Sequence) {
        let taken = self.table.get_mut(id).expect("the sequence was staged");
        debug_assert!(taken.durable < sequence && sequence <= taken.staged);
        taken.durable = sequence;
    }

    /// Takes a sequence that was read back from the log.
    pub(super) fn replay(
        &mut self,
        name: &str,
        sequence: Sequence,
    ) -> Result<ProducerId, Malformed> {
        let known = self.table.get_key_value(&Name(name)).map(|(id, _)| id.clone());
        let id = known.map_or_else(|| producer(name), Ok)?;
        if !self.stage(&id, sequence) {
            return Err(Malformed("a producer's sequence does not rise"));
        }
        self.settle(&id, sequence);
        Ok(id)
    }

    /// The durable sequences, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ProducerId, Sequence)> {
        let all = self.table.iter().map(|(id, taken)| (id, taken.durable));
        all.filter(|(_, durable)| *durable > 0)
    }

    /// Appends the body of a snapshot record, sorted by producer.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_unstable();
        out.extend_from_slice(&(all.len() as u32).to_le_bytes());
        for (id, sequence) in all {
            append_name(out, id.as_str());
            out.extend_from_slice(&sequence.to_le_bytes());
        }
    }

    /// The table that a snapshot's body tells.
    pub(super) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        let mut producers = Self::default();
        for _ in 0..cursor.u32()? {
            let name = cursor.name()?;
            producers.replay(name, cursor.u64()?)?;
        }
        if cursor.is_empty() { Ok(producers) } else { Err(Malformed("the snapshot has a rest")) }
    }

    /// Whether both tell the same durable sequences.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        let same = |(id, sequence)| other.table.get(id).is_some_and(|t| t.durable == sequence);
        self.iter().count() == other.iter().count() && self.iter().all(same)
    }
}

fn producer(name: &str) -> Result<ProducerId, Malformed> {
    ProducerId::new(name).ok_or(Malformed("a producer's name is empty or too long"))
}

/// Finds a producer without making an id of its name.
struct Name<'a>(&'a str);

impl Hash for Name<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Equivalent<ProducerId> for Name<'_> {
    fn equivalent(&self, key: &ProducerId) -> bool {
        self.0 == key.as_str()
    }
}
