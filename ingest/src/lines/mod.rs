//! Points of the line protocol become rows: a measurement is a table, its tags say which thing a
//! row is about, its fields are columns.
//!
//! ```text
//! table       the measurement; made with the tags that its points in the first request have
//! identity    those tags, sorted, and `more_tags`: JSON of tags that come later
//! columns     float -> float64, 1i and 1u -> int64, booleans -> int8 (1, 0); strings are refused
//! ```
//! A series is known by its text, as [`crate::register`] knows one by its labels, and forgotten by
//! the same rule.

mod table;
#[cfg(test)]
mod tests;

use crate::forgetting::{Forgetting, too_many, weight};
use crate::line_protocol::{FieldValue, Point, Points};
use crate::naming::cleaned;
use crate::refused::{Reason, Refused};
use crate::register::{MAX_KEY_BYTES, too_long};
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::ops::RangeInclusive;
use std::sync::Arc;
use table::LineTable;
use warpline_storage::model::{Block, FieldType, Timestamp, Value};
use warpline_storage::{Storage, StorageError};

/// Microseconds in a unit of a request's timestamps, or units in a microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    Nanoseconds,
    /// So many microseconds each.
    Micros(i64),
}

impl Precision {
    /// By the word in a request; nanoseconds without one.
    pub(crate) fn named(word: &str) -> Option<Self> {
        match word {
            "" | "n" | "ns" => Some(Self::Nanoseconds),
            "u" | "us" | "\u{b5}" => Some(Self::Micros(1)),
            "ms" => Some(Self::Micros(1_000)),
            "s" => Some(Self::Micros(1_000_000)),
            "m" => Some(Self::Micros(60_000_000)),
            "h" => Some(Self::Micros(3_600_000_000)),
            _ => None,
        }
    }

    /// A time that does not fit is one that no row may have.
    fn micros(self, time: i64) -> Timestamp {
        match self {
            Self::Nanoseconds => time.div_euclid(1_000),
            Self::Micros(each) => time.saturating_mul(each),
        }
    }
}

/// What became of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineTally {
    pub(crate) points: u64,
    /// Points of which nothing was taken, but for what their table's columns refuse.
    pub(crate) dropped: u64,
    pub(crate) fields: u64,
    pub(crate) refused: Refused,
}

/// A series and where it goes.
#[derive(Debug)]
struct Known {
    key: Box<str>,
    table: u32,
    thing: u32,
    seen: u32,
}

/// All tables that were written to by lines.
#[derive(Debug)]
pub(crate) struct LineRegister {
    forgetting: Forgetting,
    known: HashTable<Known>,
    key_bytes: usize,
    hasher: DefaultHashBuilder,
    tables: Vec<LineTable>,
    by_name: HashMap<Arc<str>, u32>,
}

/// Measurements that are known at a time; past them all are forgotten within a minute.
const MAX_TABLES: usize = 4_096;

/// How one request's times are read.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    pub(crate) precision: Precision,
    /// Of points that bring none.
    pub(crate) now: Timestamp,
    pub(crate) accepted: RangeInclusive<Timestamp>,
}

impl LineRegister {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            forgetting: Forgetting::new(limit),
            known: HashTable::new(),
            key_bytes: 0,
            hasher: DefaultHashBuilder::default(),
            tables: Vec::new(),
            by_name: HashMap::new(),
        }
    }

    /// Series that are known.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Maps a request's points. After an error nothing of them is left.
    pub(crate) fn map(
        &mut self,
        text: &[u8],
        minute: u32,
        times: &Times,
        storage: &Storage,
    ) -> Result<(Vec<Block>, LineTally), StorageError> {
        self.begin(minute);
        let mut tally = LineTally::default();
        for point in Points::new(text) {
            tally.points += 1;
            let taken = match point {
                Ok(point) => self.point(&point, text, times, storage, &mut tally),
                Err(malformed) => {
                    tally.refused.add(Reason::Malformed, 1, || malformed.to_string());
                    false
                }
            };
            tally.dropped += u64::from(!taken);
        }
        let mut blocks = Vec::new();
        let mut outcome = Ok(());
        for table in &mut self.tables {
            match table.finish(storage, &mut tally.refused) {
                Ok(own) => blocks.extend(own),
                Err(error) => outcome = Err(error),
            }
        }
        outcome.map(|()| (blocks, tally))
    }

    fn begin(&mut self, minute: u32) {
        let crowded = self.tables.len() >= MAX_TABLES && minute != self.forgetting.minute();
        let known = &self.known;
        let sent_since = |since| known.iter().filter(|known| known.seen >= since).count();
        let weight = weight(known.len(), self.key_bytes);
        if self.forgetting.turn(minute, weight, sent_since) || crowded {
            self.known = HashTable::new();
            self.key_bytes = 0;
            self.tables = Vec::new();
            self.by_name = HashMap::new();
        }
    }

    /// Makes the tables that points name and nobody knows, with all the tags that they have.
    fn make_tables<'a>(&mut self, points: impl Iterator<Item = Point<'a>>, storage: &Storage) {
        let mut new: HashMap<Arc<str>, BTreeSet<Arc<str>>> = HashMap::new();
        for point in points {
            let room = self.tables.len() + new.len() < MAX_TABLES;
            if !room || point.series.len() > MAX_KEY_BYTES || self.find(point.series).is_some() {
                continue;
            }
            let name: Arc<str> = cleaned(&point.measurement()).into();
            if !self.by_name.contains_key(&name) {
                let tags = new.entry(name).or_default();
                tags.extend(point.tags().map(|(key, _)| Arc::from(cleaned(&key))));
            }
        }
        let snapshot = storage.snapshot();
        for (name, tags) in new {
            let stored = snapshot.table(&name).map(|table| table.schema.identity.clone());
            self.by_name.insert(name.clone(), self.tables.len() as u32);
            self.tables.push(LineTable::new(name, tags, stored));
        }
    }

    fn find(&mut self, series: &str) -> Option<(u32, u32)> {
        let hash = self.hasher.hash_one(series);
        let known = self.known.find_mut(hash, |known| *known.key == *series)?;
        known.seen = self.forgetting.minute();
        Some((known.table, known.thing))
    }

    /// Whether anything of a point was taken.
    fn point(
        &mut self,
        point: &Point<'_>,
        text: &[u8],
        times: &Times,
        storage: &Storage,
        tally: &mut LineTally,
    ) -> bool {
        let refused = &mut tally.refused;
        let line = point.line;
        let time = point.time.map_or(times.now, |time| times.precision.micros(time));
        if !times.accepted.contains(&time) {
            refused.add(Reason::Time, 1, || format!("line {line}: {}", storage.why_refused(time)));
            return false;
        }
        let (table, thing) =
            match self.find(point.series).map_or_else(|| self.place(point, text, storage), Ok) {
                Ok(place) => place,
                Err(why) => {
                    refused.add(Reason::Series, 1, || format!("line {line}: {why}"));
                    return false;
                }
            };
        let table = &mut self.tables[table as usize];
        let mut taken = false;
        for (key, value) in point.fields().flatten() {
            tally.fields += 1;
            let field = typed(value).and_then(|(value, of)| Ok((table.column(&key, of)?, value)));
            match field {
                Ok((column, value)) => {
                    table.add(thing, column, time, value);
                    taken = true;
                }
                Err((reason, why)) => {
                    refused.add(reason, 1, || format!("line {line}: field {key:?}: {why}"));
                }
            }
        }
        taken
    }

    /// Gives a series a place that it has not had. `text` has all points of its request.
    fn place(
        &mut self,
        point: &Point<'_>,
        text: &[u8],
        storage: &Storage,
    ) -> Result<(u32, u32), String> {
        let limit = self.forgetting.limit();
        if weight(self.known.len(), self.key_bytes + point.series.len()) >= limit {
            return Err(too_many(limit, "of lines"));
        }
        if point.series.len() > MAX_KEY_BYTES {
            return Err(too_long(point.series.len()));
        }
        let name = cleaned(&point.measurement());
        if !self.by_name.contains_key(&*name) && self.tables.len() < MAX_TABLES {
            // Read once more: kept, points of a few bytes would take many times their text.
            self.make_tables(Points::new(text).flatten(), storage);
        }
        let table = *self.by_name.get(&*name).ok_or_else(|| {
            format!("{MAX_TABLES} measurements are known, which is the limit: use fewer names")
        })?;
        let thing = self.tables[table as usize].thing(point.tags())?;
        let hash = self.hasher.hash_one(point.series);
        let known =
            Known { key: point.series.into(), table, thing, seen: self.forgetting.minute() };
        self.known.insert_unique(hash, known, |known| self.hasher.hash_one(&*known.key));
        self.key_bytes += point.series.len();
        Ok((table, thing))
    }
}

type Refusal = (Reason, String);

/// A value and the type of a column that it makes.
fn typed(value: FieldValue<'_>) -> Result<(Value, FieldType), Refusal> {
    match value {
        FieldValue::Float(v) => Ok((Value::Float(v), FieldType::Float64)),
        FieldValue::Integer(v) => Ok((Value::Int(v), FieldType::Int64)),
        FieldValue::Unsigned(v) => match i64::try_from(v) {
            Ok(v) => Ok((Value::Int(v), FieldType::Int64)),
            Err(_) => Err((Reason::Value, format!("{v} is more than an int64 holds"))),
        },
        FieldValue::Boolean(v) => Ok((Value::Int(v.into()), FieldType::Int8)),
        FieldValue::Text(_) => {
            Err((Reason::Value, "strings are not stored: send it as a tag".to_owned()))
        }
    }
}
