//! Fields of a point: `key=1.5`, `key=2i`, `key=3u`, `key=true`, `key="text"`.

use super::Reason;
use super::scan::{key_end, part_end, string_len, unescape};
use std::borrow::Cow;

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FieldValue<'a> {
    Float(f64),
    Integer(i64),
    Unsigned(u64),
    Boolean(bool),
    /// Between the quotes, escapes as they stand.
    Text(&'a str),
}

/// Iterates over a point's fields.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: Option<&'a str>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(fields: &'a str) -> Self {
        Self { rest: Some(fields) }
    }

    fn read(&mut self, text: &'a str) -> Result<(Cow<'a, str>, FieldValue<'a>), Reason> {
        let end = key_end(text);
        let value = text.get(end + 1..).filter(|_| end > 0).ok_or(Reason::Field)?;
        let key = unescape(&text[..end]);
        let (value, rest) = if let Some(inside) = value.strip_prefix('"') {
            let len = string_len(inside.as_bytes()).ok_or(Reason::OpenString)?;
            (FieldValue::Text(&inside[..len]), &inside[len + 1..])
        } else {
            let (word, rest) = value.split_at(part_end(value, b","));
            let known = plain(word).ok_or_else(|| Reason::Value(key.clone().into_owned()))?;
            (known, rest)
        };
        self.rest = match rest.strip_prefix(',') {
            None if rest.is_empty() => None,
            None => return Err(Reason::Field),
            more => more,
        };
        Ok((key, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(Cow<'a, str>, FieldValue<'a>), Reason>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest.take()?;
        Some(self.read(text))
    }
}

/// A value without quotes.
fn plain(word: &str) -> Option<FieldValue<'static>> {
    match word {
        "t" | "T" | "true" | "True" | "TRUE" => return Some(FieldValue::Boolean(true)),
        "f" | "F" | "false" | "False" | "FALSE" => return Some(FieldValue::Boolean(false)),
        _ => {}
    }
    if let Some(digits) = word.strip_suffix('i') {
        return digits.parse().ok().map(FieldValue::Integer);
    }
    if let Some(digits) = word.strip_suffix('u') {
        return digits.parse().ok().map(FieldValue::Unsigned);
    }
    // Rust reads more than numbers: inf, nan, infinity.
    let numeric = word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && !word.contains(['n', 'N']);
    word.parse().ok().filter(|_| numeric).map(FieldValue::Float)
}
