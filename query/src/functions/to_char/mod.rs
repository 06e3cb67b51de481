//! `to_char(time, 'YYYY-MM-DD HH24:MI:SS')`: times as text by PostgreSQL's patterns.
//!
//! A pattern with a `%` is one of chrono's, which DataFusion's own `to_char` reads.

mod pattern;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDateTime, Offset, TimeZone};
use datafusion::common::cast::as_string_array;
use datafusion::common::{exec_datafusion_err, internal_err, plan_err};
use datafusion::error::Result;
use datafusion::functions::datetime::to_char;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use pattern::Pattern;
use std::sync::Arc;

const CHRONO: char = '%';
/// Bytes of a pattern.
const MAX_PATTERN: usize = 4_096;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToChar {
    signature: Signature,
}

impl ToChar {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// A time as it is written: what clocks show, how far that is from UTC in seconds, and what that
/// zone calls itself there, which is nothing without a zone.
struct Shown {
    local: NaiveDateTime,
    east: i32,
    zone: String,
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &'static str {
        "to_char"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [value, pattern] = arguments else {
            return plan_err!("to_char takes a time and a pattern");
        };
        let value = match value {
            DataType::Null => DataType::Timestamp(TimeUnit::Microsecond, None),
            time if time.is_temporal() => time.clone(),
            other => {
                return plan_err!(
                    "to_char takes a time or a date, not {other}: write numbers by round(x, 2)::text"
                );
            }
        };
        if !pattern.is_string() && !pattern.is_null() {
            return plan_err!("to_char takes a text as its pattern");
        }
        Ok(vec![value, DataType::Utf8])
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if is_chrono(&args.args[1])? {
            return to_char().invoke_with_args(args);
        }
        let [times, patterns] = &ColumnarValue::values_to_arrays(&args.args)?[..] else {
            return internal_err!("to_char takes a time and a pattern");
        };
        let texts = written(times, as_string_array(patterns)?)?;
        Ok(ColumnarValue::Array(Arc::new(texts)))
    }
}

fn is_chrono(patterns: &ColumnarValue) -> Result<bool> {
    let ColumnarValue::Array(patterns) = patterns else {
        let ColumnarValue::Scalar(pattern) = patterns else { return Ok(false) };
        return Ok(pattern.try_as_str().flatten().is_some_and(|text| text.contains(CHRONO)));
    };
    let mut kinds = as_string_array(patterns)?.iter().flatten().map(|text| text.contains(CHRONO));
    let first = kinds.next().unwrap_or_default();
    if kinds.any(|kind| kind != first) {
        return plan_err!("to_char: patterns of one statement are all with % or all without");
    }
    Ok(first)
}

fn written(times: &ArrayRef, patterns: &StringArray) -> Result<StringArray> {
    let zone = match times.data_type() {
        DataType::Timestamp(_, Some(zone)) => Some((zone.parse::<Tz>()?, &**zone)),
        DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 => None,
        other => return plan_err!("to_char writes a {other} by patterns with % alone: '%H:%M:%S'"),
    };
    let micros = cast(times, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    let micros = micros.as_primitive::<TimestampMicrosecondType>();
    let mut texts = StringBuilder::with_capacity(micros.len(), micros.len() * 20);
    let mut kept: Option<(&str, Pattern)> = None;
    for (time, text) in micros.iter().zip(patterns) {
        let Some((time, text)) = time.zip(text) else {
            texts.append_null();
            continue;
        };
        let pattern = match kept.take() {
            Some((of, pattern)) if of == text => pattern,
            _ if text.len() > MAX_PATTERN => {
                return plan_err!("to_char: a pattern has at most {MAX_PATTERN} bytes");
            }
            _ => Pattern::read(text),
        };
        texts.append_value(pattern.write(&shown(time, zone)?));
        kept = Some((text, pattern));
    }
    Ok(texts.finish())
}

/// `zone` is a time zone and its name.
fn shown(micros: i64, zone: Option<(Tz, &str)>) -> Result<Shown> {
    let time = DateTime::from_timestamp_micros(micros);
    let utc = time.ok_or_else(|| exec_datafusion_err!("timestamp out of range"))?.naive_utc();
    Ok(match zone {
        None => Shown { local: utc, east: 0, zone: String::new() },
        Some((zone, name)) => {
            let offset = zone.offset_from_utc_datetime(&utc);
            let east = offset.fix();
            let local = utc.checked_add_offset(east);
            let local = local.ok_or_else(|| exec_datafusion_err!("timestamp out of range"))?;
            let zone = if name == "UTC" { name.to_owned() } else { offset.to_string() };
            Shown { local, east: east.local_minus_utc(), zone }
        }
    })
}
