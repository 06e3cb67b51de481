//! The analyzer rule that puts the exact aggregates into every plan.
//!
//! It runs before types are coerced, because coercion hides an integer argument of `avg` under a
//! cast to double.

use super::aggregate::{Ask, ExactAggregate};
use super::lineage::scaled_expr;
use crate::rewrite::rewrite_aggregates;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{
    AggregateUDF, Cast, Expr, ExprSchemable, LogicalPlan, WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// Rewrites `sum` and `avg` over integers and bare scaled fields into exact ones.
#[derive(Debug, Default)]
pub struct ExactSums;

impl AnalyzerRule for ExactSums {
    fn name(&self) -> &'static str {
        "exact_sums"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_aggregates(plan, rewrite_expr)
    }
}

fn rewrite_expr(input: &LogicalPlan, expr: Expr) -> Result<Transformed<Expr>> {
    match expr {
        Expr::AggregateFunction(mut call) => {
            let changed = replace(input, &call.func.clone(), &mut call.params.args)?;
            Ok(match changed {
                Replacement::None => Transformed::no(Expr::AggregateFunction(call)),
                Replacement::Argument => Transformed::yes(Expr::AggregateFunction(call)),
                Replacement::Function(func) => {
                    Transformed::yes(Expr::AggregateFunction(AggregateFunction { func, ..call }))
                }
            })
        }
        Expr::WindowFunction(mut call) => {
            let WindowFunctionDefinition::AggregateUDF(function) = call.fun.clone() else {
                return Ok(Transformed::no(Expr::WindowFunction(call)));
            };
            Ok(match replace(input, &function, &mut call.params.args)? {
                Replacement::None => Transformed::no(Expr::WindowFunction(call)),
                Replacement::Argument => Transformed::yes(Expr::WindowFunction(call)),
                Replacement::Function(func) => {
                    let fun = WindowFunctionDefinition::AggregateUDF(func);
                    let params = call.params;
                    Transformed::yes(Expr::from(WindowFunction { fun, params }))
                }
            })
        }
        other => Ok(Transformed::no(other)),
    }
}

enum Replacement {
    None,
    /// The argument was widened, the function stays.
    Argument,
    Function(Arc<AggregateUDF>),
}

fn replace(
    input: &LogicalPlan,
    function: &AggregateUDF,
    arguments: &mut [Expr],
) -> Result<Replacement> {
    let ask = match function.name() {
        "sum" => Ask::Sum,
        "avg" => Ask::Avg,
        _ => return Ok(Replacement::None),
    };
    let [argument] = arguments else {
        return Ok(Replacement::None);
    };
    let exact = |decimals| {
        let function = AggregateUDF::from(ExactAggregate::new(ask, decimals));
        Ok(Replacement::Function(Arc::new(function)))
    };
    if let Some(decimals) = scaled_expr(input, argument) {
        return exact(Some(decimals));
    }
    match argument.get_type(input.schema())? {
        kind if kind.is_integer() => exact(None),
        // A narrow decimal can only come from a cast; its own sum would overflow silently.
        DataType::Decimal32(digits, scale) | DataType::Decimal64(digits, scale) => {
            let wide = DataType::Decimal128(digits, scale);
            *argument = Expr::Cast(Cast::new(Box::new(argument.clone()), wide));
            Ok(Replacement::Argument)
        }
        _ => Ok(Replacement::None),
    }
}
