//! What a client binds, as values.
//!
//! Promises: a value is read by the type that the client says it sent, else by the one that it was
//! told; arrays are read whole, NULL among their elements too; times are moments in UTC.

use super::respond::refusal;
use super::session::Prepared;
use crate::error::{QueryError, QueryErrorKind};
use crate::parameters::fitted;
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Date32Type, Field, IntervalUnit, TimeUnit,
};
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion_postgres::arrow_pg::datatypes::into_pg_type;
use datafusion_postgres::pgwire::api::Type;
use datafusion_postgres::pgwire::api::portal::Portal;
use datafusion_postgres::pgwire::error::PgWireResult;
use datafusion_postgres::pgwire::types::FromSqlText;
use pg_interval::Interval;
use postgres_types::{FromSqlOwned, Kind};
use rust_decimal::Decimal;
use std::sync::Arc;

const UTC: &str = "UTC";
/// Digits behind the point where nothing else says how many.
const DECIMALS: u32 = 10;

/// The values of a portal, of the types that its statement takes.
pub(super) fn values(portal: &Portal<Prepared>) -> PgWireResult<ParamValues> {
    let types = &portal.statement.statement.types;
    let told = &portal.statement.parameter_types;
    let sent = types.iter().enumerate().map(|(at, wanted)| {
        let sent = told.get(at).cloned().flatten().filter(|sent| *sent != Type::UNKNOWN);
        Bound { portal, at, sent: sent.map_or_else(|| into_pg_type(wanted), Ok)? }.value()
    });
    let sent = sent.collect::<PgWireResult<Vec<_>>>()?;
    let fitted = fitted(sent, types).map_err(|error| refusal(&error.into()))?;
    Ok(ParamValues::from(fitted))
}

/// The type of values that a client says it sends.
pub(super) fn data_type(sent: &Type) -> Option<DataType> {
    if let Kind::Array(item) = sent.kind() {
        let item = Field::new_list_field(data_type(item)?, true);
        return Some(DataType::List(Arc::new(item)));
    }
    Some(match *sent {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => DataType::Utf8,
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Microsecond),
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        Type::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        Type::NUMERIC => DataType::Decimal128(DECIMAL128_MAX_PRECISION, DECIMALS as i8),
        _ => return None,
    })
}

/// A parameter in its place.
struct Bound<'a> {
    portal: &'a Portal<Prepared>,
    at: usize,
    sent: Type,
}

impl Bound<'_> {
    fn value(&self) -> PgWireResult<ScalarValue> {
        let item = match self.sent.kind() {
            Kind::Array(item) => item,
            _ => &self.sent,
        };
        match *item {
            Type::BOOL => self.read(ScalarValue::Boolean),
            Type::INT2 => self.read(ScalarValue::Int16),
            Type::INT4 => self.read(ScalarValue::Int32),
            Type::INT8 => self.read(ScalarValue::Int64),
            Type::OID => self.read(|oid: Option<u32>| ScalarValue::Int64(oid.map(i64::from))),
            Type::FLOAT4 => self.read(ScalarValue::Float32),
            Type::FLOAT8 => self.read(ScalarValue::Float64),
            Type::NUMERIC if *item == self.sent => {
                let number = self.portal.parameter::<Decimal>(self.at, item)?;
                let scale = number.map_or(0, |number| number.scale());
                Ok(decimal(number, scale))
            }
            Type::NUMERIC => self.read(|number| decimal(number, DECIMALS)),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => {
                self.read(ScalarValue::Utf8)
            }
            Type::DATE => self.read(|date: Option<NaiveDate>| {
                ScalarValue::Date32(date.map(Date32Type::from_naive_date))
            }),
            Type::TIME => self.read(|time: Option<NaiveTime>| {
                let micros = |time: NaiveTime| {
                    let seconds = i64::from(time.num_seconds_from_midnight());
                    seconds * 1_000_000 + i64::from(time.nanosecond() / 1_000)
                };
                ScalarValue::Time64Microsecond(time.map(micros))
            }),
            Type::TIMESTAMP => self.read(|time: Option<NaiveDateTime>| {
                let micros = time.map(|time| time.and_utc().timestamp_micros());
                ScalarValue::TimestampMicrosecond(micros, None)
            }),
            Type::TIMESTAMPTZ => self.read(|time: Option<DateTime<FixedOffset>>| {
                let micros = time.map(|time| time.timestamp_micros());
                ScalarValue::TimestampMicrosecond(micros, Some(UTC.into()))
            }),
            Type::INTERVAL => self.read(|interval: Option<Interval>| match interval {
                Some(Interval { months, days, microseconds }) => {
                    ScalarValue::new_interval_mdn(months, days, microseconds.saturating_mul(1_000))
                }
                None => ScalarValue::IntervalMonthDayNano(None),
            }),
            Type::BYTEA if *item == self.sent => {
                let bytes = self.portal.parameter::<Vec<u8>>(self.at, item)?;
                Ok(ScalarValue::Binary(bytes))
            }
            _ => {
                let (number, name) = (self.at + 1, self.sent.name());
                let text =
                    format!("parameters of type {name} are not taken, as ${number} is: cast it");
                Err(refusal(&QueryError::new(QueryErrorKind::InvalidSetting, text)))
            }
        }
    }

    /// One value, or an array of such.
    fn read<T>(&self, make: impl Fn(Option<T>) -> ScalarValue) -> PgWireResult<ScalarValue>
    where
        T: FromSqlOwned + for<'a> FromSqlText<'a>,
    {
        if !matches!(self.sent.kind(), Kind::Array(_)) {
            return Ok(make(self.portal.parameter(self.at, &self.sent)?));
        }
        let elements: Option<Vec<Option<T>>> = self.portal.parameter(self.at, &self.sent)?;
        let item = make(None).data_type();
        Ok(match elements {
            None => ScalarValue::new_null_list(item, true, 1),
            Some(elements) => {
                let elements: Vec<_> = elements.into_iter().map(make).collect();
                ScalarValue::List(ScalarValue::new_list_nullable(&elements, &item))
            }
        })
    }
}

fn decimal(number: Option<Decimal>, scale: u32) -> ScalarValue {
    let scaled = number.map(|mut number| {
        number.rescale(scale);
        number.mantissa()
    });
    let scale = i8::try_from(scale).unwrap_or(i8::MAX);
    ScalarValue::Decimal128(scaled, DECIMAL128_MAX_PRECISION, scale)
}
