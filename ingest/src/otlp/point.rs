//! Data points become samples.
//!
//! ```text
//! Number      3 time   4 double | 6 int   7 attributes*   5 exemplars*   8 flags
//! Histogram   3 time   4 count   5 sum   6 bucket counts   7 bounds   9 attributes*
//!             8 exemplars*   10 flags
//! Summary     3 time   4 count   5 sum   6 { 1 quantile 2 value }*   7 attributes*   8 flags
//! ```

use super::attributes::Labels;
use crate::exposition::MetricType;
use crate::protobuf::{Data, Fields, Malformed};
use crate::refused::Reason;
use crate::register::{Register, STALE};
use crate::remote_write::SeriesKey;
use warpline_storage::model::{Timestamp, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Number,
    Histogram,
    Summary,
}

impl Shape {
    /// The numbers of the fields attributes, exemplars and flags.
    fn fields(self) -> (u64, u64, u64) {
        match self {
            Self::Number => (7, 5, 8),
            Self::Histogram => (9, 8, 10),
            Self::Summary => (7, 0, 8),
        }
    }
}

/// The points of one metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct Points<'a> {
    pub(super) name: &'a str,
    pub(super) unit: &'a str,
    pub(super) kind: MetricType,
    pub(super) shape: Shape,
    /// Of scope and resource; the former go before the latter.
    pub(super) labels: [&'a Labels<'a>; 2],
}

/// One point.
#[derive(Debug, Default)]
struct Point<'a> {
    labels: Labels<'a>,
    time: Timestamp,
    value: Option<Value>,
    count: u64,
    sum: Option<f64>,
    buckets: Vec<u64>,
    bounds: Vec<f64>,
    quantiles: Vec<(f64, f64)>,
    exemplars: u64,
    /// The sender has no value: the series has ended.
    ended: bool,
}

impl Points<'_> {
    /// Hands the points of a gauge, sum, histogram or summary to the register.
    pub(super) fn read(&self, data: &[u8], register: &mut Register) -> Result<(), Malformed> {
        let mut key = SeriesKey::default();
        let mut fields = Fields::new(data);
        while let Some((field, data)) = fields.next()? {
            if field != 1 {
                continue;
            }
            let point = self.point(data.bytes("data", 1)?)?;
            let exemplars = || "exemplars are not stored".to_owned();
            register.refused().add(Reason::Exemplar, point.exemplars, exemplars);
            let [scope, resource] = self.labels;
            let others = self.name.len() + self.unit.len();
            if let Some(why) = Labels::excess([&point.labels, scope, resource], others) {
                register.refuse(1, &why);
                continue;
            }
            match self.shape {
                Shape::Number => {
                    let value = point.value.unwrap_or(Value::Float(f64::from_bits(STALE)));
                    self.sample(&point, "", None, value, &mut key, register);
                }
                Shape::Histogram => self.histogram(&point, &mut key, register),
                Shape::Summary => self.summary(&point, &mut key, register),
            }
        }
        Ok(())
    }

    fn point<'m>(&self, message: &'m [u8]) -> Result<Point<'m>, Malformed> {
        let (attributes, exemplars, flags) = self.shape.fields();
        let mut point = Point::default();
        let mut fields = Fields::new(message);
        while let Some((field, data)) = fields.next()? {
            match (field, data) {
                (3, data) => point.time = micros(data.fixed64("data point", 3)?),
                (field, data) if field == attributes => {
                    point.labels.add(data.bytes("data point", field)?)?;
                }
                (field, _) if field == exemplars => point.exemplars += 1,
                (field, Data::Number(bits)) if field == flags => point.ended = bits & 1 != 0,
                (field, data) => self.value(field, data, &mut point)?,
            }
        }
        Ok(point)
    }

    fn value(&self, field: u64, data: Data<'_>, point: &mut Point<'_>) -> Result<(), Malformed> {
        match (self.shape, field, data) {
            (Shape::Number, 4, Data::Fixed64(bits)) => {
                point.value = Some(Value::Float(f64::from_bits(bits)));
            }
            (Shape::Number, 6, Data::Fixed64(bits)) => {
                point.value = Some(Value::Int(bits.cast_signed()));
            }
            (Shape::Number, ..) => {}
            (_, 4, Data::Fixed64(count)) => point.count = count,
            (_, 5, Data::Fixed64(bits)) => point.sum = Some(f64::from_bits(bits)),
            (Shape::Histogram, 6, data) => {
                point.buckets.extend(fixed64s(data)?);
            }
            (Shape::Histogram, 7, data) => {
                point.bounds.extend(fixed64s(data)?.map(f64::from_bits));
            }
            (Shape::Summary, 6, data) => {
                point.quantiles.push(quantile(data.bytes("data point", 6)?)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn histogram(&self, point: &Point<'_>, key: &mut SeriesKey, register: &mut Register) {
        let bounds = point.bounds.iter().copied().chain([f64::INFINITY]);
        let mut below = 0_u64;
        for (count, bound) in point.buckets.iter().zip(bounds) {
            below = below.saturating_add(*count);
            let le = if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() };
            self.sample(point, "_bucket", Some(("le", le)), number(below), key, register);
        }
        self.totals(point, key, register);
    }

    fn summary(&self, point: &Point<'_>, key: &mut SeriesKey, register: &mut Register) {
        for (quantile, value) in &point.quantiles {
            let label = Some(("quantile", quantile.to_string()));
            self.sample(point, "", label, Value::Float(*value), key, register);
        }
        self.totals(point, key, register);
    }

    fn totals(&self, point: &Point<'_>, key: &mut SeriesKey, register: &mut Register) {
        if let Some(sum) = point.sum {
            self.sample(point, "_sum", None, Value::Float(sum), key, register);
        }
        self.sample(point, "_count", None, number(point.count), key, register);
    }

    fn sample(
        &self,
        point: &Point<'_>,
        suffix: &str,
        label: Option<(&str, String)>,
        value: Value,
        key: &mut SeriesKey,
        register: &mut Register,
    ) {
        key.clear();
        if suffix.is_empty() {
            key.metric(self.name.as_bytes());
        } else {
            key.metric(format!("{}{suffix}", self.name).as_bytes());
        }
        if let Some((name, value)) = label {
            key.label(name.as_bytes(), value.as_bytes());
        }
        let [scope, resource] = self.labels;
        point.labels.append_to(key, &[]);
        resource.append_to(key, &[&point.labels, scope]);
        scope.append_to(key, &[&point.labels]);
        key.told(self.kind, self.unit.as_bytes());
        register.series(key.as_bytes());
        let stale = Value::Float(f64::from_bits(STALE));
        register.sample(point.time, if point.ended { stale } else { value });
    }
}

fn micros(nanos: u64) -> Timestamp {
    (nanos / 1_000).cast_signed()
}

/// A count; one beyond an integer's range as a double.
fn number(count: u64) -> Value {
    i64::try_from(count).map_or(Value::Float(count as f64), Value::Int)
}

/// Packed numbers, or a single one.
fn fixed64s(data: Data<'_>) -> Result<impl Iterator<Item = u64>, Malformed> {
    let (one, packed) = match data {
        Data::Fixed64(bits) => (Some(bits), &[][..]),
        data => (None, data.bytes("data point", 6)?),
    };
    let (numbers, []) = packed.as_chunks::<8>() else { return Err(Malformed::Truncated) };
    Ok(one.into_iter().chain(numbers.iter().map(|bytes| u64::from_le_bytes(*bytes))))
}

fn quantile(message: &[u8]) -> Result<(f64, f64), Malformed> {
    let (mut quantile, mut value) = (0.0, 0.0);
    let mut fields = Fields::new(message);
    while let Some((field, data)) = fields.next()? {
        match (field, data) {
            (1, Data::Fixed64(bits)) => quantile = f64::from_bits(bits),
            (2, Data::Fixed64(bits)) => value = f64::from_bits(bits),
            _ => {}
        }
    }
    Ok((quantile, value))
}
