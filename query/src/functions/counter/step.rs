//! The window functions below a counter: the step that leads to each sample of a series.

use crate::exact::{power_of_ten, recover};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Field, FieldRef, Float64Type, Int64Type, TimestampMicrosecondType,
};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    LimitEffect, PartitionEvaluator, Signature, Volatility, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;
use std::ops::Range;
use std::sync::Arc;

/// What is asked of a step from value `p` to value `v`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum What {
    /// `v - p`, or `v` where that is negative.
    Increase,
    /// `v - p`.
    Delta,
    /// The microseconds it took.
    Micros,
}

/// `increase_step(value, time)` and its kin, over the rows of one series by time: NULL for a row
/// that is no sample, without a value or with NaN, and for a first sample. Rows of one time are one
/// sample, the largest of their values, and each gets the step from the time before, so that rows
/// which a join repeats count as often as they are there.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Step {
    what: What,
    /// The value is a scaled field's double; steps are in its stored integers.
    decimals: Option<u8>,
    signature: Signature,
}

impl Step {
    pub(super) fn new(what: What, decimals: Option<u8>) -> Self {
        Self { what, decimals, signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl WindowUDFImpl for Step {
    fn name(&self) -> &'static str {
        match self.what {
            What::Increase => "increase_step",
            What::Delta => "delta_step",
            What::Micros => "step_micros",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(
        &self,
        _args: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        let power = self.decimals.map(power_of_ten);
        Ok(Box::new(Walk { what: self.what, power, before: None, latest: None }))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let value = args.get_input_field(0).map(|field| field.data_type().clone());
        let doubles = self.what != What::Micros
            && self.decimals.is_none()
            && value == Some(DataType::Float64);
        let kind = if doubles { DataType::Float64 } else { DataType::Int64 };
        Ok(Arc::new(Field::new(args.name(), kind, true)))
    }

    fn limit_effect(&self, _args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        LimitEffect::None
    }
}

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Value {
    Integer(i64),
    Double(f64),
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    time: i64,
    value: Value,
}

/// One series, walked row by row.
#[derive(Debug)]
struct Walk {
    what: What,
    /// What a scaled value is multiplied with to be the stored integer.
    power: Option<f64>,
    /// The sample before the latest one's time.
    before: Option<Sample>,
    latest: Option<Sample>,
}

impl Walk {
    fn sample(&self, columns: &[ArrayRef], row: usize) -> Option<Sample> {
        let (values, times) = (&columns[0], columns[1].as_primitive::<TimestampMicrosecondType>());
        if values.is_null(row) || times.is_null(row) {
            return None;
        }
        let value = match (values.as_primitive_opt::<Int64Type>(), self.power) {
            (Some(integers), _) => Value::Integer(integers.value(row)),
            (None, power) => {
                let double = values.as_primitive::<Float64Type>().value(row);
                if double.is_nan() {
                    return None;
                }
                power.map_or(Value::Double(double), |power| Value::Integer(recover(double, power)))
            }
        };
        Some(Sample { time: times.value(row), value })
    }

    /// Moves on to a sample and returns the one its step starts from.
    fn advance(&mut self, sample: Sample) -> Option<Sample> {
        match &mut self.latest {
            Some(latest) if latest.time == sample.time => {
                if sample.value > latest.value {
                    *latest = sample;
                }
            }
            latest => self.before = latest.replace(sample),
        }
        self.before
    }

    fn answer(&self, before: Sample, sample: Sample) -> Result<ScalarValue> {
        if self.what == What::Micros {
            return Ok(ScalarValue::Int64(Some(sample.time - before.time)));
        }
        let reset = self.what == What::Increase && sample.value < before.value;
        match (before.value, sample.value) {
            (Value::Integer(_), Value::Integer(v)) if reset => Ok(ScalarValue::Int64(Some(v))),
            (Value::Double(_), Value::Double(v)) if reset => Ok(ScalarValue::Float64(Some(v))),
            (Value::Integer(p), Value::Integer(v)) => {
                let Some(step) = v.checked_sub(p) else {
                    return exec_err!("bigint out of range: the step from {p} to {v}");
                };
                Ok(ScalarValue::Int64(Some(step)))
            }
            (Value::Double(p), Value::Double(v)) => Ok(ScalarValue::Float64(Some(v - p))),
            _ => exec_err!("a series has values of one type"),
        }
    }

    fn none(&self, columns: &[ArrayRef]) -> ScalarValue {
        let doubles = self.what != What::Micros
            && self.power.is_none()
            && *columns[0].data_type() == DataType::Float64;
        if doubles { ScalarValue::Float64(None) } else { ScalarValue::Int64(None) }
    }
}

impl PartitionEvaluator for Walk {
    /// Called for each row of the series once, in order.
    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        let sample = self.sample(values, range.start);
        let step = sample.and_then(|sample| Some((self.advance(sample)?, sample)));
        match step {
            Some((before, sample)) => self.answer(before, sample),
            None => Ok(self.none(values)),
        }
    }

    fn is_causal(&self) -> bool {
        true
    }

    fn supports_bounded_execution(&self) -> bool {
        true
    }
}
