//! One running total: for a plain aggregate, a sliding window, or distinct values.

use super::aggregate::Measure;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, PrimitiveArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Int64Type, UInt64Type};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Accumulator;
use std::collections::HashSet;
use std::sync::Arc;

/// The sum's type in accumulator state: an i128, never read as a decimal.
pub(super) const SUM_STATE: DataType = DataType::Decimal128(38, 0);

/// The integers behind an argument column.
pub(super) fn integers(column: &ArrayRef, measure: Measure) -> Int64Array {
    match measure.power() {
        None => column.as_primitive::<Int64Type>().clone(),
        Some(power) => column
            .as_primitive::<Float64Type>()
            .unary(|value| super::rounding::recover(value, power)),
    }
}

/// Integers added up, and how many.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Total {
    pub sum: i128,
    pub count: u64,
}

impl Total {
    fn add(&mut self, values: &Int64Array) {
        self.sum += sum_of(values);
        self.count += (values.len() - values.null_count()) as u64;
    }

    fn retract(&mut self, values: &Int64Array) {
        self.sum -= sum_of(values);
        self.count -= (values.len() - values.null_count()) as u64;
    }
}

fn sum_of(values: &Int64Array) -> i128 {
    if values.null_count() == 0 {
        values.values().iter().map(|value| i128::from(*value)).sum()
    } else {
        values.iter().flatten().map(i128::from).sum()
    }
}

/// The total of a whole input or a window frame.
#[derive(Debug)]
pub(super) struct TotalAccumulator {
    measure: Measure,
    total: Total,
}

impl TotalAccumulator {
    pub(super) fn new(measure: Measure) -> Self {
        Self { measure, total: Total::default() }
    }
}

impl Accumulator for TotalAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.total.add(&integers(&values[0], self.measure));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.total.retract(&integers(&values[0], self.measure));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.measure.answer(self.total)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![
            ScalarValue::Decimal128(Some(self.total.sum), 38, 0),
            ScalarValue::UInt64(Some(self.total.count)),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let sums: &PrimitiveArray<Decimal128Type> = states[0].as_primitive();
        let counts: &PrimitiveArray<UInt64Type> = states[1].as_primitive();
        self.total.sum += sums.iter().flatten().sum::<i128>();
        self.total.count += counts.iter().flatten().sum::<u64>();
        Ok(())
    }
}

/// The total of the distinct values.
#[derive(Debug)]
pub(super) struct DistinctAccumulator {
    measure: Measure,
    seen: HashSet<i64>,
}

impl DistinctAccumulator {
    pub(super) fn new(measure: Measure) -> Self {
        Self { measure, seen: HashSet::new() }
    }

    pub(super) fn state_type() -> DataType {
        DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)))
    }
}

impl Accumulator for DistinctAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.seen.extend(integers(&values[0], self.measure).iter().flatten());
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = self.seen.iter().map(|value| i128::from(*value)).sum();
        self.measure.answer(Total { sum, count: self.seen.len() as u64 })
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.seen.capacity() * (size_of::<i64>() + 1)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = Int64Array::from_iter_values(self.seen.iter().copied());
        let list = ListArray::try_new(
            Arc::new(Field::new_list_field(DataType::Int64, true)),
            OffsetBuffer::from_lengths([values.len()]),
            Arc::new(values),
            None,
        )?;
        Ok(vec![ScalarValue::List(Arc::new(list))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states[0].as_list_opt::<i32>().ok_or_else(|| {
            DataFusionError::Internal("a distinct sum's state is a list".to_owned())
        })?;
        for values in lists.iter().flatten() {
            self.seen.extend(values.as_primitive::<Int64Type>().iter().flatten());
        }
        Ok(())
    }
}
