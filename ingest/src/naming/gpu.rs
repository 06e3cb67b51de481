//! Table `gpu`: one wide row per GPU and time. What was seen has numbers, so that a sample of a
//! known series names nothing.

use super::place::{AboutGpu, Attributes};
use hashbrown::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use warpline_storage::model::Column;

pub(crate) const GPU_TABLE: &str = "gpu";
pub(crate) const GPU_IDENTITY: [&str; 3] = ["cluster", "node", "gpu"];

/// What one series says: a column of one GPU, and the attributes it carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GpuCell {
    pub(crate) gpu: u32,
    pub(crate) column: u32,
    pub(crate) attributes: u32,
}

/// Sets of labels that the samples of one GPU may carry in one request.
pub(crate) const MAX_SETS: usize = 256;

/// Adds a set of labels to those that a GPU carries; an error where they are too many.
pub(crate) fn carry(carried: &mut Vec<u32>, set: u32) -> Result<(), String> {
    if carried.contains(&set) {
        return Ok(());
    }
    if carried.len() == MAX_SETS {
        return Err(format!("a GPU comes with more than {MAX_SETS} sets of labels at once"));
    }
    carried.push(set);
    Ok(())
}

#[derive(Debug, Default)]
pub(crate) struct GpuNames {
    gpus: Numbered<[Arc<str>; 3]>,
    attributes: Numbered<Attributes>,
}

impl GpuNames {
    pub(crate) fn register(&mut self, about: AboutGpu, columns: &mut Columns) -> GpuCell {
        GpuCell {
            gpu: self.gpus.number(about.identity),
            column: columns.number(about.column),
            attributes: self.attributes.number(about.attributes),
        }
    }

    /// How many GPUs have numbers.
    pub(crate) fn gpus(&self) -> usize {
        self.gpus.all.len()
    }

    pub(crate) fn identity(&self, gpu: u32) -> Vec<Arc<str>> {
        self.gpus.all[gpu as usize].to_vec()
    }

    /// One GPU's attributes: of two series that differ in a label, the first stays.
    pub(crate) fn merge(&self, carried: &[u32]) -> Attributes {
        let all = carried.iter().flat_map(|set| &self.attributes.all[*set as usize]);
        let mut seen = HashSet::new();
        all.filter(|(name, _)| seen.insert(name)).cloned().collect()
    }
}

/// Columns by number. Names differ by more than case; the first spelling and type of one stays.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    all: Vec<Column>,
    /// By name in lower case.
    numbers: HashMap<String, u32>,
}

impl Columns {
    pub(crate) fn number(&mut self, column: Column) -> u32 {
        let next = self.all.len() as u32;
        let number = *self.numbers.entry(column.name.to_ascii_lowercase()).or_insert(next);
        if number == next {
            self.all.push(column);
        }
        number
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(&name.to_ascii_lowercase()).copied()
    }

    pub(crate) fn all(&self) -> &[Column] {
        &self.all
    }
}

/// Things by number, given when they are first seen.
#[derive(Debug)]
struct Numbered<T> {
    all: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { all: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Numbered<T> {
    fn number(&mut self, thing: T) -> u32 {
        let next = self.all.len() as u32;
        let number = *self.numbers.entry(thing.clone()).or_insert(next);
        if number == next {
            self.all.push(thing);
        }
        number
    }
}
