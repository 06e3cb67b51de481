//! `first(value, time)` and `last(value, time)`: the value at the smallest or the greatest time.
//!
//! Rows without a value or a time do not count; without any other the answer is NULL. Of several
//! values at that one time the largest is taken, by the order that `max` and ORDER BY have (NaN is
//! the largest double), so the answer does not depend on the order of rows.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DynComparator, Int64Array, make_comparator,
    new_empty_array,
};
use arrow::compute::{SortOptions, cast, nullif};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, TimeUnit};
use datafusion::common::{ScalarValue, exec_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use std::cmp::Ordering;
use std::sync::Arc;

/// Which end of a group's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    First,
    Last,
}

impl End {
    /// Whether a sample goes before the one held so far.
    fn prefers(self, time: i64, held: i64, value: impl FnOnce() -> Ordering) -> bool {
        let later = match self {
            Self::First => held.cmp(&time),
            Self::Last => time.cmp(&held),
        };
        later.then_with(value) == Ordering::Greater
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ValueAt {
    end: End,
    signature: Signature,
}

impl ValueAt {
    pub(super) fn new(end: End) -> Self {
        Self { end, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for ValueAt {
    fn name(&self) -> &'static str {
        match self.end {
            End::First => "first",
            End::Last => "last",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let time = match arguments {
            [_value, time @ DataType::Timestamp(..)] => time.clone(),
            [_value, DataType::Date32 | DataType::Date64] => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            _ => {
                let name = self.name();
                return plan_err!("{name} takes a value and its time: {name}(value, time)");
            }
        };
        Ok(vec![arguments[0].clone(), time])
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let mut held = Held::new(self.end, args.return_type().clone());
        held.samples.resize(1, None);
        Ok(Box::new(held))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |what, data_type| {
            Arc::new(Field::new(format_state_name(args.name, what), data_type, true))
        };
        let value = args.return_field.data_type().clone();
        Ok(vec![field("value", value), field("time", DataType::Int64)])
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Held::new(self.end, args.return_type().clone())))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The sample each group holds so far.
#[derive(Debug)]
struct Held {
    end: End,
    value_type: DataType,
    samples: Vec<Option<(i64, ScalarValue)>>,
    /// Bytes that the values take beside `samples`.
    value_bytes: usize,
}

impl Held {
    fn new(end: End, value_type: DataType) -> Self {
        Self { end, value_type, samples: Vec::new(), value_bytes: 0 }
    }

    /// Takes a batch: first the best row of each group in it, then that row against what is held,
    /// so that few rows become scalars.
    fn offer(
        &mut self,
        columns: &[ArrayRef],
        group_of: impl Fn(usize) -> usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let values = &columns[0];
        let times = cast(&columns[1], &DataType::Int64)?;
        let times: &Int64Array = times.as_primitive::<Int64Type>();
        let compare = make_comparator(values, values, SortOptions::default())?;
        let absent = values.logical_nulls();
        let counts = |row: usize| {
            absent.as_ref().is_none_or(|absent| absent.is_valid(row))
                && times.is_valid(row)
                && filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
        };
        let rows = (0..values.len()).filter(|row| counts(*row));
        for (group, row) in self.best_rows(rows, group_of, times, &compare) {
            self.hold(group, times.value(row), ScalarValue::try_from_array(values, row)?)?;
        }
        Ok(())
    }

    /// Each group that occurs, with its best row.
    fn best_rows(
        &self,
        rows: impl Iterator<Item = usize>,
        group_of: impl Fn(usize) -> usize,
        times: &Int64Array,
        compare: &DynComparator,
    ) -> Vec<(usize, usize)> {
        let mut place = vec![None; self.samples.len()];
        let mut best: Vec<(usize, usize)> = Vec::new();
        for row in rows {
            let group = group_of(row);
            match place[group] {
                None => {
                    place[group] = Some(best.len());
                    best.push((group, row));
                }
                Some(place) => {
                    let held = &mut best[place].1;
                    let value = || compare(row, *held);
                    if self.end.prefers(times.value(row), times.value(*held), value) {
                        *held = row;
                    }
                }
            }
        }
        best
    }

    fn hold(&mut self, group: usize, time: i64, value: ScalarValue) -> Result<()> {
        let held = &mut self.samples[group];
        if let Some((held_time, held_value)) = held {
            let order = value
                .partial_cmp(held_value)
                .ok_or_else(|| exec_datafusion_err!("{} cannot be ordered", value.data_type()))?;
            if !self.end.prefers(time, *held_time, || order) {
                return Ok(());
            }
            self.value_bytes -= held_value.size();
        }
        self.value_bytes += value.size();
        *held = Some((time, value));
        Ok(())
    }

    fn columns(&self, samples: &[Option<(i64, ScalarValue)>]) -> Result<(ArrayRef, Int64Array)> {
        if samples.is_empty() {
            return Ok((new_empty_array(&self.value_type), Int64Array::new_null(0)));
        }
        let none = ScalarValue::try_from(&self.value_type)?;
        let values = samples.iter().map(|sample| match sample {
            Some((_, value)) => value.clone(),
            None => none.clone(),
        });
        let times = samples.iter().map(|sample| sample.as_ref().map(|(time, _)| *time));
        Ok((ScalarValue::iter_to_array(values)?, times.collect()))
    }

    fn take(&mut self, emit_to: EmitTo) -> Result<(ArrayRef, Int64Array)> {
        let samples = emit_to.take_needed(&mut self.samples);
        let values = samples.iter().flatten().map(|(_, value)| value.size());
        self.value_bytes -= values.sum::<usize>();
        self.columns(&samples)
    }

    fn bytes(&self) -> usize {
        self.samples.capacity() * size_of::<Option<(i64, ScalarValue)>>() + self.value_bytes
    }
}

impl Accumulator for Held {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.offer(values, |_| 0, None)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match &self.samples[0] {
            Some((_, value)) => Ok(value.clone()),
            None => ScalarValue::try_from(&self.value_type),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let time = self.samples[0].as_ref().map(|(time, _)| *time);
        Ok(vec![Accumulator::evaluate(self)?, ScalarValue::Int64(time)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.offer(states, |_| 0, None)
    }
}

impl GroupsAccumulator for Held {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.samples.resize(total_num_groups, None);
        self.offer(values, |row| group_indices[row], opt_filter)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.take(emit_to)?.0)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (values, times) = self.take(emit_to)?;
        Ok(vec![values, Arc::new(times)])
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.samples.resize(total_num_groups, None);
        self.offer(states, |row| group_indices[row], None)
    }

    /// A row that fails the filter has no time, so it does not count.
    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let times = cast(&values[1], &DataType::Int64)?;
        let times = match opt_filter {
            Some(filter) => {
                let failed = filter.iter().map(|passes| Some(passes != Some(true)));
                nullif(&times, &failed.collect())?
            }
            None => times,
        };
        Ok(vec![Arc::clone(&values[0]), times])
    }

    fn size(&self) -> usize {
        self.bytes()
    }
}
