//! Reads metrics as exporters print them: the Prometheus text format 0.0.4 and OpenMetrics 1.0.
//!
//! The parser borrows: an entry points into the text, and a sample costs no allocation unless a
//! quoted name has escapes. A line that is not understood is an `Err` with its number and reason;
//! the lines around it are read. Any bytes may be given: nothing here panics.

mod comment;
mod sample;
mod scan;

pub use comment::MetricType;
pub use sample::{Labels, Sample};

/// A longer line is refused unread.
pub const MAX_LINE_BYTES: usize = 1 << 16;
/// A sample with more labels is refused.
pub const MAX_LABELS: usize = 128;

/// How the text is written. They differ in timestamps, exemplars and the end mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Timestamps are integer milliseconds.
    Prometheus,
    /// Timestamps are seconds; samples may carry exemplars; `# EOF` ends the text.
    OpenMetrics,
}

/// What one line says. Empty lines and plain remarks say nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<'a> {
    /// The text is as it stands, escapes included.
    Help {
        metric: &'a str,
        text: &'a str,
    },
    Type {
        metric: &'a str,
        metric_type: MetricType,
    },
    Unit {
        metric: &'a str,
        unit: &'a str,
    },
    Sample(Sample<'a>),
}

/// A line that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct Malformed {
    pub line: u64,
    pub reason: Reason,
}

/// Why a line was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("the line has {0} bytes; the limit is {MAX_LINE_BYTES}")]
    LongLine(usize),
    #[error("the line is not UTF-8")]
    NotUtf8,
    #[error("the line does not begin with a metric's name")]
    NoName,
    #[error("a label has no name, or one that needs quotes")]
    LabelName,
    #[error("a label's name is not followed by '='")]
    NoEquals,
    #[error("a label's value is not in double quotes")]
    NoQuotes,
    #[error("a quoted string does not end on this line")]
    OpenString,
    #[error("a label is not followed by ',' or '}}'")]
    NoComma,
    #[error("the sample has more than {MAX_LABELS} labels")]
    ManyLabels,
    #[error("the metric is named twice")]
    TwoNames,
    #[error("the value is not a number")]
    Value,
    #[error("the timestamp is not a number or is out of range")]
    Timestamp,
    #[error("there is more on the line than a sample")]
    Trailing,
    #[error("the exemplar is not understood")]
    Exemplar,
    #[error("the type is none that Prometheus or OpenMetrics knows")]
    UnknownType,
    #[error("the remark names no metric or says nothing of it")]
    Remark,
    #[error("there is text after # EOF")]
    AfterEof,
    #[error("the text ends without # EOF: it was cut short")]
    NoEof,
}

impl Format {
    /// By the `Content-Type` of the answer; without one, by whether the text ends with `# EOF`.
    pub fn detect(content_type: Option<&str>, text: &[u8]) -> Self {
        let open = match content_type {
            Some(content_type) => content_type.starts_with("application/openmetrics-text"),
            None => text.trim_ascii_end().ends_with(b"# EOF"),
        };
        if open { Self::OpenMetrics } else { Self::Prometheus }
    }
}

/// Iterates over the entries of a text.
#[derive(Clone, Debug)]
pub struct Parser<'a> {
    rest: &'a [u8],
    format: Format,
    line: u64,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// OpenMetrics still owes its `# EOF`.
    Owed,
    /// `# EOF` was read, or the format has none.
    Free,
    /// `# EOF` was read and text came after it: said once, nothing more is read.
    Done,
}

impl<'a> Parser<'a> {
    pub fn new(text: &'a [u8], format: Format) -> Self {
        let end = if format == Format::OpenMetrics { End::Owed } else { End::Free };
        Self { rest: text, format, line: 0, end }
    }

    fn next_line(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.line += 1;
        let end = self.rest.iter().position(|b| *b == b'\n');
        let (line, rest) = match end {
            Some(at) => (&self.rest[..at], &self.rest[at + 1..]),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn entry(&mut self, line: &'a [u8]) -> Result<Option<Entry<'a>>, Reason> {
        if line.len() > MAX_LINE_BYTES {
            return Err(Reason::LongLine(line.len()));
        }
        let line = std::str::from_utf8(line).map_err(|_| Reason::NotUtf8)?;
        let text = line.trim_start_matches(scan::SPACE);
        if text.is_empty() {
            return Ok(None);
        }
        if self.format == Format::OpenMetrics && self.end == End::Free {
            self.end = End::Done;
            return Err(Reason::AfterEof);
        }
        let Some(remark) = text.strip_prefix('#') else {
            return sample::parse(text, self.line, self.format).map(Entry::Sample).map(Some);
        };
        if self.format == Format::OpenMetrics && remark == " EOF" {
            self.end = End::Free;
            return Ok(None);
        }
        comment::parse(remark)
    }

    fn at_end(&mut self) -> Option<Result<Entry<'a>, Malformed>> {
        let owed = self.end == End::Owed;
        self.end = End::Done;
        owed.then_some(Err(Malformed { line: self.line, reason: Reason::NoEof }))
    }
}

impl<'a> Iterator for Parser<'a> {
    type Item = Result<Entry<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.end != End::Done {
            let Some(line) = self.next_line() else { return self.at_end() };
            match self.entry(line) {
                Ok(None) => {}
                Ok(Some(entry)) => return Some(Ok(entry)),
                Err(reason) => return Some(Err(Malformed { line: self.line, reason })),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
