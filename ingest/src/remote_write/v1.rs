//! `prometheus.WriteRequest`: each series with its labels spelt out.
//!
//! ```text
//! WriteRequest    1 TimeSeries*   3 MetricMetadata*
//! TimeSeries      1 Label*   2 Sample*   3 Exemplar*   4 Histogram*
//! Sample          1 double value   2 int64 timestamp (ms)
//! MetricMetadata  1 type   2 metric_family_name   4 help   5 unit
//! ```

use super::key::{LABEL, SeriesKey};
use super::{Sink, kind_of};
use crate::protobuf::{Data, Fields, Malformed};

const SERIES: &str = "TimeSeries";

pub(super) fn read(message: &[u8], sink: &mut impl Sink) -> Result<(), Malformed> {
    let mut scattered = SeriesKey::default();
    let mut fields = Fields::new(message);
    while let Some((field, data)) = fields.next()? {
        match field {
            1 => series(data.bytes("WriteRequest", 1)?, &mut scattered, sink)?,
            3 => metadata(data.bytes("WriteRequest", 3)?, sink)?,
            _ => {}
        }
    }
    Ok(())
}

fn series(
    message: &[u8],
    scattered: &mut SeriesKey,
    sink: &mut impl Sink,
) -> Result<(), Malformed> {
    let mut fields = Fields::new(message);
    let labels = fields.run(LABEL)?;
    if has_label(fields)? {
        scattered.clear();
        collect_labels(message, scattered)?;
        sink.series(scattered.as_bytes());
    } else {
        sink.series(labels);
    }
    while let Some((field, data)) = fields.next()? {
        match field {
            2 => {
                let (millis, value) = sample(data.bytes(SERIES, 2)?)?;
                sink.sample(millis, value);
            }
            3 => sink.exemplar(),
            4 => sink.histogram(),
            _ => {}
        }
    }
    Ok(())
}

/// Whether labels follow after something else: allowed, and done by nobody.
fn has_label(mut fields: Fields<'_>) -> Result<bool, Malformed> {
    while let Some((field, data)) = fields.next()? {
        if field == 1 {
            return data.bytes(SERIES, 1).map(|_| true);
        }
    }
    Ok(false)
}

fn collect_labels(message: &[u8], key: &mut SeriesKey) -> Result<(), Malformed> {
    let mut fields = Fields::new(message);
    while let Some((field, data)) = fields.next()? {
        if field == 1 {
            key.encoded(data.bytes(SERIES, 1)?);
        }
    }
    Ok(())
}

/// A sample of either version: milliseconds and value.
pub(super) fn sample(message: &[u8]) -> Result<(i64, f64), Malformed> {
    let (mut millis, mut bits) = (0_u64, 0_u64);
    let mut fields = Fields::new(message);
    while let Some((field, data)) = fields.next()? {
        match field {
            1 => bits = data.fixed64("Sample", 1)?,
            2 => millis = data.number("Sample", 2)?,
            _ => {}
        }
    }
    Ok((millis.cast_signed(), f64::from_bits(bits)))
}

fn metadata(message: &[u8], sink: &mut impl Sink) -> Result<(), Malformed> {
    let (mut kind, mut family, mut unit) = (0, &[][..], &[][..]);
    let mut fields = Fields::new(message);
    while let Some((field, data)) = fields.next()? {
        match (field, data) {
            (1, Data::Number(number)) => kind = number,
            (2, Data::Bytes(bytes)) => family = bytes,
            (5, Data::Bytes(bytes)) => unit = bytes,
            _ => {}
        }
    }
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Malformed::Utf8("metadata"));
    sink.metadata(text(family)?, kind_of(kind), text(unit)?);
    Ok(())
}
