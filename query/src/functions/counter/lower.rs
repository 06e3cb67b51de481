//! The optimizer rule that plans what is left of counters: steps in a window below the aggregate,
//! and their sum in the aggregate.

use super::function::{Counter, Kind, holds_counter};
use super::rate::RateOfSteps;
use super::step::{Step, What};
use crate::exact::{Ask, ExactAggregate};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, WindowFrame,
    WindowFrameBound, WindowFrameUnits, WindowUDF, when,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// Replaces counters by sums over steps. Runs after every rule that would rather see a counter.
#[derive(Debug, Default)]
pub(in crate::functions) struct LowerCounters;

impl OptimizerRule for LowerCounters {
    fn name(&self) -> &'static str {
        "lower_counters"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        if !holds_counter(&plan) {
            return Ok(Transformed::no(plan));
        }
        let names = NamePreserver::new(&plan);
        let LogicalPlan::Aggregate(aggregate) = plan else {
            return Ok(Transformed::no(plan));
        };
        let mut steps = Vec::new();
        let lowered = aggregate.aggr_expr.into_iter().map(|expr| {
            let name = names.save(&expr);
            let lowered = expr.transform_up(|expr| lower(&aggregate.input, expr, &mut steps))?;
            Ok(name.restore(lowered.data))
        });
        let lowered = lowered.collect::<Result<Vec<_>>>()?;
        let input = LogicalPlanBuilder::window_plan(Arc::unwrap_or_clone(aggregate.input), steps)?;
        let aggregate = Aggregate::try_new(Arc::new(input), aggregate.group_expr, lowered)?;
        Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
    }
}

/// The sum in place of a counter; the windows it reads are added to `steps`.
fn lower(input: &LogicalPlan, expr: Expr, steps: &mut Vec<Expr>) -> Result<Transformed<Expr>> {
    let Expr::AggregateFunction(call) = expr else {
        return Ok(Transformed::no(expr));
    };
    let Some(Counter { kind, decimals, .. }) = Counter::of(&call.func) else {
        return Ok(Transformed::no(Expr::AggregateFunction(call)));
    };
    let mut column = |what| {
        let step = step(what, *decimals, &call)?;
        let column = Expr::Column(Column::from_name(step.schema_name().to_string()));
        if !steps.contains(&step) {
            steps.push(step);
        }
        Ok::<_, datafusion::error::DataFusionError>(column)
    };
    let step = column(if *kind == Kind::Delta { What::Delta } else { What::Increase })?;
    let integers = call.params.args[0].get_type(input.schema())? == DataType::Int64;
    let (function, arguments) = match (kind, decimals) {
        (Kind::Rate, _) => {
            let keys = call.params.args[2..].iter().cloned();
            let arguments = [step, column(What::Micros)?].into_iter().chain(keys).collect();
            (Arc::new(AggregateUDF::from(RateOfSteps::new(*decimals))), arguments)
        }
        (_, Some(decimals)) => {
            let sum = ExactAggregate::sum_of_stored(*decimals);
            (Arc::new(AggregateUDF::from(sum)), vec![step])
        }
        (_, None) if integers => {
            let sum = ExactAggregate::new(Ask::Sum, None);
            (Arc::new(AggregateUDF::from(sum)), vec![step])
        }
        (_, None) => (sum_udaf(), vec![step]),
    };
    let sum = AggregateFunction::new_udf(function, arguments, false, None, Vec::new(), None);
    Ok(Transformed::yes(Expr::AggregateFunction(sum)))
}

/// The steps of a call as a window: each series by time, the rows that fail the call's FILTER
/// without a value.
fn step(what: What, decimals: Option<u8>, call: &AggregateFunction) -> Result<Expr> {
    let [value, time, keys @ ..] = call.params.args.as_slice() else {
        return datafusion::common::internal_err!("a counter without its series");
    };
    let value = match &call.params.filter {
        Some(filter) => when(filter.as_ref().clone(), value.clone()).end()?,
        None => value.clone(),
    };
    let window = WindowFunction {
        fun: Arc::new(WindowUDF::from(Step::new(what, decimals))).into(),
        params: WindowFunctionParams {
            args: vec![value, time.clone()],
            partition_by: keys.to_vec(),
            order_by: vec![time.clone().sort(true, true)],
            window_frame: WindowFrame::new_bounds(
                WindowFrameUnits::Rows,
                WindowFrameBound::Preceding(ScalarValue::UInt64(Some(1))),
                WindowFrameBound::CurrentRow,
            ),
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    };
    Ok(Expr::from(window))
}
