//! `io.prometheus.write.v2.Request`: labels are references into the request's symbols.
//!
//! ```text
//! Request      4 symbols*   5 TimeSeries*
//! TimeSeries   1 labels_refs (uint32, packed)   2 Sample*   3 Histogram*   4 Exemplar*
//!              5 Metadata   6 created_timestamp
//! Metadata     1 type   3 help_ref   4 unit_ref
//! ```
//! A series with a reference to no symbol is told and left out; the ones beside it are read. A
//! reference is a byte and a symbol may be long, so what references write out is bounded.

use super::key::SeriesKey;
use super::v1::sample;
use super::{MAX_EXPANDED_BYTES, MAX_SYMBOLS, Malformed, Sink, kind_of};
use crate::exposition::{MAX_LABELS, MetricType};
use crate::protobuf::{self, Data, Fields};
use crate::register::{MAX_KEY_BYTES, too_long};

const REQUEST: &str = "Request";
const SERIES: &str = "TimeSeries";
/// References of a series' labels and its name.
const MAX_REFS: usize = 2 * (MAX_LABELS + 1);

pub(super) fn read(message: &[u8], sink: &mut impl Sink) -> Result<(), Malformed> {
    let symbols = symbols(message)?;
    let (mut key, mut refs) = (SeriesKey::default(), Vec::new());
    let mut expanded = 0;
    let mut fields = Fields::new(message);
    while let Some((field, data)) = fields.next()? {
        if field == 5 {
            let message = data.bytes(REQUEST, 5)?;
            series(message, &symbols, &mut key, &mut refs, sink)?;
            expanded += key.as_bytes().len();
            if expanded > MAX_EXPANDED_BYTES {
                return Err(Malformed::Expanded);
            }
        }
    }
    Ok(())
}

fn symbols(message: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
    let mut symbols = Vec::new();
    let mut fields = Fields::new(message);
    while let Some((field, data)) = fields.next()? {
        if field == 4 {
            if symbols.len() == MAX_SYMBOLS {
                return Err(Malformed::ManySymbols);
            }
            symbols.push(data.bytes(REQUEST, 4)?);
        }
    }
    match symbols.first() {
        Some(first) if !first.is_empty() => {
            let begins = &first[..first.len().min(80)];
            Err(Malformed::FirstSymbol(String::from_utf8_lossy(begins).into_owned()))
        }
        _ => Ok(symbols),
    }
}

fn series(
    message: &[u8],
    symbols: &[&[u8]],
    key: &mut SeriesKey,
    refs: &mut Vec<u32>,
    sink: &mut impl Sink,
) -> Result<(), Malformed> {
    key.clear();
    refs.clear();
    let told = head(message, refs)?;
    match make_key(refs, told, symbols, key) {
        Ok(()) => sink.series(key.as_bytes()),
        Err(reason) => {
            sink.bad_series(&reason, count_samples(message)?);
            return Ok(());
        }
    }
    let mut fields = Fields::new(message);
    while let Some((field, data)) = fields.next()? {
        match field {
            2 => {
                let (millis, value) = sample(data.bytes(SERIES, 2)?)?;
                sink.sample(millis, value);
            }
            3 => sink.histogram(),
            4 => sink.exemplar(),
            _ => {}
        }
    }
    Ok(())
}

/// The references of a series' labels, one more than allowed at most, and its metadata: kind and
/// reference of its unit.
fn head(message: &[u8], refs: &mut Vec<u32>) -> Result<(u64, u64), Malformed> {
    let mut told = (0, 0);
    let mut push = |number: u64| {
        if refs.len() <= MAX_REFS {
            refs.push(reference(number));
        }
    };
    let mut fields = Fields::new(message);
    while let Some((field, data)) = fields.next()? {
        match (field, data) {
            (1, Data::Bytes(packed)) => {
                let mut numbers = Fields::new(packed);
                while !numbers.rest().is_empty() {
                    push(numbers.varint()?);
                }
            }
            (1, Data::Number(number)) => push(number),
            (5, data) => told = metadata(data.bytes(SERIES, 5)?)?,
            _ => {}
        }
    }
    Ok(told)
}

/// One that does not fit refers to nothing.
fn reference(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn metadata(message: &[u8]) -> Result<(u64, u64), protobuf::Malformed> {
    let (mut kind, mut unit) = (0, 0);
    let mut fields = Fields::new(message);
    while let Some((field, data)) = fields.next()? {
        match (field, data) {
            (1, Data::Number(number)) => kind = number,
            (4, Data::Number(number)) => unit = number,
            _ => {}
        }
    }
    Ok((kind, unit))
}

fn make_key(
    refs: &[u32],
    (kind, unit): (u64, u64),
    symbols: &[&[u8]],
    key: &mut SeriesKey,
) -> Result<(), String> {
    let symbol = |at: u32| {
        symbols.get(at as usize).copied().ok_or_else(|| {
            format!("a series refers to symbol {at} of a request that has {}", symbols.len())
        })
    };
    if refs.len() > MAX_REFS {
        return Err(format!("a series has more than {MAX_LABELS} labels"));
    }
    let (pairs, []) = refs.as_chunks::<2>() else {
        return Err(format!("a series has {} references where names and values pair", refs.len()));
    };
    let unit_text = if unit == 0 { &[][..] } else { symbol(reference(unit))? };
    let mut bytes = unit_text.len();
    for at in refs {
        bytes += symbol(*at)?.len();
    }
    if bytes > MAX_KEY_BYTES {
        return Err(too_long(bytes));
    }
    for [name, value] in pairs {
        key.label(symbol(*name)?, symbol(*value)?);
    }
    if (kind, unit) != (0, 0) {
        let kind: MetricType = kind_of(kind);
        key.told(kind, unit_text);
    }
    Ok(())
}

fn count_samples(message: &[u8]) -> Result<u64, Malformed> {
    let mut count = 0;
    let mut fields = Fields::new(message);
    while let Some((field, _)) = fields.next()? {
        count += u64::from(field == 2);
    }
    Ok(count)
}
