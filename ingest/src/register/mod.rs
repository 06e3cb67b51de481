//! Series that senders name by labels at every sample, remembered by those labels.
//!
//! ```text
//! key (labels as bytes)  ->  Place          one comparison for a series that comes in its order,
//!                                           one hash lookup for any known one
//!     unknown: naming says the table and what the series is there; it gets numbers
//! sample at a place      ->  a cell of the request
//! finish                 ->  blocks: table gpu one row per GPU and time, metric one per sample
//! ```
//! Promises: memory is bounded as [`crate::forgetting`] says.

mod families;
mod gpu;
#[cfg(test)]
mod tests;

use crate::dictionary::{Dictionary, is_blank};
use crate::exposition::MetricType;
use crate::forgetting::{Forgetting, too_many, weight};
use crate::naming::{
    self, Found, GpuCell, METRIC_ATTRIBUTES, METRIC_IDENTITY, METRIC_TABLE, Origin, is_dcgm,
    metric_column, number_of,
};
use crate::pages::Pages;
use crate::refused::{Reason, Refused};
use crate::remote_write::LabelledSeries;
use families::Families;
use gpu::GpuRows;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;
use std::ops::RangeInclusive;
use std::sync::Arc;
use warpline_storage::model::{Block, Timestamp, Value};
use warpline_storage::{Storage, StorageError};

/// A series of longer labels is refused, and not remembered.
pub(crate) const MAX_KEY_BYTES: usize = 16 << 10;
/// The NaN by which Prometheus says that a series has ended.
pub(crate) const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Where a known series goes.
#[derive(Clone, Copy, Debug)]
enum Place {
    Gpu(GpuCell),
    Metric {
        thing: u32,
        /// Whether its numbers may be DCGM's blanks.
        dcgm: bool,
    },
    Refused,
}

#[derive(Debug)]
struct Known {
    key: Box<[u8]>,
    place: Place,
    /// The minute in which it was last sent.
    seen: u32,
    /// The state of the families by which its kind and unit were looked up.
    families: u32,
}

/// What became of one request's samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Samples read.
    pub(crate) samples: u64,
    /// Those that say that their series has ended.
    pub(crate) stale: u64,
    /// Those whose number means that there is no value.
    pub(crate) blank: u64,
    pub(crate) refused: Refused,
}

/// All series that are known, and the present request.
#[derive(Debug)]
pub(crate) struct Register {
    dictionary: Arc<Dictionary>,
    origin: Origin,
    forgetting: Forgetting,
    /// In the order in which they came.
    known: Vec<Known>,
    by_key: HashTable<u32>,
    key_bytes: usize,
    hasher: DefaultHashBuilder,
    /// The series found last: senders keep their order, so the next one is likely beside it.
    last: usize,
    families: Families,
    gpu: GpuRows,
    metric: Pages,
    // The present request.
    times: RangeInclusive<Timestamp>,
    place: Place,
    /// Why the series of the moment is refused.
    why: String,
    /// A time that rows may not have, and how many samples have such.
    outside: (Timestamp, u64),
    tally: Tally,
}

impl Register {
    pub(crate) fn new(dictionary: Arc<Dictionary>, limit: usize) -> Self {
        Self {
            dictionary,
            origin: Origin::default(),
            forgetting: Forgetting::new(limit),
            known: Vec::new(),
            by_key: HashTable::new(),
            key_bytes: 0,
            hasher: DefaultHashBuilder::default(),
            last: 0,
            families: Families::default(),
            gpu: GpuRows::default(),
            metric: metric_pages(),
            times: 0..=Timestamp::MAX,
            place: Place::Refused,
            why: String::new(),
            outside: (0, 0),
            tally: Tally::default(),
        }
    }

    /// Series that are known.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Begins a request, at a minute since the server's start, whose rows may have these times.
    pub(crate) fn begin(&mut self, minute: u32, times: RangeInclusive<Timestamp>) {
        self.times = times;
        let known = &self.known;
        let sent_since = |since| known.iter().filter(|known| known.seen >= since).count();
        if self.forgetting.turn(minute, weight(known.len(), self.key_bytes), sent_since) {
            self.known = Vec::new();
            self.by_key = HashTable::new();
            self.key_bytes = 0;
            self.last = 0;
            self.gpu = GpuRows::default();
            self.metric = metric_pages();
        }
    }

    /// What a family of metrics is said to be.
    pub(crate) fn metadata(&mut self, family: &str, kind: MetricType, unit: &str) {
        self.families.tell(family, kind, unit);
    }

    /// Turns to a series: samples are of it from now on.
    pub(crate) fn series(&mut self, key: &[u8]) {
        self.why.clear();
        match self.find(key) {
            Some(at) => self.turn_to(at, key),
            None if key.len() > MAX_KEY_BYTES => {
                self.place = Place::Refused;
                self.why = too_long(key.len());
            }
            None if self.has_room(key) => self.remember(key),
            None => {
                self.place = Place::Refused;
                self.why = too_many(self.forgetting.limit(), "by their labels");
            }
        }
        let refused = matches!(self.place, Place::Refused) && self.why.is_empty();
        if refused && self.tally.refused.wants_examples() {
            // To remember reasons would cost memory for nothing.
            self.look_up(key);
        }
    }

    fn has_room(&self, key: &[u8]) -> bool {
        weight(self.known.len(), self.key_bytes + key.len()) < self.forgetting.limit()
    }

    fn find(&mut self, key: &[u8]) -> Option<usize> {
        let next = self.last + 1;
        if self.known.get(next).is_some_and(|known| *known.key == *key) {
            self.last = next;
            return Some(next);
        }
        let hash = self.hasher.hash_one(key);
        let same = |at: &u32| *self.known[*at as usize].key == *key;
        self.last = *self.by_key.find(hash, same)? as usize;
        Some(self.last)
    }

    fn turn_to(&mut self, at: usize, key: &[u8]) {
        let families = self.families.state();
        if self.known[at].families != families {
            let place = self.look_up(key);
            let known = &mut self.known[at];
            (known.place, known.families) = (place, families);
        }
        self.known[at].seen = self.forgetting.minute();
        self.place = self.known[at].place;
    }

    fn remember(&mut self, key: &[u8]) {
        self.place = self.look_up(key);
        let (seen, families, place) = (self.forgetting.minute(), self.families.state(), self.place);
        let Self { known, hasher, .. } = self;
        let (at, hash) = (known.len() as u32, hasher.hash_one(key));
        known.push(Known { key: key.into(), place, seen, families });
        self.key_bytes += key.len();
        let hash_of = |at: &u32| hasher.hash_one(&*known[*at as usize].key);
        self.by_key.insert_unique(hash, at, hash_of);
        self.last = at as usize;
    }

    fn look_up(&mut self, key: &[u8]) -> Place {
        match self.try_look_up(key) {
            Ok(place) => place,
            Err(why) => {
                self.why = why;
                Place::Refused
            }
        }
    }

    fn try_look_up(&mut self, key: &[u8]) -> Result<Place, String> {
        let series = LabelledSeries::of(key)?;
        let found = naming::find(series.metric, series.pairs(), &self.dictionary, &self.origin)?;
        let about = match found {
            Found::Gpu(about) => return Ok(Place::Gpu(self.gpu.register(about))),
            Found::Metric(about) => about,
        };
        let [kind, unit] = match series.told {
            Some((kind, unit)) => {
                naming::check_length("the unit", unit)?;
                families::as_attributes(kind, unit)
            }
            None => self.families.about(series.metric),
        };
        let identity = vec![about.cluster, about.node, series.metric.into(), about.labels];
        let attributes = METRIC_ATTRIBUTES.into_iter().map(Into::into).zip([kind, unit]).collect();
        let thing = self.metric.thing(identity, attributes);
        Ok(Place::Metric { thing, dcgm: is_dcgm(series.metric) })
    }

    /// Samples of a series that could not even be read.
    pub(crate) fn refuse(&mut self, samples: u64, why: &str) {
        self.tally.samples += samples;
        self.tally.refused.add(Reason::Series, samples, || why.to_owned());
    }

    pub(crate) fn refused(&mut self) -> &mut Refused {
        &mut self.tally.refused
    }

    /// A sample of the present series.
    pub(crate) fn sample(&mut self, time: Timestamp, value: Value) {
        self.tally.samples += 1;
        if matches!(value, Value::Float(v) if v.to_bits() == STALE) {
            self.tally.stale += 1;
            return;
        }
        if !self.times.contains(&time) {
            self.outside.1 += 1;
            self.outside.0 = time;
            return;
        }
        match self.place {
            Place::Metric { thing, dcgm } => match number_of(value, dcgm) {
                Some(number) => self.metric.add(thing, 0, time, Some(Value::Float(number))),
                None => self.tally.blank += 1,
            },
            Place::Gpu(cell) => {
                let blank = is_blank(value, self.gpu.column(cell).field_type);
                self.tally.blank += u64::from(blank);
                if let Err(why) = self.gpu.add(cell, time, (!blank).then_some(value)) {
                    self.tally.refused.add(Reason::Series, 1, || why);
                }
            }
            Place::Refused => {
                let why = &self.why;
                self.tally.refused.add(Reason::Series, 1, || why.clone());
            }
        }
    }

    /// Leaves the present request out.
    pub(crate) fn discard(&mut self) {
        self.gpu.discard();
        self.metric.discard();
        self.end();
    }

    /// The present request's blocks, and what became of its samples.
    pub(crate) fn finish(
        &mut self,
        storage: &Storage,
    ) -> Result<(Vec<Block>, Tally), StorageError> {
        let (time, outside) = self.outside;
        let mut tally = self.end();
        let refused = &mut tally.refused;
        refused.add(Reason::Time, outside, || storage.why_refused(time));
        let blocks = self.gpu.finish(storage, refused).and_then(|mut blocks| {
            blocks.extend(self.metric.finish(storage, refused)?);
            Ok(blocks)
        });
        if blocks.is_err() {
            self.discard();
        }
        Ok((blocks?, tally))
    }

    fn end(&mut self) -> Tally {
        self.place = Place::Refused;
        self.outside = (0, 0);
        std::mem::take(&mut self.tally)
    }
}

fn metric_pages() -> Pages {
    let mut pages = Pages::new(METRIC_TABLE, METRIC_IDENTITY.map(Into::into).to_vec());
    let number = pages.columns().number(metric_column());
    debug_assert_eq!(number, 0, "the table has one column");
    pages
}

pub(crate) fn too_long(bytes: usize) -> String {
    format!("a series of {bytes} bytes of labels is longer than the limit of {MAX_KEY_BYTES}")
}
