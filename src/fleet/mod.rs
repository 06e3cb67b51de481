//! A fleet without hardware: nodes, GPUs and jobs that behave like real ones.
//!
//! A fleet is a function of its seed, its size and its interval: the value of any field of any
//! GPU at any tick can be had without the ticks before it, and is the same on every machine.
//!
//! ```text
//! schedule   who runs what when         health   reboots, missed scrapes, phase, jitter
//! rhythm     a job's activity in time   load     a job's demands, a GPU's nature
//! gpu        counters and values        fields   the 60 columns and their places
//! node       layouts and blocks         quantiles  the traces that levels are drawn from
//! ```

mod fields;
mod gpu;
mod health;
mod load;
mod names;
mod node;
mod noise;
mod quantiles;
mod rhythm;
mod schedule;
#[cfg(test)]
mod tests;

pub use fields::FIELD_COUNT;
pub use node::{Node, Scrape};

use names::Names;
use schedule::Schedule;
use std::sync::Arc;
use warpline_storage::model::Timestamp;

pub const GPUS_PER_NODE: u64 = 8;
const NODES_PER_RACK: u64 = 8;

/// What a fleet is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetSpec {
    pub seed: u64,
    /// At least one; the last node has what remains of eight.
    pub gpus: u64,
    /// Microseconds between a node's scrapes, at least one millisecond.
    pub interval_us: i64,
    pub cluster: String,
    /// How many tenants share the fleet, at most twelve.
    pub tenants: usize,
}

/// Fleets by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// 16 GPUs on 2 nodes
    Tiny,
    /// 1,024 GPUs on 128 nodes
    Small,
    /// 8,192 GPUs on 1,024 nodes
    Medium,
    /// 32,768 GPUs on 4,096 nodes
    Large,
    /// 222,000 GPUs on 27,750 nodes, leased to one tenant
    #[value(name = "colossus-1")]
    Colossus1,
}

impl Preset {
    pub fn gpus(self) -> u64 {
        match self {
            Self::Tiny => 16,
            Self::Small => 1_024,
            Self::Medium => 8_192,
            Self::Large => 32_768,
            Self::Colossus1 => 222_000,
        }
    }

    pub fn spec(self, seed: u64, interval_us: i64) -> FleetSpec {
        let spec = FleetSpec::new(seed, self.gpus(), interval_us);
        match self {
            Self::Colossus1 => FleetSpec { cluster: "colossus-1".into(), tenants: 1, ..spec },
            _ => spec,
        }
    }
}

impl FleetSpec {
    pub fn new(seed: u64, gpus: u64, interval_us: i64) -> Self {
        Self {
            seed,
            gpus: gpus.max(1),
            interval_us: interval_us.max(1_000),
            cluster: "gpu-east-1".into(),
            tenants: 12,
        }
    }
}

/// A handle, cheap to clone.
#[derive(Clone, Debug)]
pub struct Fleet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spec: FleetSpec,
    key: u64,
    schedule: Schedule,
    names: Names,
}

impl Fleet {
    pub fn new(spec: FleetSpec) -> Self {
        let (key, names) = (noise::mix(spec.seed), Names::new(&spec));
        let schedule = Schedule::new(key, spec.gpus);
        Self(Arc::new(Inner { spec, key, schedule, names }))
    }

    pub fn spec(&self) -> &FleetSpec {
        &self.0.spec
    }

    pub fn nodes(&self) -> u64 {
        self.0.spec.gpus.div_ceil(GPUS_PER_NODE)
    }

    pub fn gpus_on(&self, node: u64) -> u64 {
        self.0.spec.gpus.saturating_sub(node * GPUS_PER_NODE).min(GPUS_PER_NODE)
    }

    /// Node number `index`, ready for any tick.
    pub fn node(&self, index: u64) -> Node {
        assert!(index < self.nodes(), "the fleet has {} nodes", self.nodes());
        Node::new(self.clone(), index)
    }

    /// The last tick at or before `time`.
    pub fn tick_at(&self, time: Timestamp) -> Timestamp {
        time.div_euclid(self.0.spec.interval_us) * self.0.spec.interval_us
    }
}
