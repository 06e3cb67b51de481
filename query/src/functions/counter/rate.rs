//! The aggregate behind `rate`: each series' steps over the seconds they took, summed over the
//! series.

use crate::exact::ratio;
use crate::functions::by_series::BySeries;
use crate::functions::state::list_of;
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use std::sync::Arc;

const MICROS: u32 = 1_000_000;

/// `rate_of_steps(step, micros, key...)`, NULL without a step. `decimals` says that steps are in
/// the stored integers of a scaled field.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct RateOfSteps {
    decimals: Option<u8>,
    name: String,
    signature: Signature,
}

impl RateOfSteps {
    pub(super) fn new(decimals: Option<u8>) -> Self {
        let name = match decimals {
            None => "rate_of_steps".to_owned(),
            Some(decimals) => format!("rate_of_steps_{decimals}"),
        };
        Self { decimals, name, signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for RateOfSteps {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let series = BySeries::new(&args.expr_fields[2..])?;
        Ok(Box::new(Rates { decimals: self.decimals.unwrap_or(0), series }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |what, of| {
            let list = DataType::List(Arc::new(Field::new_list_field(of, true)));
            Arc::new(Field::new(format_state_name(args.name, what), list, true))
        };
        Ok(vec![
            field("keys", DataType::Binary),
            field("integers", INTEGERS),
            field("doubles", DataType::Float64),
            field("micros", DataType::Int64),
        ])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The type of integer sums in state: an i128, never read as a decimal.
const INTEGERS: DataType = DataType::Decimal128(38, 0);

/// What one series did: its steps are all integers or all doubles, and the other sum is zero.
#[derive(Clone, Copy, Debug, Default)]
struct Covered {
    integers: i128,
    doubles: f64,
    micros: i64,
}

impl Covered {
    /// Per second; integers are rounded once.
    fn rate(self, decimals: u8) -> f64 {
        let scale = 10_u128.pow(u32::from(decimals)) * u128::from(self.micros.unsigned_abs());
        ratio(self.integers * i128::from(MICROS), scale)
            + self.doubles / (self.micros as f64 / f64::from(MICROS))
    }
}

#[derive(Debug)]
struct Rates {
    decimals: u8,
    series: BySeries<Covered>,
}

impl Accumulator for Rates {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (steps, micros) = (&values[0], values[1].as_primitive::<Int64Type>());
        let keys = self.series.keys(&values[2..])?;
        for row in (0..steps.len()).filter(|row| steps.is_valid(*row)) {
            let covered = self.series.entry(keys.of_row(row));
            covered.micros += micros.value(row);
            match steps.as_primitive_opt::<Int64Type>() {
                Some(integers) => covered.integers += i128::from(integers.value(row)),
                None => covered.doubles += steps.as_primitive::<Float64Type>().value(row),
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let rates = self.series.values().map(|covered| covered.rate(self.decimals));
        let rate = (!self.series.is_empty()).then(|| rates.sum());
        Ok(ScalarValue::Float64(rate))
    }

    fn size(&self) -> usize {
        self.series.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let keys = BinaryArray::from_iter_values(self.series.iter().map(|(key, _)| key));
        let covered = || self.series.values();
        let integers = covered().map(|c| Some(c.integers));
        let integers = integers.collect::<arrow::array::Decimal128Array>();
        let doubles = Float64Array::from_iter_values(covered().map(|c| c.doubles));
        let micros = Int64Array::from_iter_values(covered().map(|c| c.micros));
        let columns: [ArrayRef; 4] = [
            Arc::new(keys),
            Arc::new(integers.with_precision_and_scale(38, 0)?),
            Arc::new(doubles),
            Arc::new(micros),
        ];
        Ok(columns.into_iter().map(list_of).collect())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = |column: usize| states[column].as_list::<i32>();
        for row in 0..states[0].len() {
            let [keys, integers, doubles, micros] = [0, 1, 2, 3].map(|c| lists(c).value(row));
            let keys = keys.as_binary::<i32>();
            let integers = integers.as_primitive::<Decimal128Type>();
            let doubles = doubles.as_primitive::<Float64Type>();
            let micros = micros.as_primitive::<Int64Type>();
            for index in 0..keys.len() {
                let covered = self.series.entry(keys.value(index));
                covered.integers += integers.value(index);
                covered.doubles += doubles.value(index);
                covered.micros += micros.value(index);
            }
        }
        Ok(())
    }
}
