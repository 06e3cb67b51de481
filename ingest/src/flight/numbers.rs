//! Numbers of a column, however they lie there, on their way to their field's type.

use crate::convert::convert;
use crate::dictionary::is_blank;
use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, UInt64Type};
use warpline_storage::model::{FieldType, Value, ValueRefusal};

/// Numbers by row.
#[derive(Debug)]
pub(super) enum Numbers {
    Whole(Int64Array),
    Unsigned(UInt64Array),
    Float(Float64Array),
    /// Integers of more digits than any field holds.
    Wide(Decimal128Array),
    /// Integers scaled by decimals.
    Scaled(FieldType, Decimal128Array),
}

/// The type of a field that is made for such numbers.
pub(super) fn field_type(data_type: &DataType) -> FieldType {
    match data_type {
        DataType::Boolean => FieldType::Int8,
        of if of.is_integer() => FieldType::Int64,
        of => scaled(of).unwrap_or(FieldType::Float64),
    }
}

/// The scaled integer that a decimal is, unless it has more digits than one may have.
fn scaled(data_type: &DataType) -> Option<FieldType> {
    match data_type {
        DataType::Decimal32(digits, decimals)
        | DataType::Decimal64(digits, decimals)
        | DataType::Decimal128(digits, decimals) => {
            FieldType::decimal((*digits).max(2), u8::try_from(*decimals).ok()?)
        }
        _ => None,
    }
}

impl Numbers {
    /// `None` where the array has none.
    pub(super) fn of(array: &ArrayRef) -> Option<Self> {
        let data_type = array.data_type();
        let to = |data_type: &DataType| cast(array, data_type).ok();
        if let Some(field_type) = scaled(data_type) {
            let wide = DataType::Decimal128(38, field_type.decimals().cast_signed());
            return Some(Self::Scaled(
                field_type,
                to(&wide)?.as_primitive::<Decimal128Type>().clone(),
            ));
        }
        match data_type {
            // Databases have unsigned counters so.
            DataType::Decimal128(_, 0) => {
                Some(Self::Wide(array.as_primitive::<Decimal128Type>().clone()))
            }
            DataType::UInt64 => Some(Self::Unsigned(array.as_primitive::<UInt64Type>().clone())),
            of if of.is_integer() || *of == DataType::Boolean => {
                Some(Self::Whole(to(&DataType::Int64)?.as_primitive::<Int64Type>().clone()))
            }
            of if of.is_numeric() => {
                Some(Self::Float(to(&DataType::Float64)?.as_primitive::<Float64Type>().clone()))
            }
            _ => None,
        }
    }

    pub(super) fn is_present(&self, row: usize) -> bool {
        match self {
            Self::Whole(array) => array.is_valid(row),
            Self::Unsigned(array) => array.is_valid(row),
            Self::Float(array) => array.is_valid(row),
            Self::Wide(array) | Self::Scaled(_, array) => array.is_valid(row),
        }
    }

    /// Whether a present number is one of DCGM's for none.
    pub(super) fn is_blank(&self, row: usize, to: FieldType) -> bool {
        match self {
            Self::Whole(array) => is_blank(Value::Int(array.value(row)), to),
            Self::Float(array) => is_blank(Value::Float(array.value(row)), to),
            Self::Unsigned(_) | Self::Wide(_) | Self::Scaled(..) => false,
        }
    }

    /// A present number as a field stores it; nothing where it is no number and the field holds
    /// only such.
    pub(super) fn store(&self, row: usize, to: FieldType) -> Result<Option<i64>, ValueRefusal> {
        let value = match self {
            Self::Whole(array) => Value::Int(array.value(row)),
            Self::Unsigned(array) => {
                let value = array.value(row);
                i64::try_from(value).map_or(Value::Float(value as f64), Value::Int)
            }
            Self::Wide(array) => {
                let value = array.value(row);
                i64::try_from(value).map_or(Value::Float(value as f64), Value::Int)
            }
            Self::Float(array) if array.value(row).is_nan() && to != FieldType::Float64 => {
                return Ok(None);
            }
            Self::Float(array) => Value::Float(array.value(row)),
            Self::Scaled(from, array) => {
                let raw = array.value(row);
                let out_of_range = |_| {
                    let value = raw as f64 / 10_f64.powi(i32::from(from.decimals()));
                    ValueRefusal::OutOfRange { value, field_type: to }
                };
                let raw = i64::try_from(raw).map_err(out_of_range)?;
                return convert(*from, raw, to).map(Some);
            }
        };
        Ok(Some(to.store(value)?.raw))
    }
}
