//! Times with a zone as PostgreSQL writes them: `2026-01-01 05:30:00.000000+05:30`. The wire
//! library's own text leaves out what an offset has beyond its hours.

use crate::zone::offset_text;
use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use chrono::{DateTime, Offset, TimeZone};
use std::sync::Arc;

/// A column of times, or of arrays of them, as text.
pub(super) fn in_zone(column: &ArrayRef, zone: Tz) -> Result<ArrayRef, ArrowError> {
    if let DataType::List(_) = column.data_type() {
        let list = column.as_list::<i32>();
        let texts = in_zone(list.values(), zone)?;
        let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
        let list = ListArray::try_new(item, list.offsets().clone(), texts, list.nulls().cloned())?;
        return Ok(Arc::new(list));
    }
    let micros = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))?;
    let micros = micros.as_primitive::<TimestampMicrosecondType>();
    let texts = micros.iter().map(|micros| micros.map(|micros| written(micros, zone)).transpose());
    Ok(Arc::new(texts.collect::<Result<StringArray, _>>()?))
}

fn written(micros: i64, zone: Tz) -> Result<String, ArrowError> {
    let moment = DateTime::from_timestamp_micros(micros)
        .ok_or_else(|| ArrowError::ArithmeticOverflow("timestamp out of range".to_owned()))?;
    let time = zone.from_utc_datetime(&moment.naive_utc());
    let offset = offset_text(time.offset().fix().local_minus_utc());
    Ok(format!("{}{offset}", time.format("%Y-%m-%d %H:%M:%S%.6f")))
}
