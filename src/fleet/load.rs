//! What a GPU is, and what a job asks of it: the levels that a tick's values vary around.

use super::noise::{Draw, derive};
use super::quantiles;
use super::schedule::{HOUR, Job, Kind};

/// A GPU model.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) name: &'static str,
    pub(super) memory_mib: i64,
    pub(super) limit_mw: i64,
    pub(super) sm_clock: i64,
    pub(super) mem_clock: i64,
}

pub(super) const H100: Model = Model {
    name: "NVIDIA H100 80GB HBM3",
    memory_mib: 81_559,
    limit_mw: 700_000,
    sm_clock: 1_980,
    mem_clock: 2_619,
};
pub(super) const H200: Model = Model {
    name: "NVIDIA H200",
    memory_mib: 143_771,
    limit_mw: 700_000,
    sm_clock: 1_980,
    mem_clock: 3_201,
};

/// Memory that the driver keeps for itself, and what an idle GPU holds, in MiB.
pub(super) const RESERVED_MIB: i64 = 560;
pub(super) const IDLE_MIB: i64 = 4;
/// From this temperature, in thousandths of a degree, clocks are lowered.
pub(super) const SLOWDOWN: i64 = 87_000;
/// Millidegrees that a milliwatt adds, in thousandths.
const HEAT_PER_MW: i64 = 56;

/// What stays with a GPU for life.
#[derive(Clone, Debug)]
pub(super) struct Traits {
    pub(super) key: u64,
    pub(super) model: &'static Model,
    pub(super) idle_mw: i64,
    /// Temperature without any power, in thousandths of a degree.
    pub(super) ambient: i64,
    /// Slower than its neighbours, who wait for it.
    pub(super) straggler: bool,
    /// Microseconds between single-bit errors, PCIe replays, NVLink CRC errors.
    pub(super) fault_every: [i64; 3],
    /// Single-bit errors of its life before the epoch, double-bit errors, remapped rows.
    pub(super) history: [i64; 3],
}

impl Traits {
    pub(super) fn new(key: u64, model: &'static Model, hot: bool) -> Self {
        let draw = &mut Draw::new(key);
        let heat = if hot { draw.between(22_000, 28_000) } else { 0 };
        let mut fault = |often: i64| {
            let hours = if draw.chance(15) { often } else { often * 400 };
            draw.between(hours * HOUR / 2, hours * HOUR * 2)
        };
        Self {
            fault_every: [fault(2), fault(1), fault(6)],
            key,
            model,
            idle_mw: quantiles::at(&quantiles::IDLE_POWER, draw.bits()) + 8_000,
            ambient: draw.between(24_000, 30_000) + heat,
            straggler: draw.chance(4),
            history: [draw.between(0, 9), draw.between(0, 40) / 39, draw.between(0, 12) / 9],
        }
    }

    /// Temperature at a lasting power, in thousandths of a degree.
    pub(super) fn temperature(&self, power_mw: i64) -> i64 {
        self.ambient + power_mw * HEAT_PER_MW / 1_000
    }
}

/// What a job asks of a GPU at full activity.
#[derive(Clone, Debug, Default)]
pub(super) struct Load {
    /// Above idle power.
    pub(super) power_mw: i64,
    /// The job would draw more than the limit allows.
    pub(super) capped: bool,
    pub(super) throttled: bool,
    /// Parts per million.
    pub(super) sm_active: i64,
    pub(super) occupancy: i64,
    pub(super) tensor: i64,
    pub(super) dram: i64,
    pub(super) fp64: i64,
    pub(super) fp32: i64,
    pub(super) fp16: i64,
    /// Per cent of the decoder.
    pub(super) decoder: i64,
    pub(super) memory_mib: i64,
    /// Bytes a second.
    pub(super) nvlink: i64,
    pub(super) pcie_tx: i64,
    pub(super) pcie_rx: i64,
    pub(super) clock: i64,
    /// Thousandths by which activity wanders from minute to minute.
    pub(super) wander: i64,
}

impl Load {
    pub(super) fn of(job: &Job, traits: &Traits) -> Self {
        let draw = &mut Draw::new(derive(job.key, 13));
        let mut load = Self {
            sm_active: quantiles::at(&quantiles::SM_ACTIVE, draw.bits()),
            tensor: quantiles::at(&quantiles::TENSOR_ACTIVE, draw.bits()),
            dram: draw.between(250_000, 620_000),
            fp64: if draw.chance(30) { draw.between(10_000, 300_000) } else { 0 },
            fp32: draw.between(20_000, 120_000),
            nvlink: draw.between(40_000_000_000, 340_000_000_000),
            pcie_tx: draw.between(200_000_000, 4_000_000_000),
            pcie_rx: draw.between(100_000_000, 2_500_000_000),
            clock: traits.model.sm_clock,
            ..Self::default()
        };
        let power = quantiles::at(&quantiles::POWER, draw.bits());
        let memory = quantiles::at(&quantiles::MEMORY, draw.bits());
        load.occupancy = load.sm_active * 42 / 100;
        load.fp16 = load.tensor * 12 / 100;
        load.memory_mib = (traits.model.memory_mib - RESERVED_MIB) * memory / 1_000_000;
        load.suit(job, draw);
        load.set_power(traits.model.limit_mw * power / 1_000, traits);
        load
    }

    /// What tells inference, notebooks and jobs of one GPU from training.
    fn suit(&mut self, job: &Job, draw: &mut Draw) {
        match job.kind {
            Kind::Training => self.wander = 8,
            Kind::Inference => {
                self.wander = 150;
                self.nvlink /= 20;
                self.decoder = if draw.chance(250) { draw.between(5, 40) } else { 0 };
            }
            Kind::Notebook => {
                self.wander = 200;
                self.memory_mib /= 4;
            }
        }
        if job.gpus == 1 {
            self.nvlink = 0;
        }
    }

    fn set_power(&mut self, wanted_mw: i64, traits: &Traits) {
        let limit = traits.model.limit_mw;
        self.capped = wanted_mw > limit * 97 / 100;
        self.power_mw = wanted_mw.min(limit) - traits.idle_mw;
        if self.capped {
            self.clock -= 15 * ((wanted_mw - limit * 97 / 100) / 6_000).clamp(1, 20);
        }
        if traits.straggler {
            self.power_mw = self.power_mw * 4 / 5;
            self.clock -= 300;
            self.sm_active = (self.sm_active * 107 / 100).min(999_000);
        }
        self.throttled = traits.temperature(traits.idle_mw + self.power_mw) >= SLOWDOWN;
        if self.throttled {
            self.clock -= 165;
        }
    }
}
