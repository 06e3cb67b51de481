//! The aggregate functions: samples are gathered, and answered for window by window at the end.

use super::window::{Kind, Sample, extrapolated};
use crate::functions::by_series::BySeries;
use crate::functions::counter::time_type;
use crate::functions::state::list_of;
use crate::functions::width::{constant, whole_units};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, Float64Array, Int64Array,
};
use arrow::datatypes::{
    DataType, Field, FieldRef, Float64Type, Int64Type, IntervalUnit, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// `prom_increase(value, window, time, key...)` and its kin; the analyzer adds what is left out
/// after the window.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::functions) struct Extrapolated {
    kind: Kind,
    signature: Signature,
}

impl Extrapolated {
    pub(in crate::functions) fn new(kind: Kind) -> Self {
        Self { kind, signature: Signature::user_defined(Volatility::Immutable) }
    }

    pub(in crate::functions) fn is(function: &AggregateUDF) -> bool {
        function.inner().is::<Self>()
    }
}

impl AggregateUDFImpl for Extrapolated {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Increase => "prom_increase",
            Kind::Rate => "prom_rate",
            Kind::Delta => "prom_delta",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name();
        let [value, _window, series @ ..] = arguments else {
            return plan_err!(
                "{name} takes a value and a window: {name}(value, '5 minutes') or \
                 {name}(value, '5 minutes', time, key, ...)"
            );
        };
        if !value.is_numeric() {
            return plan_err!("{name} takes a number as its value, not {value}");
        }
        let mut wanted = vec![DataType::Float64, DataType::Interval(IntervalUnit::MonthDayNano)];
        if let Some((time, keys)) = series.split_first() {
            wanted.push(time_type(name, time)?);
            wanted.extend_from_slice(keys);
        }
        Ok(wanted)
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let window = constant(&args.exprs[1])?;
        let width = whole_units(self.name(), &window, TimeUnit::Microsecond)?;
        let series = BySeries::new(&args.expr_fields[3..])?;
        Ok(Box::new(Samples { kind: self.kind, width, series, count: 0 }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |what, of| {
            let list = DataType::List(Arc::new(Field::new_list_field(of, true)));
            Arc::new(Field::new(format_state_name(args.name, what), list, true))
        };
        Ok(vec![
            field("keys", DataType::Binary),
            field("counts", DataType::Int64),
            field("times", DataType::Int64),
            field("values", DataType::Float64),
        ])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

#[derive(Debug)]
struct Samples {
    kind: Kind,
    /// Microseconds.
    width: i64,
    series: BySeries<Vec<Sample>>,
    count: usize,
}

impl Samples {
    /// The answer of one series: the sum over its windows, of a rate the mean.
    fn answer(&self, samples: &[Sample]) -> Option<f64> {
        let mut samples = samples.to_vec();
        samples.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        // Rows of one time are one sample, the largest of their values.
        samples.dedup_by_key(|sample| sample.0);
        let number = |sample: &Sample| sample.0.div_euclid(self.width);
        let windows = samples.chunk_by(|a, b| number(a) == number(b));
        let answers = windows.filter_map(|window| {
            let start = number(&window[0]) * self.width;
            extrapolated(self.kind, window, start, start + self.width)
        });
        let answers: Vec<f64> = answers.collect();
        let sum: f64 = answers.iter().sum();
        match self.kind {
            _ if answers.is_empty() => None,
            Kind::Rate => Some(sum / answers.len() as f64),
            Kind::Increase | Kind::Delta => Some(sum),
        }
    }
}

impl Accumulator for Samples {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let numbers = values[0].as_primitive::<Float64Type>();
        let times = values[2].as_primitive::<TimestampMicrosecondType>();
        let keys = self.series.keys(&values[3..])?;
        for row in (0..numbers.len()).filter(|row| numbers.is_valid(*row) && times.is_valid(*row)) {
            self.series.entry(keys.of_row(row)).push((times.value(row), numbers.value(row)));
            self.count += 1;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let answers = self.series.values().filter_map(|samples| self.answer(samples));
        let sum = answers.fold(None, |sum, answer| Some(sum.unwrap_or(0.0) + answer));
        Ok(ScalarValue::Float64(sum))
    }

    fn size(&self) -> usize {
        self.series.size() + 2 * self.count * size_of::<Sample>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let samples = || self.series.values().flatten();
        let columns: [ArrayRef; 4] = [
            Arc::new(BinaryArray::from_iter_values(self.series.iter().map(|(key, _)| key))),
            Arc::new(Int64Array::from_iter_values(self.series.values().map(|s| s.len() as i64))),
            Arc::new(Int64Array::from_iter_values(samples().map(|sample| sample.0))),
            Arc::new(Float64Array::from_iter_values(samples().map(|sample| sample.1))),
        ];
        Ok(columns.into_iter().map(list_of).collect())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for row in 0..states[0].len() {
            let lists: Vec<ArrayRef> =
                states.iter().map(|state| state.as_list::<i32>().value(row)).collect();
            let keys = lists[0].as_binary::<i32>();
            let counts = values_of::<Int64Type>(&lists[1]);
            let times = values_of::<Int64Type>(&lists[2]);
            let mut samples = times.iter().copied().zip(values_of::<Float64Type>(&lists[3]));
            for (key, count) in keys.iter().flatten().zip(counts) {
                let added = samples.by_ref().take(*count as usize);
                self.series.entry(key).extend(added.map(|(time, value)| (time, *value)));
            }
            self.count += times.len();
        }
        Ok(())
    }
}

fn values_of<T: ArrowPrimitiveType>(list: &ArrayRef) -> &[T::Native] {
    list.as_primitive::<T>().values()
}
