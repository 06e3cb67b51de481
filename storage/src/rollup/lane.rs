//! The number types that fields are stored in, and totals that no bucket overflows.

use crate::error::StorageError;
use crate::model::FieldType;
use arrow::array::{Array, ArrayRef, RecordBatch, make_array, new_null_array};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{ArrowNativeType, DataType};
use std::fmt::Debug;
use std::ops::AddAssign;
use warpline_kernel::{Validity, Value};

/// A type of stored values.
pub(super) trait Lane: Value + ArrowNativeType {
    /// Holds the sum of any number of values.
    type Total: Copy + Debug + Default + AddAssign + Send + Sync + 'static;
    /// What a total is stored as, if it fits.
    type Narrow: Lane<Total = Self::Total>;

    fn of_sum(sum: Self::Sum) -> Self::Total;
    fn of_increase(increase: Self::Wide) -> Self::Total;
    fn total(self) -> Self::Total;
    /// From a counter's earlier value to this one: a counter that fell began again at 0.
    fn growth(self, earlier: Self) -> Self::Total;
    fn is_number(self) -> bool;
    /// The lesser and the greater as the kernel orders values.
    fn lesser(self, other: Self) -> Self;
    fn greater(self, other: Self) -> Self;
    /// A total of at most this magnitude; doubles have no bound.
    fn fit(total: Self::Total, magnitude: i64) -> Option<Self::Narrow>;
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Lane for $type {
            type Total = i128;
            type Narrow = i64;

            fn of_sum(sum: Self::Sum) -> i128 {
                sum.into()
            }

            fn of_increase(increase: Self::Wide) -> i128 {
                increase.into()
            }

            fn total(self) -> i128 {
                self.into()
            }

            fn growth(self, earlier: Self) -> i128 {
                let from = if self < earlier { 0 } else { earlier };
                i128::from(self) - i128::from(from)
            }

            fn is_number(self) -> bool {
                true
            }

            fn lesser(self, other: Self) -> Self {
                self.min(other)
            }

            fn greater(self, other: Self) -> Self {
                self.max(other)
            }

            fn fit(total: i128, magnitude: i64) -> Option<i64> {
                (total.unsigned_abs() <= u128::from(magnitude.unsigned_abs())).then_some(total as i64)
            }
        }
    )*};
}

integers!(i16, i32, i64);

impl Lane for f64 {
    type Total = f64;
    type Narrow = f64;

    fn of_sum(sum: f64) -> f64 {
        sum
    }

    fn of_increase(increase: f64) -> f64 {
        increase
    }

    fn total(self) -> f64 {
        self
    }

    fn growth(self, earlier: f64) -> f64 {
        if self < earlier { self } else { self - earlier }
    }

    fn is_number(self) -> bool {
        !self.is_nan()
    }

    /// The kernel answers with one NaN, which is positive.
    fn lesser(self, other: f64) -> f64 {
        if self.total_cmp(&other).is_le() { self } else { other }
    }

    fn greater(self, other: f64) -> f64 {
        if self.total_cmp(&other).is_ge() { self } else { other }
    }

    fn fit(total: f64, _magnitude: i64) -> Option<f64> {
        Some(total)
    }
}

/// A column's values and which of them are there.
#[derive(Clone, Debug)]
pub(super) struct Values<T: Lane> {
    values: ScalarBuffer<T>,
    nulls: Option<NullBuffer>,
}

impl<T: Lane> Values<T> {
    /// Of a column whose type is stored as `T`; 8-bit integers are widened.
    pub(super) fn of(column: &ArrayRef) -> Self {
        let wide = (*column.data_type() == DataType::Int8)
            .then(|| cast(column, &DataType::Int16).expect("integers become wider ones"));
        let column = wide.as_ref().unwrap_or(column);
        let data = column.to_data();
        let values = ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len());
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
        Self { values, nulls }
    }

    pub(super) fn all(&self) -> &[T] {
        &self.values
    }

    pub(super) fn has_nulls(&self) -> bool {
        self.nulls.is_some()
    }

    /// Which of the rows from `start` on have a value.
    pub(super) fn validity(&self, start: usize) -> Option<Validity<'_>> {
        let nulls = self.nulls.as_ref();
        nulls.map(|nulls| Validity::new(nulls.validity(), nulls.offset() + start))
    }

    pub(super) fn get(&self, row: usize) -> Option<T> {
        let present = self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        present.then(|| self.values[row])
    }
}

/// Values as a column of a field's type.
pub(super) fn column<T: Lane>(
    values: Vec<T>,
    nulls: Option<NullBuffer>,
    field_type: FieldType,
) -> ArrayRef {
    let wide = if field_type == FieldType::Int8 { DataType::Int16 } else { field_type.arrow() };
    let data = arrow::array::ArrayData::builder(wide)
        .len(values.len())
        .add_buffer(Buffer::from_vec(values))
        .nulls(nulls)
        .build()
        .expect("a buffer of values of the type");
    let column = make_array(data);
    if field_type == FieldType::Int8 {
        return cast(&column, &DataType::Int8).expect("values that were 8 bits wide");
    }
    column
}

/// A batch's column of that name and type; NULL where the batch is older than the column.
pub(super) fn column_of(
    batch: &RecordBatch,
    name: &str,
    data_type: &DataType,
) -> Result<ArrayRef, StorageError> {
    match batch.column_by_name(name) {
        None => Ok(new_null_array(data_type, batch.num_rows())),
        Some(column) if column.data_type() == data_type => Ok(column.clone()),
        Some(column) => Err(StorageError::internal(format!(
            "rows to be rolled up have a column {name:?} of type {}, not {data_type}",
            column.data_type()
        ))),
    }
}
