//! Who runs what when: jobs as rectangles of GPUs and time, found by halving.
//!
//! Every pod of GPUs has slots of hours. A slot is one job, or is halved in time or in GPUs, and
//! so on; each choice is a hash of the path taken. So the job of any GPU at any time is found
//! in some twenty steps, neighbours agree on it, and nothing is remembered.

use super::noise::{Draw, derive};
use warpline_storage::model::Timestamp;

pub(super) const SECOND: i64 = 1_000_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;
const MOST_POD_GPUS: u64 = 8_192;
const SLOT: i64 = 16 * HOUR;
const SHORTEST: i64 = 40 * MINUTE;
/// Chance, in thousandths, that 1, 2, 4, ... 8,192 GPUs are one job and not halved.
const ONE_JOB: [i64; 14] = [1_000, 550, 500, 620, 300, 250, 250, 200, 200, 150, 150, 120, 100, 80];
/// XIDs that end jobs: memory faults, ECC, NVLink, off the bus, contained errors, GSP.
const FATAL_XIDS: [i64; 12] = [13, 31, 31, 43, 43, 45, 48, 74, 79, 94, 95, 119];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Training,
    Inference,
    Notebook,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    /// Unique in the fleet; everything about the job is drawn from it.
    pub(super) key: u64,
    pub(super) kind: Kind,
    pub(super) gpus: u64,
}

/// A stretch of time in which one GPU does one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    /// `None` where the GPU idles.
    pub(super) job: Option<Job>,
    /// The XID that this GPU raises as the segment ends: it brought the job down.
    pub(super) xid: Option<i64>,
}

/// GPUs from `first` over `length` of time: one slot, or a part of it.
#[derive(Clone, Copy, Debug)]
struct Rectangle {
    key: u64,
    first: u64,
    gpus: u64,
    from: Timestamp,
    length: i64,
}

/// Where a fleet's jobs are drawn from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    seed: u64,
    /// A power of two: a small fleet is one small pod.
    pod_gpus: u64,
    /// No job has more GPUs than these.
    largest: u64,
}

impl Schedule {
    pub(super) fn new(seed: u64, fleet_gpus: u64) -> Self {
        let pod_gpus = fleet_gpus.next_power_of_two().min(MOST_POD_GPUS);
        // A small fleet too runs several jobs at any time.
        let largest = if pod_gpus < MOST_POD_GPUS { (pod_gpus / 4).max(1) } else { pod_gpus };
        Self { seed, pod_gpus, largest }
    }
}

/// What `gpu` does at `time`.
pub(super) fn segment_at(schedule: Schedule, gpu: u64, time: Timestamp) -> Segment {
    let rectangle = rectangle_at(schedule, gpu, time);
    let (run, job, xid) = rectangle.plan(gpu);
    let end = rectangle.from + rectangle.length;
    let (from, until) = run;
    if time < from {
        Segment { from: rectangle.from, until: from, job: None, xid: None }
    } else if time < until {
        Segment { from, until, job, xid }
    } else {
        Segment { from: until, until: end, job: None, xid: None }
    }
}

fn rectangle_at(schedule: Schedule, gpu: u64, time: Timestamp) -> Rectangle {
    let Schedule { seed, pod_gpus, largest } = schedule;
    let pod = gpu / pod_gpus;
    let pod_key = derive(seed, pod);
    let offset = Draw::new(pod_key).between(0, SLOT);
    let slot = (time - offset).div_euclid(SLOT);
    let mut rectangle = Rectangle {
        key: derive(pod_key, slot.cast_unsigned()),
        first: pod * pod_gpus,
        gpus: pod_gpus,
        from: slot * SLOT + offset,
        length: SLOT,
    };
    loop {
        let mut draw = Draw::new(rectangle.key);
        if rectangle.length >= 2 * SHORTEST && draw.chance(350) {
            rectangle = rectangle.half_of_time(time);
        } else if rectangle.gpus <= largest && draw.chance(ONE_JOB[rectangle.gpus.ilog2() as usize])
        {
            return rectangle;
        } else {
            rectangle = rectangle.half_of_gpus(gpu);
        }
    }
}

impl Rectangle {
    fn half_of_time(mut self, time: Timestamp) -> Self {
        self.length /= 2;
        let later = time >= self.from + self.length;
        self.from += self.length * i64::from(later);
        self.key = derive(self.key, 1 + u64::from(later));
        self
    }

    fn half_of_gpus(mut self, gpu: u64) -> Self {
        self.gpus /= 2;
        let upper = gpu >= self.first + self.gpus;
        self.first += self.gpus * u64::from(upper);
        self.key = derive(self.key, 3 + u64::from(upper));
        self
    }

    /// When the rectangle's job runs, the job (some rectangles stay empty), and the XID that
    /// `gpu` ends it with.
    fn plan(&self, gpu: u64) -> ((Timestamp, Timestamp), Option<Job>, Option<i64>) {
        let mut draw = Draw::new(derive(self.key, 5));
        let queue = if draw.chance(150) { self.length * 3 / 10 } else { 5 * MINUTE };
        let from = self.from + draw.between(10 * SECOND, queue);
        let end = self.from + self.length;
        let fails = draw.chance(150);
        let until = if fails {
            draw.between(from + (end - from) / 20, end)
        } else {
            end - draw.between(5 * SECOND, 3 * MINUTE)
        };
        let kind = kind_of(self.gpus, &mut draw);
        let job = draw.chance(900).then_some(Job { key: self.key, kind, gpus: self.gpus });
        let culprit = self.first + draw.between(0, self.gpus.cast_signed()).cast_unsigned();
        let xid = draw.pick(&FATAL_XIDS);
        // Most failures are the software's own.
        let raises = fails && draw.chance(80) && job.is_some() && culprit == gpu;
        ((from, until), job, raises.then_some(xid))
    }
}

fn kind_of(gpus: u64, draw: &mut Draw) -> Kind {
    let (training, inference) = match gpus {
        64.. => (960, 40),
        8.. => (650, 300),
        _ => (300, 380),
    };
    match draw.between(0, 1_000) {
        share if share < training => Kind::Training,
        share if share < training + inference => Kind::Inference,
        _ => Kind::Notebook,
    }
}
