//! What a series is known by between requests: its labels, as remote write 1.0 encodes them.
//!
//! ```text
//! label*   0A len ( 0A len name  12 len value )      in the order they were sent
//! told?    7A len ( kind, unit )                     where the series brings its metadata along
//! ```

use super::kind_of;
use crate::exposition::{MAX_LABELS, MetricType};
use crate::protobuf::{Data, Fields, append_bytes, append_varint, varint_len};
use std::borrow::Cow;

pub(super) const LABEL: u8 = 0x0a;
const NAME: u8 = 0x0a;
const VALUE: u8 = 0x12;
const TOLD: u8 = 0x7a;
/// The label that is the metric's name.
const METRIC_NAME: &str = "__name__";

/// Puts keys together, one after the other in one buffer.
#[derive(Debug, Default)]
pub struct SeriesKey {
    bytes: Vec<u8>,
}

impl SeriesKey {
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    pub fn label(&mut self, name: &[u8], value: &[u8]) {
        let text = |text: &[u8]| 1 + varint_len(text.len() as u64) + text.len();
        self.bytes.push(LABEL);
        append_varint(&mut self.bytes, (text(name) + text(value)) as u64);
        append_bytes(&mut self.bytes, NAME, name);
        append_bytes(&mut self.bytes, VALUE, value);
    }

    pub fn metric(&mut self, name: &[u8]) {
        self.label(METRIC_NAME.as_bytes(), name);
    }

    /// What the series says of itself; the last part of a key.
    pub fn told(&mut self, kind: MetricType, unit: &[u8]) {
        self.bytes.push(TOLD);
        append_varint(&mut self.bytes, 1 + unit.len() as u64);
        self.bytes.push(kind as u8);
        self.bytes.extend_from_slice(unit);
    }

    /// Appends a label's message.
    pub(super) fn encoded(&mut self, label: &[u8]) {
        append_bytes(&mut self.bytes, LABEL, label);
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A key read back.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledSeries<'a> {
    pub metric: &'a str,
    /// All but the metric's name.
    pub labels: Vec<(&'a str, &'a str)>,
    pub told: Option<(MetricType, &'a str)>,
}

impl<'a> LabelledSeries<'a> {
    /// Says what is wrong with a series that cannot be taken.
    pub fn of(key: &'a [u8]) -> Result<Self, String> {
        let mut series = Self { metric: "", labels: Vec::new(), told: None };
        let mut fields = Fields::new(key);
        while let Some((field, data)) = fields.next().map_err(|error| error.to_string())? {
            let Data::Bytes(bytes) = data else { return Err("a label is no message".to_owned()) };
            match field {
                1 => series.add(bytes)?,
                _ => series.told = Some(told(bytes)?),
            }
        }
        if series.metric.is_empty() {
            let first = series.labels.first();
            let hint = first.map_or_else(String::new, |(n, v)| format!(" (it has {n}={v:?})"));
            return Err(format!("a series has no label {METRIC_NAME}{hint}"));
        }
        Ok(series)
    }

    fn add(&mut self, label: &'a [u8]) -> Result<(), String> {
        let (mut name, mut value) = ("", "");
        let mut fields = Fields::new(label);
        while let Some((field, data)) = fields.next().map_err(|error| error.to_string())? {
            match (field, data) {
                (1, Data::Bytes(bytes)) => name = text(bytes)?,
                (2, Data::Bytes(bytes)) => value = text(bytes)?,
                (1 | 2, _) => return Err("a label is no text".to_owned()),
                _ => {}
            }
        }
        match name {
            "" => Err(format!("a label has no name (its value is {value:?})")),
            METRIC_NAME if self.metric.is_empty() => {
                self.metric = value;
                Ok(())
            }
            METRIC_NAME => Err(format!("a series is named twice: {:?}, {value:?}", self.metric)),
            _ if self.labels.len() == MAX_LABELS => {
                Err(format!("a series has more than {MAX_LABELS} labels"))
            }
            _ => {
                self.labels.push((name, value));
                Ok(())
            }
        }
    }

    /// The labels as naming takes them.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        self.labels.iter().map(|(name, value)| (Cow::Borrowed(*name), Cow::Borrowed(*value)))
    }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes)
        .map_err(|_| format!("a label is not UTF-8: {:?}", String::from_utf8_lossy(bytes)))
}

fn told(bytes: &[u8]) -> Result<(MetricType, &str), String> {
    let (kind, unit) = bytes.split_first().ok_or("a series' metadata is empty")?;
    let known = (0..=7).map(kind_of).find(|known| *known as u8 == *kind);
    Ok((known.unwrap_or(MetricType::Unknown), text(unit)?))
}
