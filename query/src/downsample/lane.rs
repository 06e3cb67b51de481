//! The number types that columns are stored in, and the totals that never leave them short.

use crate::exact::power_of_ten;
use crate::scan::{FieldChunk, FieldRuns};
use arrow::array::{Array, ArrayRef, Float64Array, Int64Array};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use datafusion::error::Result;
use std::cmp::Ordering;
use std::fmt::Debug;
use std::ops::AddAssign;
use std::sync::Arc;
use warpline_kernel::{Validity, Value};
use warpline_storage::model::FieldType;

/// A type of stored values.
pub(super) trait Lane: Value + arrow::datatypes::ArrowNativeType {
    /// Holds the sum of any number of values.
    type Total: Copy + Debug + Default + AddAssign + Send + Sync + 'static;

    /// What rollups keep sums in.
    type Rolled: Lane;

    /// Whether every value is a number, and totals are not rounded.
    const IS_EXACT: bool;

    fn sum_of(parts: impl Iterator<Item = Self::Rolled>) -> Self::Sum;
    fn of_sum(sum: Self::Sum) -> Self::Total;
    fn of_increase(increase: Self::Wide) -> Self::Total;
    fn difference(self, earlier: Self) -> Self::Total;
    /// From a counter's earlier value to this one: a counter that fell began again at 0.
    fn growth(self, earlier: Self) -> Self::Total {
        if self.order(earlier) == Ordering::Less {
            self.difference(Self::default())
        } else {
            self.difference(earlier)
        }
    }
    /// As the kernel orders values.
    fn order(self, other: Self) -> Ordering;
    fn is_number(self) -> bool;
    fn totals(totals: Vec<Self::Total>) -> Totals;
    /// A value of a field that SQL sees as DOUBLE.
    fn double(self, field_type: FieldType) -> f64;
    /// Values of a field in the type SQL has for it.
    fn shown(values: Vec<Self>, present: Option<NullBuffer>, field_type: FieldType) -> ArrayRef;
}

/// Totals by what is exact.
#[derive(Debug)]
pub(super) enum Totals {
    Integers(Vec<i128>),
    Doubles(Vec<f64>),
}

macro_rules! integers {
    ($($type:ty: $double:expr),*) => {$(
        impl Lane for $type {
            type Total = i128;
            type Rolled = i64;

            const IS_EXACT: bool = true;

            fn sum_of(parts: impl Iterator<Item = i64>) -> Self::Sum {
                parts.map(Self::Sum::from).sum()
            }

            fn of_sum(sum: Self::Sum) -> i128 {
                sum.into()
            }

            fn of_increase(increase: Self::Wide) -> i128 {
                increase.into()
            }

            fn difference(self, earlier: Self) -> i128 {
                i128::from(self) - i128::from(earlier)
            }

            fn order(self, other: Self) -> Ordering {
                self.cmp(&other)
            }

            fn is_number(self) -> bool {
                true
            }

            fn totals(totals: Vec<i128>) -> Totals {
                Totals::Integers(totals)
            }

            fn double(self, field_type: FieldType) -> f64 {
                $double(self) / power_of_ten(field_type.decimals())
            }

            fn shown(
                values: Vec<Self>,
                present: Option<NullBuffer>,
                field_type: FieldType,
            ) -> ArrayRef {
                if let FieldType::Decimal { decimals, .. } = field_type {
                    let power = power_of_ten(decimals);
                    let values = values.into_iter().map(|value| $double(value) / power);
                    Arc::new(Float64Array::new(values.collect(), present))
                } else {
                    let values = values.into_iter().map(i64::from).collect();
                    Arc::new(Int64Array::new(values, present))
                }
            }
        }
    )*};
}

integers!(i16: f64::from, i32: f64::from, i64: |value| value as f64);

impl Lane for f64 {
    type Total = f64;
    type Rolled = f64;

    const IS_EXACT: bool = false;

    fn sum_of(parts: impl Iterator<Item = f64>) -> f64 {
        parts.sum()
    }

    fn of_sum(sum: f64) -> f64 {
        sum
    }

    fn of_increase(increase: f64) -> f64 {
        increase
    }

    fn difference(self, earlier: f64) -> f64 {
        self - earlier
    }

    /// The kernel answers with one NaN, which is positive.
    fn order(self, other: f64) -> Ordering {
        self.total_cmp(&other)
    }

    fn is_number(self) -> bool {
        !self.is_nan()
    }

    fn totals(totals: Vec<f64>) -> Totals {
        Totals::Doubles(totals)
    }

    fn double(self, _field_type: FieldType) -> f64 {
        self
    }

    fn shown(values: Vec<f64>, present: Option<NullBuffer>, _field_type: FieldType) -> ArrayRef {
        Arc::new(Float64Array::new(values.into(), present))
    }
}

/// A column's values and which of them are there.
#[derive(Clone, Debug)]
pub(super) struct Values<T: Lane> {
    /// By row, or by run where there are runs.
    numbers: ScalarBuffer<T>,
    nulls: Option<NullBuffer>,
    runs: Option<Arc<FieldRuns>>,
}

impl<T: Lane> Values<T> {
    /// Values that are all there; the buffer holds `rows` of type `T`.
    pub(super) fn new(buffer: Buffer, rows: usize) -> Self {
        let numbers = ScalarBuffer::new(buffer, 0, rows);
        Self { numbers, nulls: None, runs: None }
    }

    /// Of a column whose type is stored as `T`.
    pub(super) fn of(column: &FieldChunk) -> Self {
        let (values, runs) = match column {
            FieldChunk::Rows(rows) => (rows, None),
            FieldChunk::Runs(runs) => (runs.values(), Some(Arc::clone(runs))),
        };
        let nulls = values.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
        let data = values.to_data();
        let numbers = ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len());
        Self { numbers, nulls, runs }
    }

    /// The first `rows` rows of a column, row by row.
    pub(super) fn of_rows(column: &FieldChunk, rows: usize) -> Result<Self> {
        Ok(Self::of(&FieldChunk::Rows(column.rows(0..rows as u32)?)))
    }

    /// The value in a row, where it has one; of a column that is read row by row.
    pub(super) fn at(&self, row: usize) -> Option<T> {
        self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)).then(|| self.numbers[row])
    }

    /// Runs are spread in `scratch`.
    pub(super) fn slice<'a>(
        &'a self,
        start: usize,
        rows: usize,
        scratch: &'a mut Vec<T>,
    ) -> Slice<'a, T> {
        if let Some(runs) = &self.runs {
            let range = start as u32..(start + rows) as u32;
            let is_level = runs.spread(&self.numbers, range, scratch) <= 1;
            return Slice { values: scratch, validity: None, is_level };
        }
        let validity = self
            .nulls
            .as_ref()
            .map(|nulls| Validity::new(nulls.validity(), nulls.offset() + start));
        Slice { values: &self.numbers[start..start + rows], validity, is_level: false }
    }
}

/// Some consecutive rows of a column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice<'a, T: Lane> {
    pub values: &'a [T],
    pub validity: Option<Validity<'a>>,
    /// Whether all rows are known to have the same value.
    pub is_level: bool,
}

impl<T: Lane> Slice<'_, T> {
    pub(super) fn get(&self, row: usize) -> Option<T> {
        self.validity.is_none_or(|validity| validity.has(row)).then(|| self.values[row])
    }
}
