//! What must be true: told by the batches and by what producers were told, and by nothing else.

use super::load::{Cells, Load, Pace, TABLES};
use crate::handle::Acknowledged;
use crate::model::{Sequence, Timestamp};
use std::collections::BTreeMap;

/// A table's rows, by GPU and time.
pub(super) type Rows = BTreeMap<(String, Timestamp), Cells>;

pub(super) struct Oracle {
    /// By producer: the batch with sequence 1 first.
    loads: Vec<Vec<Load>>,
    /// The batches that the log has or may have, in the order of their positions.
    order: Vec<(usize, Sequence)>,
    /// By producer: the last sequence in `order`.
    last: Vec<Sequence>,
    /// By producer: what it was told, by this process for `stored`.
    told: Vec<Acknowledged>,
    /// Rows of another program, with the versions that brought them.
    foreign: Vec<(u64, Pace)>,
}

impl Oracle {
    pub(super) fn new(loads: Vec<Vec<Load>>) -> Self {
        let count = loads.len();
        let told = vec![Acknowledged::default(); count];
        Self { loads, order: Vec::new(), last: vec![0; count], told, foreign: Vec::new() }
    }

    pub(super) fn producers(&self) -> usize {
        self.loads.len()
    }

    pub(super) fn batches(&self, producer: usize) -> Sequence {
        self.loads[producer].len() as Sequence
    }

    pub(super) fn load(&self, producer: usize, sequence: Sequence) -> Load {
        self.loads[producer][sequence as usize - 1].clone()
    }

    /// The writer has the batch before it, and takes it unless it has it already.
    pub(super) fn sent(&mut self, producer: usize, sequence: Sequence) {
        if sequence > self.last[producer] {
            self.last[producer] = sequence;
            self.order.push((producer, sequence));
        }
    }

    pub(super) fn added(&mut self, version: u64, pace: Pace) {
        self.foreign.push((version, pace));
    }

    /// A producer is told how far it has come.
    pub(super) fn told(&mut self, producer: usize, told: Acknowledged) -> Result<(), String> {
        let before = std::mem::replace(&mut self.told[producer], told);
        if told.durable < before.durable || told.stored < before.stored {
            return Err(format!("producer {producer} was told {before:?} and then {told:?}"));
        }
        if told.durable > self.last[producer] || told.stored > told.durable {
            let last = self.last[producer];
            return Err(format!("producer {producer} has sent {last} and is told {told:?}"));
        }
        Ok(())
    }

    /// A new process has opened the log, of which it says what it holds.
    pub(super) fn reopened(&mut self, durable: &[Sequence]) -> Result<(), String> {
        for (producer, durable) in durable.iter().enumerate() {
            let told = &mut self.told[producer];
            if *durable < told.durable {
                return Err(format!(
                    "producer {producer} was told {told:?}; the log has {durable}"
                ));
            }
            if *durable > self.last[producer] {
                return Err(format!(
                    "the log has {durable} of producer {producer}, who has not sent it"
                ));
            }
            told.stored = 0;
        }
        let kept = self.order.iter().take_while(|(p, sequence)| *sequence <= durable[*p]).count();
        if let Some((p, sequence)) =
            self.order[kept..].iter().find(|(p, sequence)| *sequence <= durable[*p])
        {
            return Err(format!("the log has {sequence} of producer {p} and lacks one before it"));
        }
        self.order.truncate(kept);
        self.last = durable.to_vec();
        Ok(())
    }

    /// What a table holds where each producer's batches up to `durable` are in it, and the files
    /// of others up to a version.
    pub(super) fn rows(&self, table: &str, durable: &[Sequence], version: u64) -> Rows {
        let mut rows = Rows::new();
        let foreign = self.foreign.iter().filter(|(came, _)| *came <= version).map(|(_, p)| *p);
        let is_in = |(producer, sequence): &&(usize, Sequence)| *sequence <= durable[*producer];
        let ours = self.order.iter().filter(is_in);
        let ours = ours.flat_map(|(p, sequence)| &self.loads[*p][*sequence as usize - 1]).copied();
        for pace in foreign.chain(ours).filter(|pace| TABLES[pace.table] == table) {
            for (key, (job, temp, energy)) in pace.rows() {
                let row = rows.entry(key).or_default();
                row.0 = job.or_else(|| row.0.take());
                row.1 = temp.or(row.1);
                row.2 = energy.or(row.2);
            }
        }
        rows
    }
}

/// The first difference between what is and what should be.
pub(super) fn difference(is: &Rows, should: &Rows) -> Option<String> {
    let lost = should.iter().find(|(key, cells)| is.get(*key) != Some(*cells));
    if let Some((key, cells)) = lost {
        return Some(format!("{key:?} should be {cells:?} and is {:?}", is.get(key)));
    }
    let invented = is.iter().find(|(key, _)| !should.contains_key(*key))?;
    Some(format!("nobody has sent {invented:?}"))
}

/// The last row of each GPU.
pub(super) fn newest(rows: &Rows) -> Rows {
    let is_last = |key: &(String, Timestamp)| {
        let after = rows.range(key.clone()..).nth(1);
        after.is_none_or(|((gpu, _), _)| *gpu != key.0)
    };
    rows.iter()
        .filter(|(key, _)| is_last(key))
        .map(|(k, cells)| (k.clone(), cells.clone()))
        .collect()
}
