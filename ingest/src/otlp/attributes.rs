//! Attributes of resources and data points as labels.
//!
//! Where they say what Prometheus has labels for, they get their names: `service.name` is `job`,
//! `service.instance.id` is `instance`, `host.name` is `hostname`, `k8s.cluster.name` is `cluster`.

use super::text;
use crate::exposition::MAX_LABELS;
use crate::protobuf::{Data, Fields, Malformed};
use crate::register::{MAX_KEY_BYTES, too_long};
use crate::remote_write::SeriesKey;
use serde_json::{Map, Value as Json};
use std::borrow::Cow;

/// How deep lists and maps may lie in each other.
const MAX_DEPTH: usize = 8;
const RENAMED: [(&str, &str); 4] = [
    ("service.name", "job"),
    ("service.instance.id", "instance"),
    ("host.name", "hostname"),
    ("k8s.cluster.name", "cluster"),
];

/// Labels by name, each once. Where they are more, or longer, than any series may have, the rest
/// of them is passed over and the series is refused.
#[derive(Debug, Default)]
pub(super) struct Labels<'a> {
    all: Vec<(&'a str, Cow<'a, str>)>,
    /// Of all names and values.
    bytes: usize,
    too_many: bool,
}

impl<'a> Labels<'a> {
    /// A later value of a label takes an earlier one's place.
    pub(super) fn set(&mut self, name: &'a str, value: Cow<'a, str>) {
        if let Some((_, known)) = self.all.iter_mut().find(|(known, _)| *known == name) {
            self.bytes = self.bytes - known.len() + value.len();
            *known = value;
        } else if self.all.len() == MAX_LABELS {
            self.too_many = true;
        } else {
            self.bytes += name.len() + value.len();
            self.all.push((name, value));
        }
    }

    /// Why no series may have these labels together, and so many bytes beside them.
    pub(super) fn excess(of: [&Self; 3], others: usize) -> Option<String> {
        if of.iter().any(|labels| labels.too_many) {
            return Some(format!("a series has more than {MAX_LABELS} labels"));
        }
        let bytes = others + of.iter().map(|labels| labels.bytes).sum::<usize>();
        (bytes > MAX_KEY_BYTES).then(|| too_long(bytes))
    }

    /// The attributes of a `Resource`.
    pub(super) fn add_resource(&mut self, message: &'a [u8]) -> Result<(), Malformed> {
        let mut fields = Fields::new(message);
        while let Some((field, data)) = fields.next()? {
            if field == 1 {
                self.add(data.bytes("Resource", 1)?)?;
            }
        }
        for (attribute, label) in RENAMED {
            let taken = self.all.iter().any(|(name, _)| *name == label);
            let known = self.all.iter_mut().find(|(name, _)| *name == attribute);
            if let Some(known) = known.filter(|_| !taken) {
                known.0 = label;
            }
        }
        Ok(())
    }

    /// A `KeyValue`.
    pub(super) fn add(&mut self, message: &'a [u8]) -> Result<(), Malformed> {
        let (name, value) = key_value(message)?;
        match value {
            None => self.set(name, Cow::Borrowed("")),
            // What is so long is not made a text of: lists of nothing take much memory.
            Some(value) if value.len() > MAX_KEY_BYTES => self.bytes += value.len(),
            Some(value) => self.set(name, in_words(value)?),
        }
        Ok(())
    }

    /// Appends the labels, but for those that labels which go before them have too.
    pub(super) fn append_to(&self, key: &mut SeriesKey, before: &[&Labels<'_>]) {
        for (name, value) in &self.all {
            let hidden = before.iter().any(|other| other.all.iter().any(|(own, _)| own == name));
            if !hidden && !value.is_empty() {
                key.label(name.as_bytes(), value.as_bytes());
            }
        }
    }
}

fn key_value(message: &[u8]) -> Result<(&str, Option<&[u8]>), Malformed> {
    let (mut name, mut value) = ("", None);
    let mut fields = Fields::new(message);
    while let Some((field, data)) = fields.next()? {
        match field {
            1 => name = text(data, "KeyValue", 1)?,
            2 => value = Some(data.bytes("KeyValue", 2)?),
            _ => {}
        }
    }
    Ok((name, value))
}

/// An `AnyValue` as a label's value: lists and maps as JSON.
fn in_words(message: &[u8]) -> Result<Cow<'_, str>, Malformed> {
    let mut fields = Fields::new(message);
    let mut last = None;
    while let Some(found) = fields.next()? {
        last = Some(found);
    }
    Ok(match last {
        None => Cow::Borrowed(""),
        Some((1, data)) => Cow::Borrowed(text(data, "AnyValue", 1)?),
        Some((field, data)) => match json(field, data, MAX_DEPTH)? {
            Json::Null => Cow::Borrowed(""),
            Json::String(text) => Cow::Owned(text),
            other => Cow::Owned(other.to_string()),
        },
    })
}

fn json(field: u64, data: Data<'_>, depth: usize) -> Result<Json, Malformed> {
    Ok(match (field, data) {
        (1, data) => Json::from(text(data, "AnyValue", 1)?),
        (2, Data::Number(number)) => Json::from(number != 0),
        (3, Data::Number(number)) => Json::from(number.cast_signed()),
        (4, Data::Fixed64(bits)) => Json::from(f64::from_bits(bits)),
        (5, Data::Bytes(list)) => list_of(list, depth)?,
        (6, Data::Bytes(map)) => map_of(map, depth)?,
        (7, Data::Bytes(bytes)) => {
            let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('?');
            let digits = bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]);
            Json::from(digits.collect::<String>())
        }
        _ => Json::Null,
    })
}

fn nested(message: &[u8], depth: usize) -> Result<Json, Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed::Deep(MAX_DEPTH))?;
    let mut fields = Fields::new(message);
    let mut value = Json::Null;
    while let Some((field, data)) = fields.next()? {
        value = json(field, data, depth)?;
    }
    Ok(value)
}

fn list_of(message: &[u8], depth: usize) -> Result<Json, Malformed> {
    let mut all = Vec::new();
    let mut fields = Fields::new(message);
    while let Some((field, data)) = fields.next()? {
        if field == 1 {
            all.push(nested(data.bytes("ArrayValue", 1)?, depth)?);
        }
    }
    Ok(Json::Array(all))
}

fn map_of(message: &[u8], depth: usize) -> Result<Json, Malformed> {
    let mut all = Map::new();
    let mut fields = Fields::new(message);
    while let Some((field, data)) = fields.next()? {
        if field == 1 {
            let (name, value) = key_value(data.bytes("KeyValueList", 1)?)?;
            let value = value.map_or(Ok(Json::Null), |value| nested(value, depth))?;
            all.insert(name.to_owned(), value);
        }
    }
    Ok(Json::Object(all))
}
