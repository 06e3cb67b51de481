//! Table `metric`: one narrow row per series and time, for all that no wide table knows.

use crate::dictionary::is_blank;
use warpline_storage::model::{Column, FieldType, Value};

pub(crate) const METRIC_TABLE: &str = "metric";
pub(crate) const METRIC_IDENTITY: [&str; 4] = ["cluster", "node", "name", "labels"];
/// What the sender says of the series: counter, gauge, histogram, ...; and its unit.
pub(crate) const METRIC_ATTRIBUTES: [&str; 2] = ["kind", "unit"];

/// The one column.
pub(crate) fn metric_column() -> Column {
    Column { name: "value".into(), field_type: FieldType::Float64 }
}

/// Whether numbers of this name may be DCGM's blanks.
pub(crate) fn is_dcgm(name: &str) -> bool {
    name.starts_with("DCGM_")
}

/// The number to keep; `None` where it is a blank.
pub(crate) fn number_of(value: Value, dcgm: bool) -> Option<f64> {
    let (number, width) = match value {
        Value::Int(v) => (v as f64, FieldType::Int64),
        Value::Float(v) => (v, FieldType::Float64),
    };
    let blank = dcgm && !number.is_nan() && is_blank(value, width);
    (!blank).then_some(number)
}
