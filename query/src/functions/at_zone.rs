//! `timezone(zone, time)`, which `AT TIME ZONE` is another way to write.
//!
//! A `timestamptz` becomes the time that clocks of the zone show, a `timestamp` the moment at which
//! they show it. As in PostgreSQL, a time that they skip is read by the offset before the gap, and
//! of two moments at which they show the same the later is taken.

use arrow::array::timezone::Tz;
use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, IntervalUnit, TimeUnit};
use arrow::error::ArrowError;
use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone};
use datafusion::common::{ScalarValue, internal_err, plan_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

const UTC: &str = "UTC";
/// Longer than any gap.
const BEFORE: TimeDelta = TimeDelta::hours(26);

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct AtZone {
    signature: Signature,
}

impl AtZone {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for AtZone {
    fn name(&self) -> &'static str {
        "timezone"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let zone = match arguments {
            [DataType::Interval(_) | DataType::Duration(_), DataType::Timestamp(..)] => {
                DataType::Interval(IntervalUnit::MonthDayNano)
            }
            [zone, DataType::Timestamp(..)] if zone.is_string() || zone.is_null() => DataType::Utf8,
            _ => {
                return plan_err!(
                    "AT TIME ZONE takes a timestamp or a timestamptz, and the name of a zone"
                );
            }
        };
        Ok(vec![zone, arguments[1].clone()])
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [_, DataType::Timestamp(unit, Some(_))] => Ok(DataType::Timestamp(*unit, None)),
            [_, DataType::Timestamp(unit, None)] => {
                Ok(DataType::Timestamp(*unit, Some(UTC.into())))
            }
            _ => internal_err!("timezone takes a zone and a time"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(zone), times] = &args.args[..] else {
            return plan_err!("AT TIME ZONE takes one zone for all rows: a literal");
        };
        let answer = args.return_field.data_type();
        let Some(zone) = zone_of(zone)? else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(answer)?));
        };
        match times {
            ColumnarValue::Scalar(time) => {
                let moved = moved(&time.to_array()?, zone, answer)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&moved, 0)?))
            }
            ColumnarValue::Array(times) => Ok(ColumnarValue::Array(moved(times, zone, answer)?)),
        }
    }
}

fn zone_of(zone: &ScalarValue) -> Result<Option<Tz>> {
    let name = match zone {
        ScalarValue::Utf8(None) | ScalarValue::IntervalMonthDayNano(None) => return Ok(None),
        ScalarValue::Utf8(Some(name)) if name.eq_ignore_ascii_case(UTC) => UTC.to_owned(),
        ScalarValue::Utf8(Some(name)) if name.starts_with(|c: char| !c.is_alphabetic()) => {
            return plan_err!(
                "time zone \"{name}\": in PostgreSQL an offset as text counts to the west: name a \
                 zone, or write INTERVAL '2 hours' for two hours to the east"
            );
        }
        ScalarValue::Utf8(Some(name)) => name.clone(),
        ScalarValue::IntervalMonthDayNano(Some(east)) if east.months == 0 && east.days == 0 => {
            let minutes = east.nanoseconds / 60_000_000_000;
            let (sign, rest) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
            format!("{sign}{:02}:{:02}", rest / 60, rest % 60)
        }
        _ => return plan_err!("an interval of a time zone has no months or days"),
    };
    let zone = name.parse().map_err(|_| {
        plan_datafusion_err!("time zone \"{name}\" not recognized: write one like Europe/Berlin")
    })?;
    Ok(Some(zone))
}

/// Times of one kind as those of the other, which is the answer's.
fn moved(times: &ArrayRef, zone: Tz, answer: &DataType) -> Result<ArrayRef> {
    let DataType::Timestamp(unit, shown) = answer else {
        return internal_err!("a time becomes a time");
    };
    let second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let values = cast(times, &DataType::Int64)?;
    let moved = values.as_primitive::<Int64Type>().try_unary::<_, Int64Type, _>(|value| {
        let time = DateTime::from_timestamp(value.div_euclid(second), 0);
        let offset = time.and_then(|time| match shown {
            None => Some(i64::from(seconds(&zone.offset_from_utc_datetime(&time.naive_utc())))),
            Some(_) => local_offset(zone, time.naive_utc()).map(|east| -i64::from(east)),
        });
        let moved = offset.and_then(|offset| value.checked_add(offset * second));
        moved.ok_or_else(|| ArrowError::ArithmeticOverflow("timestamp out of range".to_owned()))
    })?;
    let moved: Int64Array = moved;
    Ok(cast(&moved, answer)?)
}

fn seconds(offset: &impl Offset) -> i32 {
    offset.fix().local_minus_utc()
}

fn local_offset(zone: Tz, local: NaiveDateTime) -> Option<i32> {
    let known = zone.offset_from_local_datetime(&local).latest();
    let known = known.or_else(|| zone.offset_from_local_datetime(&(local - BEFORE)).latest());
    known.map(|offset| seconds(&offset))
}
