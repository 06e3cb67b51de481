//! What senders say of whole families of metrics: kind and unit.

use crate::exposition::MetricType;
use crate::naming::family_of;
use hashbrown::HashMap;
use std::sync::Arc;

/// Families beyond this many, or with longer names, are not remembered: their series have no kind.
const MAX_FAMILIES: usize = 1 << 16;
const MAX_TEXT_BYTES: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Families {
    told: HashMap<Box<str>, (MetricType, Box<str>)>,
    state: u32,
}

impl Families {
    /// Differs after each change of what is known.
    pub(super) fn state(&self) -> u32 {
        self.state
    }

    /// What is told first of a family stays: senders that disagree would make the register look at
    /// all of its series again and again.
    pub(super) fn tell(&mut self, family: &str, kind: MetricType, unit: &str) {
        let says_something = kind != MetricType::Unknown || !unit.is_empty();
        let short = family.len() <= MAX_TEXT_BYTES && unit.len() <= MAX_TEXT_BYTES;
        let room = self.told.len() < MAX_FAMILIES;
        if says_something && short && room && !self.told.contains_key(family) {
            self.told.insert(family.into(), (kind, unit.into()));
            self.state = self.state.wrapping_add(1);
        }
    }

    /// Kind and unit of a sample's series; empty where unknown.
    pub(super) fn about(&self, name: &str) -> [Arc<str>; 2] {
        let told = family_of(name).find_map(|family| self.told.get(family));
        told.map_or_else(|| ["".into(), "".into()], |(kind, unit)| as_attributes(*kind, unit))
    }
}

/// Kind and unit as the attributes of a series.
pub(super) fn as_attributes(kind: MetricType, unit: &str) -> [Arc<str>; 2] {
    let kind = if kind == MetricType::Unknown { "" } else { kind.as_str() };
    [kind.into(), unit.into()]
}
