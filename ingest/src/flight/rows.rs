//! What the rows of a batch are about: their times, and their series.

use super::plan::{Plan, Tag};
use super::text::{Text, as_text};
use super::{Batch, FlightError, malformed};
use crate::naming::{Attributes, MORE_TAGS};
use crate::register::{MAX_KEY_BYTES, too_long};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use warpline_storage::model::{MAX_TAG_BYTES, Timestamp};

/// The time of each row. One that does not fit is one that no row may have.
pub(super) fn times(array: &ArrayRef, unit: TimeUnit) -> Vec<Option<Timestamp>> {
    let times = |raw: &[i64], micros: fn(i64) -> Timestamp| {
        let time = |(row, raw): (usize, &i64)| array.is_valid(row).then(|| micros(*raw));
        raw.iter().enumerate().map(time).collect()
    };
    match unit {
        TimeUnit::Second => {
            let raw = array.as_primitive::<TimestampSecondType>().values();
            times(raw, |time| time.saturating_mul(1_000_000))
        }
        TimeUnit::Millisecond => {
            let raw = array.as_primitive::<TimestampMillisecondType>().values();
            times(raw, |time| time.saturating_mul(1_000))
        }
        TimeUnit::Microsecond => {
            times(array.as_primitive::<TimestampMicrosecondType>().values(), |time| time)
        }
        TimeUnit::Nanosecond => {
            let raw = array.as_primitive::<TimestampNanosecondType>().values();
            times(raw, |time| time.div_euclid(1_000))
        }
    }
}

/// Identity and attributes of a series.
pub(super) type Series = (Vec<Arc<str>>, Attributes);

/// The tags of a batch's rows.
#[derive(Debug)]
pub(super) struct Tags<'a> {
    identity: &'a [Arc<str>],
    columns: Vec<(&'a Tag, Text<'a>)>,
}

/// The arrays that [`Tags::of`] looks at.
pub(super) fn tag_arrays(plan: &Plan, batch: &Batch) -> Result<Vec<ArrayRef>, FlightError> {
    plan.tags.iter().map(|(at, _)| as_text(batch.array(*at)?)).collect()
}

impl<'a> Tags<'a> {
    pub(super) fn of(plan: &'a Plan, arrays: &'a [ArrayRef]) -> Result<Self, FlightError> {
        let column = |((_, tag), array): (&'a (usize, Tag), &'a ArrayRef)| {
            let text = Text::of(array).ok_or_else(|| malformed("a tag is no text"))?;
            Ok((tag, text))
        };
        let columns =
            plan.tags.iter().zip(arrays).map(column).collect::<Result<_, FlightError>>()?;
        Ok(Self { identity: &plan.identity, columns })
    }

    /// A number for each row: rows of equal numbers are of one series.
    pub(super) fn codes(&self, rows: usize) -> Vec<u32> {
        let mut codes = vec![0; rows];
        for (_, text) in &self.columns {
            text.refine(&mut codes);
        }
        codes
    }

    /// The series of a row, or why there can be none.
    pub(super) fn series(&self, row: usize) -> Result<Series, String> {
        let mut identity: Vec<Arc<str>> = vec!["".into(); self.identity.len()];
        let mut attributes = Attributes::new();
        let mut more = BTreeMap::new();
        for (tag, text) in &self.columns {
            let Some(text) = text.get(row).filter(|text| !text.is_empty()) else { continue };
            match tag {
                Tag::Identity(place) => {
                    check(&self.identity[*place], text)?;
                    identity[*place] = text.into();
                }
                Tag::Attribute(name) => {
                    check(name, text)?;
                    attributes.push((name.clone(), text.into()));
                }
                Tag::More(name) => {
                    check(name, text)?;
                    more.insert(&**name, text);
                }
            }
        }
        let place = self.identity.iter().position(|tag| **tag == *MORE_TAGS);
        if let (Some(place), false) = (place, more.is_empty()) {
            let json = serde_json::to_string(&more).map_err(|error| error.to_string())?;
            check(MORE_TAGS, &json)?;
            identity[place] = json.into();
        }
        let named = attributes.iter().map(|(name, value)| name.len() + value.len());
        let bytes = identity.iter().map(|value| value.len()).chain(named).sum();
        if bytes > MAX_KEY_BYTES {
            return Err(too_long(bytes));
        }
        Ok((identity, attributes))
    }
}

fn check(tag: &str, text: &str) -> Result<(), String> {
    if text.len() <= MAX_TAG_BYTES {
        return Ok(());
    }
    let bytes = text.len();
    Err(format!("the tag {tag:?} has {bytes} bytes; the limit is {MAX_TAG_BYTES}"))
}
