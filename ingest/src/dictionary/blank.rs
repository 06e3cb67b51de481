//! DCGM's blank values: numbers by which it says that there is no value.

use warpline_storage::model::{FieldType, Value};

/// For each width: no value, not found, not supported, not permitted.
const BLANK_32: std::ops::RangeInclusive<i64> = 0x7fff_fff0..=0x7fff_fff3;
const BLANK_64: std::ops::RangeInclusive<i64> = 0x7fff_ffff_ffff_fff0..=0x7fff_ffff_ffff_fff3;
const BLANK_F64: std::ops::RangeInclusive<f64> = 140_737_488_355_328.0..=140_737_488_355_331.0;
/// The 64-bit blanks as a double prints them: all of them round to 2^63.
const BLANK_64_AS_F64: f64 = 9_223_372_036_854_775_808.0;

/// Whether a value means "none" for a field of this type. A NaN does for every type.
///
/// A blank of another width may be a true value (a counter of bytes passes through the 32-bit
/// ones), so it counts only where the type could not hold it or has that width.
pub fn is_blank(value: Value, field_type: FieldType) -> bool {
    match value {
        Value::Int(v) if BLANK_64.contains(&v) => true,
        Value::Int(v) => match field_type {
            FieldType::Int64 => false,
            FieldType::Int8 | FieldType::Int16 | FieldType::Int32 => BLANK_32.contains(&v),
            FieldType::Decimal { .. } | FieldType::Float64 => {
                BLANK_32.contains(&v) || BLANK_F64.contains(&(v as f64))
            }
        },
        Value::Float(v) if v.is_nan() || v == BLANK_64_AS_F64 => true,
        Value::Float(v) => match field_type {
            FieldType::Int64 => false,
            FieldType::Int8 | FieldType::Int16 | FieldType::Int32 => {
                v.fract() == 0.0 && BLANK_32.contains(&(v as i64))
            }
            FieldType::Decimal { .. } | FieldType::Float64 => BLANK_F64.contains(&v),
        },
    }
}
