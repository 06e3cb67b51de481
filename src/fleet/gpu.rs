//! One GPU through time: the job it runs, the counters so far, and the values of a tick.
//!
//! A counter is a sum over the segments since boot, each a function of time and work alone. It
//! can therefore be had at any time without walking ticks, and never depends on where one began.

use super::fields::{Field, Sheet};
use super::load::{IDLE_MIB, Load, RESERVED_MIB, SLOWDOWN, Traits};
use super::noise::{derive, mix, spread};
use super::rhythm::Rhythm;
use super::schedule::{Kind, MINUTE, Schedule, Segment, segment_at};
use warpline_storage::model::Timestamp;

/// Counters that grow with time and work.
const TOTALS: usize = 6;
const ENERGY: usize = 0;
const POWER_CAP: usize = 1;
const THERMAL: usize = 2;
const LOW_UTIL: usize = 3;
const NVLINK_TX: usize = 4;
const NVLINK_RX: usize = 5;

/// 2026-01-01: errors before it are in a GPU's history.
const LIFE_BEGAN: Timestamp = 1_767_225_600_000_000;

const THROTTLE_IDLE: i64 = 0x1;
const THROTTLE_POWER_CAP: i64 = 0x4;
const THROTTLE_THERMAL: i64 = 0x20;

/// Always 0 here: performance state P0, no encoder in use, no fault of the grave kinds.
const QUIET: [Field; 10] = [
    Field::EncUtil,
    Field::Pstate,
    Field::SyncBoostViolation,
    Field::BoardLimitViolation,
    Field::ReliabilityViolation,
    Field::EccDbeVolTotal,
    Field::RetiredSbe,
    Field::RetiredDbe,
    Field::RowRemapFailure,
    Field::NvlinkRecoveryErrors,
];

/// What all GPUs of a job have in common at one tick.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beat {
    /// Activity, thousandths.
    level: i64,
    /// Time and work since the segment's start at the moment the driver last updated counters.
    age: i64,
    work: i64,
    /// Activity over the last minute, and how much of that minute lies in this segment.
    recent: i64,
    recent_share: i64,
    /// How far memory is filled.
    filled: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Gpu {
    pub(super) traits: Traits,
    number: u64,
    booted: Timestamp,
    segment: Segment,
    /// Where the segment begins for this GPU: a reboot starts its job again.
    begun: Timestamp,
    rhythm: Option<Rhythm>,
    load: Load,
    /// Growth of each total per microsecond, and per thousandth of activity and microsecond.
    rates: [(f64, f64); TOTALS],
    totals: [i64; TOTALS],
    xid: i64,
    /// Power above idle at the end of the segment before: what still warms the GPU.
    afterglow_mw: i64,
    faults_until: Timestamp,
}

impl Gpu {
    /// The GPU at `time`, up since `booted`. Costs a walk over the segments since then.
    pub(super) fn new(
        schedule: Schedule,
        number: u64,
        traits: Traits,
        booted: Timestamp,
        time: Timestamp,
    ) -> Self {
        let mut gpu = Self {
            traits,
            number,
            booted,
            segment: segment_at(schedule, number, booted),
            begun: booted,
            rhythm: None,
            load: Load::default(),
            rates: [(0.0, 0.0); TOTALS],
            totals: [0; TOTALS],
            xid: 0,
            afterglow_mw: 0,
            faults_until: Timestamp::MIN,
        };
        gpu.settle();
        gpu.advance(schedule, time);
        gpu
    }

    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Moves on to the segment of a later `time`; says whether that is another one.
    pub(super) fn advance(&mut self, schedule: Schedule, time: Timestamp) -> bool {
        let moved = time >= self.segment.until;
        while time >= self.segment.until {
            self.leave();
            self.begun = self.segment.until;
            self.segment = segment_at(schedule, self.number, self.begun);
            self.settle();
        }
        moved
    }

    /// Books the segment's part of every total.
    fn leave(&mut self) {
        let age = self.segment.until - self.begun;
        let work = self.rhythm.map_or(0, |rhythm| rhythm.work(age));
        for total in 0..TOTALS {
            self.totals[total] += self.grown(total, age, work);
        }
        let before = self.rhythm.map_or(0, |rhythm| rhythm.work(age - MINUTE));
        self.afterglow_mw = self.load.power_mw * ((work - before) / MINUTE) / 1_000;
        self.xid = self.segment.xid.unwrap_or(self.xid);
    }

    fn grown(&self, total: usize, age: i64, work: i64) -> i64 {
        let (by_time, by_work) = self.rates[total];
        (by_time * age as f64 + by_work * work as f64) as i64
    }

    /// Takes up the segment's job.
    fn settle(&mut self) {
        let job = self.segment.job;
        self.rhythm = job.map(|job| Rhythm::of(&job));
        self.load = job.map_or_else(Load::default, |job| Load::of(&job, &self.traits));
        let load = &self.load;
        self.rates = [(0.0, 0.0); TOTALS];
        self.rates[ENERGY] = (self.traits.idle_mw as f64 / 1e6, load.power_mw as f64 / 1e9);
        // Nanoseconds: capped for 60 % and throttled for 30 % of full activity.
        self.rates[POWER_CAP].1 = if load.capped { 0.6 } else { 0.0 };
        self.rates[THERMAL].1 = if load.throttled { 0.3 } else { 0.0 };
        self.rates[LOW_UTIL].0 = if job.is_none() { 1_000.0 } else { 0.0 };
        self.rates[NVLINK_TX].1 = load.nvlink as f64 / 1e9;
        self.rates[NVLINK_RX].1 = load.nvlink as f64 / 1e9;
    }

    /// Whether both run the same job from the same moment, so that one beat serves both.
    pub(super) fn in_step_with(&self, other: &Self) -> bool {
        self.segment.job == other.segment.job && self.begun == other.begun
    }

    /// The beat at `time`; counters are as the driver last updated them, `lag` before.
    pub(super) fn beat(&self, time: Timestamp, lag: i64) -> Beat {
        let age = time - self.begun;
        let counted = (age - lag).max(0);
        let recent_share = age.min(MINUTE);
        let Some(rhythm) = &self.rhythm else {
            return Beat { age: counted, recent_share, ..Beat::default() };
        };
        let work = rhythm.work(counted);
        Beat {
            level: rhythm.level(age),
            age: counted,
            work,
            recent: (work - rhythm.work(counted - MINUTE)) / MINUTE,
            recent_share,
            filled: rhythm.filled(age),
        }
    }

    /// Writes what does not change within a segment.
    pub(super) fn write_lasting(&mut self, row: usize, sheet: &mut Sheet) {
        let (model, busy) = (self.traits.model, self.segment.job.is_some());
        let [_, double_bit, remapped] = self.traits.history;
        let mut put = |field, value| sheet.put(field, row, value);
        for field in QUIET {
            put(field, 0);
        }
        put(Field::PowerMgmtLimit, model.limit_mw);
        put(Field::EnforcedPowerLimit, model.limit_mw);
        put(Field::MemClock, model.mem_clock);
        put(Field::VideoClock, if busy { 1_545 } else { 765 });
        put(Field::PcieLinkGen, if busy { 5 } else { 1 });
        put(Field::PcieLinkWidth, 16);
        put(Field::XidErrors, self.xid);
        put(Field::FbTotal, model.memory_mib);
        put(Field::FbReserved, RESERVED_MIB);
        put(Field::EccDbeAggTotal, double_bit);
        put(Field::UncorrectableRemappedRows, double_bit);
        put(Field::CorrectableRemappedRows, remapped);
        put(Field::RowRemapPending, i64::from(matches!(self.xid, 94 | 95)));
        self.faults_until = Timestamp::MIN;
    }

    /// Writes the values of the tick at `time`.
    pub(super) fn write(&mut self, row: usize, time: Timestamp, beat: &Beat, sheet: &mut Sheet) {
        if time >= self.faults_until {
            self.write_faults(row, time, sheet);
        }
        let noise = mix(self.traits.key ^ time.cast_unsigned());
        let level = self.level(time, beat, noise);
        let power = self.write_power(row, level, beat, noise, sheet);
        self.write_heat(row, beat, power, noise, sheet);
        self.write_activity(row, level, noise, sheet);
        self.write_traffic(row, level, noise, sheet);
        self.write_memory(row, time, beat, sheet);
        self.write_totals(row, beat, sheet);
    }

    /// This GPU's own activity: the job's, wandering from minute to minute and tick to tick.
    fn level(&self, time: Timestamp, beat: &Beat, noise: u64) -> i64 {
        if beat.level == 0 {
            return 0;
        }
        let minute = mix(self.traits.key ^ (time / MINUTE).cast_unsigned());
        let wander = spread(minute, 0, self.load.wander) + spread(noise, 0, 10);
        (beat.level + beat.level * wander / 1_000).clamp(0, 1_000)
    }

    fn write_power(
        &self,
        row: usize,
        level: i64,
        beat: &Beat,
        noise: u64,
        sheet: &mut Sheet,
    ) -> i64 {
        let limit = self.traits.model.limit_mw;
        let wanted = self.traits.idle_mw + self.load.power_mw * level / 1_000;
        let busy = level > 0;
        let swing = if busy { 6_000 } else { 350 };
        let power = (wanted + spread(noise, 1, swing)).min(limit + spread(noise, 2, 1_500));
        let instant = power + spread(noise, 3, swing * 3);
        let capped = self.load.capped && level > 900;
        let dither = if capped { 15 * spread(noise, 2, 4) } else { 0 };
        let reasons = (THROTTLE_IDLE * i64::from(self.segment.job.is_none()))
            | (THROTTLE_POWER_CAP * i64::from(capped))
            | (THROTTLE_THERMAL * i64::from(self.load.throttled && beat.recent > 900));
        let boost = (self.load.clock + dither).min(self.traits.model.sm_clock);
        let clock = if self.segment.job.is_some() { boost } else { 345 };
        sheet.put(Field::PowerUsage, row, power);
        sheet.put(Field::PowerUsageInstant, row, instant);
        sheet.put(Field::SmClock, row, clock);
        sheet.put(Field::ClocksEventReasons, row, reasons);
        power
    }

    /// Temperature follows the power of the last minute.
    fn write_heat(&self, row: usize, beat: &Beat, power: i64, noise: u64, sheet: &mut Sheet) {
        let earlier = self.afterglow_mw * (MINUTE - beat.recent_share) / MINUTE;
        let lasting = self.traits.idle_mw + self.load.power_mw * beat.recent / 1_000 + earlier;
        let heat = self.traits.temperature((lasting * 7 + power) / 8) + spread(noise, 2, 250);
        let degrees = (heat + 500) / 1_000;
        sheet.put(Field::GpuTemp, row, degrees);
        sheet.put(Field::MemoryTemp, row, (heat + 5_500 + spread(noise, 3, 300)) / 1_000);
        sheet.put(Field::GpuTempLimit, row, SLOWDOWN / 1_000 - degrees);
    }

    fn write_activity(&self, row: usize, level: i64, noise: u64, sheet: &mut Sheet) {
        let more = mix(noise);
        let load = &self.load;
        let ratio = |full: i64, word: u64, part: u32| {
            let share = full * level / 1_000;
            (share + spread(word, part, share >> 5)).clamp(0, 1_000_000)
        };
        let engine = if level > 0 { (level * 1_020 + spread(more, 0, 4_000)).max(0) } else { 0 };
        let util = level * 108 / 1_000 + if level > 0 { spread(noise, 1, 2) } else { 0 };
        let dram = ratio(load.dram, more, 1);
        sheet.put(Field::GpuUtil, row, util.clamp(0, 100));
        sheet.put(Field::MemCopyUtil, row, dram * 9 / 100_000);
        sheet.put(Field::DecUtil, row, load.decoder * level / 1_000);
        sheet.put(Field::GrEngineActive, row, engine.min(1_000_000));
        sheet.put(Field::SmActive, row, ratio(load.sm_active, more, 2));
        sheet.put(Field::SmOccupancy, row, ratio(load.occupancy, more, 3));
        sheet.put(Field::PipeTensorActive, row, ratio(load.tensor, noise, 0));
        sheet.put(Field::DramActive, row, dram);
        sheet.put(Field::PipeFp64Active, row, ratio(load.fp64, noise, 2));
        sheet.put(Field::PipeFp32Active, row, ratio(load.fp32, noise, 3));
        sheet.put(Field::PipeFp16Active, row, ratio(load.fp16, more, 0));
    }

    fn write_traffic(&self, row: usize, level: i64, noise: u64, sheet: &mut Sheet) {
        let word = mix(!noise);
        let traffic = |full: i64, part: u32| {
            let share = full / 1_000 * level;
            share + spread(word, part, share >> 4)
        };
        let chatter = (word & 0x1FFF).cast_signed();
        let (sent, received) = (traffic(self.load.nvlink, 0), traffic(self.load.nvlink, 1));
        sheet.put(Field::NvlinkTxBytes, row, sent);
        sheet.put(Field::NvlinkRxBytes, row, received);
        sheet.put(Field::NvlinkBandwidthTotal, row, (sent + received) / 1_000_000);
        sheet.put(Field::PcieTxBytes, row, traffic(self.load.pcie_tx, 2) + 1_000 + chatter);
        sheet.put(Field::PcieRxBytes, row, traffic(self.load.pcie_rx, 3) + 1_000 + chatter / 2);
    }

    fn write_memory(&self, row: usize, time: Timestamp, beat: &Beat, sheet: &mut Sheet) {
        let kind = self.segment.job.map(|job| job.kind);
        let cache = if kind == Some(Kind::Inference) {
            let minute = mix(!self.traits.key ^ (time / MINUTE).cast_unsigned());
            spread(minute, 1, self.load.memory_mib / 50)
        } else {
            0
        };
        let used = IDLE_MIB + (self.load.memory_mib + cache) * beat.filled / 1_000;
        let used = used.min(self.traits.model.memory_mib - RESERVED_MIB);
        sheet.put(Field::FbUsed, row, used);
        sheet.put(Field::FbFree, row, self.traits.model.memory_mib - RESERVED_MIB - used);
    }

    fn write_totals(&self, row: usize, beat: &Beat, sheet: &mut Sheet) {
        let total = |total: usize| self.totals[total] + self.grown(total, beat.age, beat.work);
        sheet.put(Field::TotalEnergyConsumption, row, total(ENERGY));
        sheet.put(Field::PowerViolation, row, total(POWER_CAP));
        sheet.put(Field::ThermalViolation, row, total(THERMAL));
        sheet.put(Field::LowUtilViolation, row, total(LOW_UTIL));
        sheet.put(Field::NvlinkCountTxBytes, row, total(NVLINK_TX));
        sheet.put(Field::NvlinkCountRxBytes, row, total(NVLINK_RX));
    }

    /// Writes the counters of rare faults and remembers when the next one comes.
    fn write_faults(&mut self, row: usize, time: Timestamp, sheet: &mut Sheet) {
        let mut next = Timestamp::MAX;
        let mut since = |fault: usize, start: Timestamp| {
            let every = self.traits.fault_every[fault];
            let shift = (derive(self.traits.key, fault as u64) >> 2) as i64 % every;
            let count = (time + shift).div_euclid(every);
            next = next.min((count + 1) * every - shift);
            (count - (start + shift).div_euclid(every)).max(0)
        };
        let [single_bit, replays, crc] = [0, 1, 2].map(|fault| since(fault, self.booted));
        sheet.put(Field::EccSbeVolTotal, row, single_bit);
        sheet.put(Field::EccSbeAggTotal, row, self.traits.history[0] + since(0, LIFE_BEGAN));
        sheet.put(Field::PcieReplayCounter, row, replays);
        sheet.put(Field::NvlinkCrcFlitErrors, row, crc);
        sheet.put(Field::NvlinkCrcDataErrors, row, crc / 3);
        sheet.put(Field::NvlinkReplayErrors, row, crc / 2);
        self.faults_until = next;
    }
}
