//! The aggregate functions that the rule plans in place of `sum` and `avg`.

use super::accumulate::{DistinctAccumulator, SUM_STATE, Total, TotalAccumulator};
use super::groups::GroupTotals;
use super::rounding::{power_of_ten, ratio};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature, Volatility,
};
use std::sync::Arc;

/// What is asked of the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    Sum,
    Avg,
}

/// What is asked, and of which integers: `decimals` says that they stand for a scaled field, and
/// then the argument is its double unless it is `stored` integers already; without decimals it is
/// a BIGINT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Measure {
    ask: Ask,
    decimals: Option<u8>,
    stored: bool,
}

impl Measure {
    pub(crate) fn sum(decimals: Option<u8>) -> Self {
        Self { ask: Ask::Sum, decimals, stored: true }
    }

    pub(crate) fn is_sum(self) -> bool {
        self.ask == Ask::Sum
    }

    /// What the argument is to be multiplied with, `None` where it is integers.
    pub(super) fn power(self) -> Option<f64> {
        self.decimals.filter(|_| !self.stored).map(power_of_ten)
    }

    /// Whether the answer is a BIGINT: only a sum of integers is.
    pub(crate) fn is_bigint(self) -> bool {
        self.ask == Ask::Sum && self.decimals.is_none()
    }

    /// The sum or mean rounded once, NULL without values.
    pub(crate) fn double(self, total: Total) -> Option<f64> {
        let scale = 10_u128.pow(u32::from(self.decimals.unwrap_or(0)));
        match self.ask {
            _ if total.count == 0 => None,
            Ask::Sum => Some(ratio(total.sum, scale)),
            Ask::Avg => Some(ratio(total.sum, scale * u128::from(total.count))),
        }
    }

    pub(super) fn answer(self, total: Total) -> Result<ScalarValue> {
        if self.is_bigint() {
            Ok(ScalarValue::Int64(bigint(total)?))
        } else {
            Ok(ScalarValue::Float64(self.double(total)))
        }
    }
}

/// The sum, NULL without values.
pub(crate) fn bigint(total: Total) -> Result<Option<i64>> {
    match i64::try_from(total.sum) {
        _ if total.count == 0 => Ok(None),
        Ok(sum) => Ok(Some(sum)),
        Err(_) => exec_err!(
            "bigint out of range: the sum is {}; use sum(x::double) for an approximate one",
            total.sum
        ),
    }
}

/// `sum` or `avg` without rounding on the way. Its name says the decimals (`exact_sum_3`), so
/// that plans show them and a plan can be sent elsewhere by name.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ExactAggregate {
    measure: Measure,
    name: String,
    signature: Signature,
}

impl ExactAggregate {
    pub fn new(ask: Ask, decimals: Option<u8>) -> Self {
        Self::over(ask, decimals, false)
    }

    /// The sum of a scaled field's stored integers.
    pub(crate) fn sum_of_stored(decimals: u8) -> Self {
        Self::over(Ask::Sum, Some(decimals), true)
    }

    fn over(ask: Ask, decimals: Option<u8>, stored: bool) -> Self {
        let verb = match ask {
            Ask::Sum => "sum",
            Ask::Avg => "avg",
        };
        let of = if stored { "_stored" } else { "" };
        let name = match decimals {
            None => format!("exact_{verb}"),
            Some(decimals) => format!("exact_{verb}{of}_{decimals}"),
        };
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { measure: Measure { ask, decimals, stored }, name, signature }
    }

    pub(crate) fn measure(&self) -> Measure {
        self.measure
    }
}

impl AggregateUDFImpl for ExactAggregate {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(if self.measure.is_bigint() { DataType::Int64 } else { DataType::Float64 })
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        if arg_types.len() != 1 {
            return exec_err!("{} takes one argument, not {}", self.name, arg_types.len());
        }
        let scaled = self.measure.power().is_some();
        Ok(vec![if scaled { DataType::Float64 } else { DataType::Int64 }])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            Ok(Box::new(DistinctAccumulator::new(self.measure)))
        } else {
            Ok(Box::new(TotalAccumulator::new(self.measure)))
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |what, data_type| {
            Arc::new(Field::new(format_state_name(args.name, what), data_type, true))
        };
        if args.is_distinct {
            return Ok(vec![field("distinct", DistinctAccumulator::state_type())]);
        }
        Ok(vec![field("sum", SUM_STATE), field("count", DataType::UInt64)])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        _args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(GroupTotals::new(self.measure)))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}
