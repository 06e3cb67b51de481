//! What every protocol ends in.

use super::{Block, Sequence};
use std::sync::Arc;

/// Blocks of one producer under one sequence number: taken whole and once, or not at all.
#[derive(Clone, Debug)]
pub struct Batch {
    pub producer: ProducerId,
    pub sequence: Sequence,
    pub blocks: Vec<Block>,
}

/// A producer's own lasting name: 1 to 128 bytes, chosen by the producer, unique in the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProducerId(Arc<str>);

impl ProducerId {
    pub const MAX_BYTES: usize = 128;

    /// `None` where the name is empty or too long.
    pub fn new(name: impl Into<Arc<str>>) -> Option<Self> {
        let name = name.into();
        (1..=Self::MAX_BYTES).contains(&name.len()).then_some(Self(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}
