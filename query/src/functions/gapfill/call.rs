//! The functions as statements call them. None is ever computed: the rule plans them away, and
//! what it leaves stands where it has no meaning.

use super::Fill;
use arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// `time_bucket_gapfill(width, time [, start, finish])`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::functions) struct Bucket {
    aliases: Vec<String>,
    signature: Signature,
}

impl Bucket {
    pub(in crate::functions) fn new() -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { aliases: vec!["gapfill".to_owned()], signature }
    }

    /// The arguments of a call of it.
    pub(super) fn called(expr: &Expr) -> Option<&[Expr]> {
        match expr {
            Expr::Alias(alias) => Self::called(&alias.expr),
            Expr::ScalarFunction(call) => {
                call.func.inner().downcast_ref::<Self>().map(|_| call.args.as_slice())
            }
            _ => None,
        }
    }
}

impl ScalarUDFImpl for Bucket {
    fn name(&self) -> &'static str {
        "time_bucket_gapfill"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let width = DataType::Interval(IntervalUnit::MonthDayNano);
        match arguments {
            [_, time @ DataType::Timestamp(..)] => Ok(vec![width, time.clone()]),
            [_, time @ DataType::Timestamp(..), _, _] => {
                Ok(vec![width, time.clone(), time.clone(), time.clone()])
            }
            _ => plan_err!(
                "time_bucket_gapfill takes a width, a timestamp, and where the buckets begin and \
                 end: time_bucket_gapfill(width, time [, start, finish])"
            ),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[1].clone())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        plan_err!(
            "time_bucket_gapfill stands in GROUP BY, once and by itself; for the bucket alone \
             there is time_bucket"
        )
    }
}

/// `locf(x)` and `interpolate(x)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::functions) struct Filled {
    fill: Fill,
    signature: Signature,
}

impl Filled {
    pub(in crate::functions) fn locf() -> Self {
        Self { fill: Fill::Locf, signature: Signature::any(1, Volatility::Immutable) }
    }

    pub(in crate::functions) fn interpolate() -> Self {
        let signature = Signature::uniform(1, vec![DataType::Float64], Volatility::Immutable);
        Self { fill: Fill::Interpolate, signature }
    }

    /// How a call of one of them fills, and what.
    pub(super) fn called(expr: &Expr) -> Option<(Fill, &Expr)> {
        let Expr::ScalarFunction(call) = expr else {
            return None;
        };
        let function = call.func.inner().downcast_ref::<Self>()?;
        Some((function.fill, call.args.first()?))
    }
}

impl ScalarUDFImpl for Filled {
    fn name(&self) -> &str {
        self.fill.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let name = self.name();
        plan_err!("{name} stands in the SELECT list of a query that groups by time_bucket_gapfill")
    }
}
