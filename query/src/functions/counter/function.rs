//! The aggregate functions by name, as plans hold them until their steps are planned.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{internal_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, LogicalPlan, Signature, Volatility,
};

/// Which question is asked of a group's steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Increase,
    Delta,
    Rate,
}

/// `increase`, `delta` or `rate` with the arguments value, time and keys. The value is a BIGINT or
/// a double; `decimals` says that it is a scaled field's, whose stored integers are meant.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Counter {
    pub kind: Kind,
    pub decimals: Option<u8>,
    signature: Signature,
}

impl Counter {
    pub(crate) fn new(kind: Kind, decimals: Option<u8>) -> Self {
        Self { kind, decimals, signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// The counter function that a plan calls, if it is one.
    pub(crate) fn of(function: &AggregateUDF) -> Option<&Self> {
        function.inner().downcast_ref()
    }
}

/// Whether a plan's node is an aggregate that holds a counter function.
pub(super) fn holds_counter(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Aggregate(aggregate) = plan else {
        return false;
    };
    aggregate.aggr_expr.iter().any(|expr| match expr.clone().unalias_nested().data {
        Expr::AggregateFunction(call) => Counter::of(&call.func).is_some(),
        _ => false,
    })
}

impl AggregateUDFImpl for Counter {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Increase => "increase",
            Kind::Delta => "delta",
            Kind::Rate => "rate",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name();
        let Some((value, rest)) = arguments.split_first() else {
            return plan_err!(
                "{name} takes a value: {name}(value) or {name}(value, time, key, ...)"
            );
        };
        let value = match value {
            kind if kind.is_integer() => DataType::Int64,
            kind if kind.is_numeric() => DataType::Float64,
            other => return plan_err!("{name} takes a number as its value, not {other}"),
        };
        let mut wanted = vec![value];
        if let Some((time, keys)) = rest.split_first() {
            wanted.push(time_type(name, time)?);
            wanted.extend_from_slice(keys);
        }
        Ok(wanted)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let integers = self.kind != Kind::Rate && arguments[0] == DataType::Int64;
        Ok(if integers { DataType::Int64 } else { DataType::Float64 })
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        internal_err!("{} reached execution without its steps planned", self.name())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The type in which times are compared: microseconds, in the argument's zone.
pub(in crate::functions) fn time_type(name: &str, time: &DataType) -> Result<DataType> {
    match time {
        DataType::Timestamp(_, zone) => {
            Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
        }
        DataType::Date32 | DataType::Date64 => Ok(DataType::Timestamp(TimeUnit::Microsecond, None)),
        other => plan_err!("{name} takes a timestamp as its second argument, not {other}"),
    }
}
