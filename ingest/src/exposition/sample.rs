//! Sample lines: `name{label="value"} number timestamp # exemplar`.

use std::borrow::Cow;

use warpline_storage::model::{Timestamp, Value};

use super::scan::{Scan, unescape};
use super::{Format, MAX_LABELS, Reason};

/// One sample. Two samples with the same `series` text are of the same series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    pub line: u64,
    /// Name and labels as they stand in the text: a key for caches.
    pub series: &'a str,
    pub metric: Cow<'a, str>,
    pub labels: Labels<'a>,
    /// An integer where the text is one and fits, else a double.
    pub value: Value,
    pub timestamp: Option<Timestamp>,
    /// Whether an exemplar followed. It was checked and left out.
    pub exemplar: bool,
}

/// The labels of a sample, found and unescaped as they are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels<'a> {
    /// Between the braces, checked.
    scan: Scan<'a>,
}

impl<'a> Iterator for Labels<'a> {
    type Item = (Cow<'a, str>, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match label(&mut self.scan) {
                Ok(Part::Label(name, value)) => return Some((unescape(name), unescape(value))),
                Ok(Part::Name(_)) => {}
                Ok(Part::End) | Err(_) => return None,
            }
        }
    }
}

/// What stands between two commas of a label list. Quoted texts keep their escapes.
enum Part<'a> {
    Label(&'a str, &'a str),
    /// The metric's own name, quoted, which may stand inside the braces.
    Name(&'a str),
    End,
}

pub(super) fn parse(text: &str, line: u64, format: Format) -> Result<Sample<'_>, Reason> {
    let mut scan = Scan::new(text);
    let outer = scan.name(true);
    let mut labels_end = scan.at();
    scan.skip_space();
    let mut labels = Scan::new("");
    let mut inner = None;
    if scan.eat(b'{') {
        labels = scan.clone();
        inner = check_labels(&mut scan)?;
        labels_end = scan.at();
    }
    let metric = match (outer, inner) {
        ("", None) => return Err(Reason::NoName),
        ("", Some(inner)) => unescape(inner),
        (outer, None) => Cow::Borrowed(outer),
        (_, Some(_)) => return Err(Reason::TwoNames),
    };
    scan.skip_space();
    let value = value(scan.word()).ok_or(Reason::Value)?;
    scan.skip_space();
    let timestamp = match scan.peek() {
        None | Some(b'#') => None,
        Some(_) => Some(timestamp(scan.word(), format).ok_or(Reason::Timestamp)?),
    };
    let exemplar = exemplar(&mut scan, format)?;
    let series = &text[..labels_end];
    Ok(Sample { line, series, metric, labels: Labels { scan: labels }, value, timestamp, exemplar })
}

/// Walks a label list through its closing brace; the answer is a metric's name found inside.
fn check_labels<'a>(scan: &mut Scan<'a>) -> Result<Option<&'a str>, Reason> {
    let mut name = None;
    let mut count = 0;
    loop {
        match label(scan)? {
            Part::End => return Ok(name),
            Part::Name(_) if name.is_some() => return Err(Reason::TwoNames),
            Part::Name(found) => name = Some(found),
            Part::Label(..) if count == MAX_LABELS => return Err(Reason::ManyLabels),
            Part::Label(..) => count += 1,
        }
    }
}

/// The next part of a label list, with the comma after it.
fn label<'a>(scan: &mut Scan<'a>) -> Result<Part<'a>, Reason> {
    scan.skip_space();
    if scan.eat(b'}') {
        return Ok(Part::End);
    }
    let quoted = scan.peek() == Some(b'"');
    let name = if quoted { scan.quoted()? } else { scan.name(false) };
    if name.is_empty() {
        return Err(Reason::LabelName);
    }
    scan.skip_space();
    let part = if scan.eat(b'=') {
        scan.skip_space();
        if scan.peek() != Some(b'"') {
            return Err(Reason::NoQuotes);
        }
        Part::Label(name, scan.quoted()?)
    } else if quoted {
        Part::Name(name)
    } else {
        return Err(Reason::NoEquals);
    };
    scan.skip_space();
    if scan.eat(b',') || scan.peek() == Some(b'}') { Ok(part) } else { Err(Reason::NoComma) }
}

fn value(word: &str) -> Option<Value> {
    match word.parse::<i64>() {
        Ok(0) if word.starts_with('-') => Some(Value::Float(-0.0)),
        Ok(integer) => Some(Value::Int(integer)),
        Err(_) => word.parse().ok().map(Value::Float),
    }
}

fn timestamp(word: &str, format: Format) -> Option<Timestamp> {
    match format {
        Format::Prometheus => word.parse::<i64>().ok()?.checked_mul(1_000),
        Format::OpenMetrics => {
            let micros = (word.parse::<f64>().ok()? * 1e6).round();
            // Below 2^63, where the conversion would saturate; NaN is not below it.
            (micros.abs() < 9.2e18).then_some(micros as Timestamp)
        }
    }
}

/// Checks what follows a sample: nothing, or an exemplar: `# {labels} value timestamp`.
fn exemplar(scan: &mut Scan<'_>, format: Format) -> Result<bool, Reason> {
    scan.skip_space();
    if scan.peek().is_none() {
        return Ok(false);
    }
    if format != Format::OpenMetrics || !scan.eat(b'#') {
        return Err(Reason::Trailing);
    }
    scan.skip_space();
    if !scan.eat(b'{') {
        return Err(Reason::Exemplar);
    }
    check_labels(scan).map_err(|_| Reason::Exemplar)?;
    scan.skip_space();
    value(scan.word()).ok_or(Reason::Exemplar)?;
    scan.skip_space();
    let stamp = scan.word();
    scan.skip_space();
    let good = stamp.is_empty() || timestamp(stamp, format).is_some();
    if good && scan.peek().is_none() { Ok(true) } else { Err(Reason::Exemplar) }
}
