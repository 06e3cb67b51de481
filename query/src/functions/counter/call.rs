//! The analyzer rule that completes calls of functions that know series: the time and identity of
//! the value's table become arguments, and a scaled field's decimals part of a counter.

use super::function::Counter;
use super::series::{Lost, SeriesColumns};
use crate::exact::scaled_expr;
use crate::functions::prom::Extrapolated;
use crate::rewrite::rewrite_aggregates;
use datafusion::common::config::ConfigOptions;
use datafusion::common::plan_err;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{AggregateUDF, Expr, LogicalPlan, WindowFunctionDefinition};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// Completes `increase(v)` to `increase(v, time, key...)`.
#[derive(Debug, Default)]
pub(in crate::functions) struct SeriesArguments;

impl AnalyzerRule for SeriesArguments {
    fn name(&self) -> &'static str {
        "series_arguments"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_aggregates(plan, |input, expr| match expr {
            Expr::AggregateFunction(call) => completed(input, call),
            Expr::WindowFunction(call) => match &call.fun {
                WindowFunctionDefinition::AggregateUDF(function)
                    if own_arguments(function).is_some() =>
                {
                    let name = function.name();
                    plan_err!("{name} is not a window function: leave out OVER and group the rows")
                }
                _ => Ok(Transformed::no(Expr::WindowFunction(call))),
            },
            other => Ok(Transformed::no(other)),
        })
    }
}

/// How many arguments come before the series of a function that knows them.
fn own_arguments(function: &AggregateUDF) -> Option<usize> {
    let counter = Counter::of(function).map(|_| 1);
    counter.or(Extrapolated::is(function).then_some(2))
}

fn completed(input: &LogicalPlan, mut call: AggregateFunction) -> Result<Transformed<Expr>> {
    let Some(own) = own_arguments(&call.func) else {
        return Ok(Transformed::no(Expr::AggregateFunction(call)));
    };
    refuse_clauses(call.func.name(), &call.params)?;
    let args = &mut call.params.args;
    if args.len() == own {
        let added = series_arguments(&call.func, input, args)?;
        args.extend(added);
    }
    if let Some(counter) = Counter::of(&call.func) {
        let counter = Counter::new(counter.kind, scaled_expr(input, &args[0]));
        call.func = Arc::new(AggregateUDF::from(counter));
    }
    Ok(Transformed::yes(Expr::AggregateFunction(call)))
}

fn refuse_clauses(name: &str, params: &AggregateFunctionParams) -> Result<()> {
    if params.distinct {
        return plan_err!("{name}(DISTINCT ...) is not supported: equal samples are steps of zero");
    }
    if !params.order_by.is_empty() {
        return plan_err!("{name}(... ORDER BY ...) is not supported: samples are taken by time");
    }
    if params.null_treatment.is_some() {
        return plan_err!("{name} always ignores NULL: leave out IGNORE or RESPECT NULLS");
    }
    Ok(())
}

fn series_arguments(
    function: &AggregateUDF,
    input: &LogicalPlan,
    given: &[Expr],
) -> Result<Vec<Expr>> {
    let name = function.name();
    let value = &given[0];
    let written = if given.len() == 1 { value.to_string() } else { format!("{value}, window") };
    let columns = match SeriesColumns::of(input, value) {
        Ok(columns) => columns,
        Err(Lost::NoTable) => {
            return plan_err!(
                "{name}({written}) cannot tell the series of its value, which does not come from \
                 the rows of one table: name the time and the columns that tell series apart, \
                 {name}({written}, time, key, ...)"
            );
        }
        Err(Lost::Dropped(column)) => {
            return plan_err!(
                "{name}({written}) needs {column:?} to tell series apart, which the subquery \
                 leaves out: select it there, or name what tells series apart, \
                 {name}({written}, time, key, ...)"
            );
        }
    };
    let column = |index| Expr::Column(input.schema().qualified_field(index).into());
    Ok(std::iter::once(columns.time).chain(columns.identity).map(column).collect())
}
