//! Casts of numbers to integers round, as in PostgreSQL; DataFusion's cut off.
//!
//! A double goes to the nearest integer, and from the middle to the even one. Literals such as `2.5`
//! are of type `numeric` in PostgreSQL, and go away from zero, as decimals do.

use crate::rewrite::rewrite_where;
use arrow::array::{AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, internal_err};
use datafusion::error::Result;
use datafusion::functions::expr_fn::round;
use datafusion::logical_expr::{
    BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// What doubles are rounded by before they become integers.
pub(crate) const ROUND_TO_EVEN: &str = "round_to_even";

#[derive(Debug, Default)]
pub(crate) struct RoundingCasts;

impl AnalyzerRule for RoundingCasts {
    fn name(&self) -> &'static str {
        "rounding_casts"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_where(plan, to_integer, |schema, expr| match expr {
            Expr::Cast(cast) if cast.field.data_type().is_integer() => rounded(schema, cast),
            other => Ok(Transformed::no(other)),
        })
    }
}

fn to_integer(expr: &Expr) -> bool {
    matches!(expr, Expr::Cast(cast) if cast.field.data_type().is_integer())
}

fn rounded(schema: &DFSchema, cast: Cast) -> Result<Transformed<Expr>> {
    let data_type = cast.expr.get_type(schema)?;
    let rounded = if data_type.is_floating() && !is_numeric(&cast.expr) {
        round_to_even().call(vec![*cast.expr])
    } else if data_type.is_floating() || data_type.is_decimal() {
        round(vec![*cast.expr])
    } else {
        return Ok(Transformed::no(Expr::Cast(cast)));
    };
    Ok(Transformed::yes(Expr::Cast(Cast { expr: Box::new(rounded), ..cast })))
}

/// Whether PostgreSQL would read it as `numeric`: made of literals alone.
fn is_numeric(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) => true,
        Expr::Negative(inner) => is_numeric(inner),
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => is_numeric(left) && is_numeric(right),
        _ => false,
    }
}

pub(crate) fn round_to_even() -> Arc<ScalarUDF> {
    let signature = Signature::exact(vec![DataType::Float64], Volatility::Immutable);
    Arc::new(ScalarUDF::from(RoundToEven { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RoundToEven {
    signature: Signature,
}

impl ScalarUDFImpl for RoundToEven {
    fn name(&self) -> &str {
        ROUND_TO_EVEN
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [numbers] = &ColumnarValue::values_to_arrays(&args.args)?[..] else {
            return internal_err!("{ROUND_TO_EVEN} takes one argument");
        };
        let numbers = numbers.as_primitive::<Float64Type>();
        let rounded: Float64Array = numbers.unary(f64::round_ties_even);
        Ok(ColumnarValue::Array(Arc::new(rounded)))
    }
}
