//! One node: its layout at a time and the block of each of its scrapes.

use super::fields::Sheet;
use super::gpu::Gpu;
use super::health::{self, Uptime};
use super::load::{H100, H200, Traits};
use super::noise::{Draw, derive};
use super::{FIELD_COUNT, Fleet, GPUS_PER_NODE, NODES_PER_RACK};
use std::sync::Arc;
use warpline_storage::model::{Layout, Series, Timestamp};

/// A scrape that succeeded: one block of `rows` rows, all of them full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrape {
    /// The time of its rows: the tick's time, this node's phase and a little jitter.
    pub time: Timestamp,
    pub rows: u64,
    pub values: u64,
}

/// A node as it moves through time. Forward moves are cheap, others walk the jobs since boot.
#[derive(Debug)]
pub struct Node {
    fleet: Fleet,
    index: u64,
    key: u64,
    phase: i64,
    uptime: Uptime,
    last: Timestamp,
    gpus: Vec<Gpu>,
    sheet: Sheet,
    layout: Option<Arc<Layout>>,
}

impl Node {
    pub(super) fn new(fleet: Fleet, index: u64) -> Self {
        let key = derive(fleet.0.key, index);
        let rack_key = derive(!fleet.0.key, index / NODES_PER_RACK);
        let phase = health::phase(rack_key, key, fleet.0.spec.interval_us);
        let rows = fleet.gpus_on(index);
        Self {
            index,
            key,
            phase,
            uptime: Uptime { from: 0, until: 0, up: false },
            last: Timestamp::MIN,
            gpus: Vec::new(),
            sheet: Sheet::new(rows as usize),
            layout: None,
            fleet,
        }
    }

    pub fn index(&self) -> u64 {
        self.index
    }

    /// The layout of the tick at `time`. It changes when a job starts or ends here, because tenant
    /// and job are attributes of the series; until then it is the same `Arc`.
    pub fn layout(&mut self, time: Timestamp) -> Arc<Layout> {
        self.move_to(time);
        let made = self.layout.take().unwrap_or_else(|| self.make_layout());
        self.layout = Some(made.clone());
        made
    }

    /// Whether the tick at `time` gives a block; costs no more than a hash or two.
    pub fn answers(&mut self, time: Timestamp) -> bool {
        self.check_uptime(time);
        self.uptime.up && !health::is_missed(self.key, time)
    }

    /// Appends the block of the tick at `time` (a multiple of the interval) to `out`, under
    /// `self.layout(time)`; `None` where the node is down or the scrape is missed.
    pub fn tick(&mut self, time: Timestamp, out: &mut Vec<u8>) -> Option<Scrape> {
        if !self.answers(time) {
            return None;
        }
        self.move_to(time);
        let interval = self.fleet.0.spec.interval_us;
        let lag_limit = (interval / 5).clamp(1, 100_000);
        let lag = Draw::new(self.key ^ time.cast_unsigned()).between(0, lag_limit);
        let mut beat = None;
        for row in 0..self.gpus.len() {
            let in_step = row > 0 && self.gpus[row].in_step_with(&self.gpus[row - 1]);
            let this = match beat {
                Some(beat) if in_step => beat,
                _ => self.gpus[row].beat(time, lag),
            };
            self.gpus[row].write(row, time, &this, &mut self.sheet);
            beat = Some(this);
        }
        let scraped = time + self.phase + health::jitter(self.key, time, interval);
        out.extend_from_slice(self.sheet.at(scraped));
        let rows = self.gpus.len() as u64;
        Some(Scrape { time: scraped, rows, values: rows * FIELD_COUNT as u64 })
    }

    /// Brings every GPU to `time`.
    fn move_to(&mut self, time: Timestamp) {
        self.check_uptime(time);
        if self.gpus.is_empty() || time < self.last {
            self.boot(time);
        }
        for row in 0..self.gpus.len() {
            if self.gpus[row].advance(self.fleet.0.schedule, time) {
                self.gpus[row].write_lasting(row, &mut self.sheet);
                self.layout = None;
            }
        }
        self.last = time;
    }

    /// A reboot forgets everything that the GPUs counted.
    fn check_uptime(&mut self, time: Timestamp) {
        if !self.uptime.covers(time) {
            self.uptime = Uptime::at(self.key, time);
            self.gpus.clear();
        }
    }

    fn boot(&mut self, time: Timestamp) {
        let first = self.index * GPUS_PER_NODE;
        let rack = self.index / NODES_PER_RACK;
        let draw = &mut Draw::new(derive(!self.fleet.0.key, rack));
        let model = if draw.chance(250) { &H200 } else { &H100 };
        let rack_gpus = (GPUS_PER_NODE * NODES_PER_RACK).cast_signed();
        let hot =
            rack * GPUS_PER_NODE * NODES_PER_RACK + draw.between(0, rack_gpus).cast_unsigned();
        self.gpus = (first..first + self.fleet.gpus_on(self.index))
            .map(|gpu| {
                let traits = Traits::new(derive(self.key, gpu), model, gpu == hot);
                Gpu::new(self.fleet.0.schedule, gpu, traits, self.uptime.from, time)
            })
            .collect();
        for (row, gpu) in self.gpus.iter_mut().enumerate() {
            gpu.write_lasting(row, &mut self.sheet);
        }
        self.layout = None;
    }

    fn make_layout(&self) -> Arc<Layout> {
        let names = &self.fleet.0.names;
        let node: Arc<str> = format!("node-{:05}", self.index).into();
        let rack: Arc<str> = format!("rack-{:04}", self.index / NODES_PER_RACK).into();
        let driver = names.driver(self.key);
        let series = self.gpus.iter().enumerate().map(|(row, gpu)| {
            let (tenant, job) = names.labels(gpu.segment().job.as_ref());
            let model = names.model(gpu.traits.model.name);
            let uuid = uuid(gpu.traits.key);
            Series {
                identity: vec![names.cluster.clone(), node.clone(), names.gpus[row].clone()],
                attributes: vec![uuid, model, driver.clone(), rack.clone(), tenant, job],
            }
        });
        names.layout(series.collect())
    }
}

fn uuid(key: u64) -> Arc<str> {
    let (high, low) = (derive(key, 1), derive(key, 2));
    format!(
        "GPU-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xFFFF,
        high & 0xFFFF,
        low >> 48,
        low & 0xFFFF_FFFF_FFFF
    )
    .into()
}
