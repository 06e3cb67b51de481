//! Running totals of many groups at once, for GROUP BY.

use super::accumulate::{Total, integers};
use super::aggregate::{Measure, bigint};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, UInt64Array,
};
use arrow::datatypes::{Decimal128Type, UInt64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct GroupTotals {
    measure: Measure,
    sums: Vec<i128>,
    counts: Vec<u64>,
}

impl GroupTotals {
    pub(super) fn new(measure: Measure) -> Self {
        Self { measure, sums: Vec::new(), counts: Vec::new() }
    }

    fn grow(&mut self, groups: usize) {
        self.sums.resize(groups, 0);
        self.counts.resize(groups, 0);
    }

    fn take(&mut self, emit_to: EmitTo) -> (Vec<i128>, Vec<u64>) {
        (emit_to.take_needed(&mut self.sums), emit_to.take_needed(&mut self.counts))
    }
}

/// Whether a row has a value and passes the aggregate's FILTER.
fn counted(values: &Int64Array, filter: Option<&BooleanArray>, row: usize) -> bool {
    values.is_valid(row) && filter.is_none_or(|f| f.is_valid(row) && f.value(row))
}

impl GroupsAccumulator for GroupTotals {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow(total_num_groups);
        let values = integers(&values[0], self.measure);
        if values.null_count() == 0 && opt_filter.is_none() {
            for (value, group) in values.values().iter().zip(group_indices) {
                self.sums[*group] += i128::from(*value);
                self.counts[*group] += 1;
            }
            return Ok(());
        }
        for (row, group) in group_indices.iter().enumerate() {
            if counted(&values, opt_filter, row) {
                self.sums[*group] += i128::from(values.value(row));
                self.counts[*group] += 1;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (sums, counts) = self.take(emit_to);
        let totals = sums.into_iter().zip(counts).map(|(sum, count)| Total { sum, count });
        if self.measure.is_bigint() {
            let answers = totals.map(bigint);
            return Ok(Arc::new(answers.collect::<Result<Int64Array>>()?));
        }
        let answers = totals.map(|total| self.measure.double(total));
        Ok(Arc::new(answers.collect::<Float64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (sums, counts) = self.take(emit_to);
        state_columns(sums, counts)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow(total_num_groups);
        let sums = values[0].as_primitive::<Decimal128Type>();
        let counts = values[1].as_primitive::<UInt64Type>();
        for (row, group) in group_indices.iter().enumerate() {
            self.sums[*group] += sums.value(row);
            self.counts[*group] += counts.value(row);
        }
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = integers(&values[0], self.measure);
        let taken = (0..values.len()).map(|row| counted(&values, opt_filter, row));
        let (sums, counts) = taken
            .enumerate()
            .map(|(row, taken)| if taken { (i128::from(values.value(row)), 1) } else { (0, 0) })
            .unzip();
        state_columns(sums, counts)
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.counts.capacity() * size_of::<u64>()
    }
}

fn state_columns(sums: Vec<i128>, counts: Vec<u64>) -> Result<Vec<ArrayRef>> {
    let sums = Decimal128Array::from(sums).with_precision_and_scale(38, 0)?;
    Ok(vec![Arc::new(sums), Arc::new(UInt64Array::from(counts))])
}
