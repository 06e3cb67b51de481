//! InfluxDB's line protocol, read in place: `measurement,tag=value field=1.5,other=2i 1700000000`.
//!
//! A point is cut off first, at the line's end outside of a string; then each of its parts is read.
//! A point that is not understood is an `Err` with the number of its first line; the ones around it
//! are read. Any bytes may be given: nothing here panics.

mod field;
mod scan;
#[cfg(test)]
mod tests;

pub use field::{FieldValue, Fields};

use scan::{key_end, part_end, text_end, unescape};
use std::borrow::Cow;

/// A longer point is refused.
pub const MAX_POINT_BYTES: usize = 1 << 20;
/// Of one point.
pub const MAX_TAGS: usize = 128;

/// One point. It has a measurement and at least one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Point<'a> {
    /// The number of its first line; 1 is the first.
    pub line: usize,
    /// Measurement and tags as they stand in the text: a key for caches.
    pub series: &'a str,
    fields: &'a str,
    /// In the request's precision.
    pub time: Option<i64>,
}

/// A point that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct Malformed {
    pub line: usize,
    pub reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("the point has {0} bytes; the limit is {MAX_POINT_BYTES}")]
    LongPoint(usize),
    #[error("the point is not UTF-8")]
    NotUtf8,
    #[error("there is no measurement")]
    NoMeasurement,
    #[error("a tag is no key=value")]
    Tag,
    #[error("the point has more than {MAX_TAGS} tags")]
    ManyTags,
    #[error("there are no fields")]
    NoFields,
    #[error("a field is no key=value")]
    Field,
    #[error("the value of field {0:?} is no number, boolean or string in double quotes")]
    Value(String),
    #[error("a string does not end")]
    OpenString,
    #[error("the timestamp is no integer")]
    Time,
}

impl<'a> Point<'a> {
    pub fn measurement(&self) -> Cow<'a, str> {
        unescape(&self.series[..part_end(self.series, b",")])
    }

    /// Keys and values as they are meant.
    pub fn tags(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        Tags { rest: &self.series[part_end(self.series, b",")..] }.filter_map(Result::ok)
    }

    pub fn fields(&self) -> Fields<'a> {
        Fields::new(self.fields)
    }
}

/// Iterates over the points of a text.
#[derive(Clone, Debug)]
pub struct Points<'a> {
    rest: &'a [u8],
    line: usize,
}

impl<'a> Points<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Self { rest: text, line: 1 }
    }

    /// Steps over so many bytes and the line's end after them.
    fn advance(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len);
        self.line += taken.split(|b| *b == b'\n').count() - usize::from(rest.is_empty());
        self.rest = rest.get(1..).unwrap_or_default();
        taken
    }

    fn first_line(&self) -> usize {
        self.rest.iter().position(|b| *b == b'\n').unwrap_or(self.rest.len())
    }
}

impl<'a> Iterator for Points<'a> {
    type Item = Result<Point<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let line = self.line;
            if self.rest[..self.first_line()].trim_ascii_start().starts_with(b"#") {
                self.advance(self.first_line());
                continue;
            }
            let Some(len) = point_len(self.rest) else {
                self.advance(self.first_line());
                return Some(Err(Malformed { line, reason: Reason::OpenString }));
            };
            let point = self.advance(len).trim_ascii();
            if !point.is_empty() {
                return Some(parse(point, line).map_err(|reason| Malformed { line, reason }));
            }
        }
        None
    }
}

/// Bytes up to the line's end outside of a string; `None` where a string does not end.
fn point_len(text: &[u8]) -> Option<usize> {
    let series = text_end(text, b" \n");
    if text.get(series) != Some(&b' ') {
        return Some(series);
    }
    let fields = series + scan::fields_end(&text[series..])?;
    let rest = text[fields..].iter().position(|b| *b == b'\n');
    Some(rest.map_or(text.len(), |at| fields + at))
}

fn parse(point: &[u8], line: usize) -> Result<Point<'_>, Reason> {
    if point.len() > MAX_POINT_BYTES {
        return Err(Reason::LongPoint(point.len()));
    }
    let point = std::str::from_utf8(point).map_err(|_| Reason::NotUtf8)?;
    let (series, rest) = point.split_at(part_end(point, b" "));
    let rest = rest.trim_start_matches(' ');
    check_series(series)?;
    let end = scan::fields_end(rest.as_bytes()).ok_or(Reason::OpenString)?;
    let (fields, time) = rest.split_at(end);
    check_fields(fields)?;
    let time = time.trim();
    let time = if time.is_empty() { None } else { Some(time.parse().map_err(|_| Reason::Time)?) };
    Ok(Point { line, series, fields, time })
}

fn check_series(series: &str) -> Result<(), Reason> {
    let measurement = part_end(series, b",");
    if measurement == 0 {
        return Err(Reason::NoMeasurement);
    }
    let mut count = 0;
    for tag in (Tags { rest: &series[measurement..] }) {
        tag?;
        count += 1;
    }
    if count > MAX_TAGS { Err(Reason::ManyTags) } else { Ok(()) }
}

fn check_fields(fields: &str) -> Result<(), Reason> {
    if fields.is_empty() {
        return Err(Reason::NoFields);
    }
    Fields::new(fields).try_for_each(|field| field.map(drop))
}

/// What follows a measurement: `,key=value,key=value`.
struct Tags<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Tags<'a> {
    type Item = Result<(Cow<'a, str>, Cow<'a, str>), Reason>;

    fn next(&mut self) -> Option<Self::Item> {
        let pair = self.rest.strip_prefix(',')?;
        let end = part_end(pair, b",");
        let (pair, rest) = pair.split_at(end);
        self.rest = rest;
        let key = key_end(pair);
        let value = pair.get(key + 1..).filter(|value| key > 0 && !value.is_empty());
        // A second '=' must be escaped.
        let value = value.filter(|value| key_end(value) == value.len());
        Some(value.ok_or(Reason::Tag).map(|value| (unescape(&pair[..key]), unescape(value))))
    }
}
