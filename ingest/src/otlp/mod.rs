//! OpenTelemetry metrics (OTLP 1): `ExportMetricsServiceRequest`, read in place.
//!
//! ```text
//! Request        1 ResourceMetrics*
//! ResourceMetrics 1 Resource { 1 attributes* }   2 ScopeMetrics*
//! ScopeMetrics   1 Scope { 1 name }   2 Metric*
//! Metric         1 name   3 unit   5 gauge | 7 sum | 9 histogram | 10 exponential | 11 summary
//! ```
//! A data point becomes samples of the register, as Prometheus would have them: a number is one
//! sample, a histogram its `_bucket`, `_sum` and `_count`, a summary its quantiles, `_sum` and
//! `_count`. Points of delta temporality and exponential histograms are refused.
//!
//! Nothing is copied out of the message but labels of points, one after the other. Any bytes may be
//! given: nothing here panics.

mod attributes;
mod point;
mod response;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use response::{partial_success, status};

use crate::exposition::MetricType;
use crate::protobuf::{Data, Fields, Malformed};
use crate::refused::Reason;
use crate::register::Register;
use attributes::Labels;
use point::{Points, Shape};

const DELTA: u64 = 1;

/// What became of a request's data points, refused samples apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PointTally {
    pub(crate) points: u64,
    /// Points of kinds that are not stored.
    pub(crate) unsupported: u64,
}

/// Reads a request into the register's present one. After an error a part of it is there.
pub(crate) fn read(message: &[u8], register: &mut Register) -> Result<PointTally, Malformed> {
    let mut tally = PointTally::default();
    let mut fields = Fields::new(message);
    while let Some((field, data)) = fields.next()? {
        if field == 1 {
            resource(data.bytes("Request", 1)?, register, &mut tally)?;
        }
    }
    Ok(tally)
}

fn resource(
    message: &[u8],
    register: &mut Register,
    tally: &mut PointTally,
) -> Result<(), Malformed> {
    let mut labels = Labels::default();
    if let Some(resource) = Fields::last(message, 1)? {
        labels.add_resource(resource.bytes("ResourceMetrics", 1)?)?;
    }
    let mut fields = Fields::new(message);
    while let Some((field, data)) = fields.next()? {
        if field == 2 {
            scope(data.bytes("ResourceMetrics", 2)?, &labels, register, tally)?;
        }
    }
    Ok(())
}

fn scope(
    message: &[u8],
    resource: &Labels<'_>,
    register: &mut Register,
    tally: &mut PointTally,
) -> Result<(), Malformed> {
    let mut labels = Labels::default();
    if let Some(scope) = Fields::last(message, 1)?
        && let Some(name) = Fields::last(scope.bytes("ScopeMetrics", 1)?, 1)?
    {
        labels.set("otel_scope_name", text(name, "Scope", 1)?.into());
    }
    let mut fields = Fields::new(message);
    while let Some((field, data)) = fields.next()? {
        if field == 2 {
            metric(data.bytes("ScopeMetrics", 2)?, [&labels, resource], register, tally)?;
        }
    }
    Ok(())
}

fn metric(
    message: &[u8],
    labels: [&Labels<'_>; 2],
    register: &mut Register,
    tally: &mut PointTally,
) -> Result<(), Malformed> {
    let (mut name, mut unit, mut data) = ("", "", None);
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => name = text(value, "Metric", 1)?,
            3 => unit = text(value, "Metric", 3)?,
            5 | 7 | 9 | 10 | 11 => data = Some((field, value.bytes("Metric", field)?)),
            _ => {}
        }
    }
    let Some((field, data)) = data else { return Ok(()) };
    let temporality = match Fields::last(data, 2)? {
        Some(Data::Number(number)) if field != 5 && field != 11 => number,
        _ => 0,
    };
    let points = count(data)?;
    tally.points += points;
    if field == 10 {
        tally.unsupported += points;
        register.refused().add(Reason::Histogram, points, || {
            format!("{name}: exponential histograms are not stored: use explicit buckets")
        });
        return Ok(());
    }
    if temporality == DELTA {
        tally.unsupported += points;
        register.refused().add(Reason::Delta, points, || {
            format!(
                "{name}: delta temporality is not stored: set the sender's to cumulative, or put \
                 a deltatocumulative processor before it"
            )
        });
        return Ok(());
    }
    let (shape, kind) = match field {
        7 if is_monotonic(data)? => (Shape::Number, MetricType::Counter),
        5 | 7 => (Shape::Number, MetricType::Gauge),
        9 => (Shape::Histogram, MetricType::Histogram),
        _ => (Shape::Summary, MetricType::Summary),
    };
    Points { name, unit, kind, shape, labels }.read(data, register)
}

fn is_monotonic(sum: &[u8]) -> Result<bool, Malformed> {
    Ok(Fields::last(sum, 3)?.is_some_and(|data| data != Data::Number(0)))
}

/// Data points of any shape.
fn count(data: &[u8]) -> Result<u64, Malformed> {
    let (mut fields, mut points) = (Fields::new(data), 0);
    while let Some((field, _)) = fields.next()? {
        points += u64::from(field == 1);
    }
    Ok(points)
}

fn text<'a>(data: Data<'a>, message: &'static str, field: u64) -> Result<&'a str, Malformed> {
    std::str::from_utf8(data.bytes(message, field)?).map_err(|_| Malformed::Utf8(message))
}
