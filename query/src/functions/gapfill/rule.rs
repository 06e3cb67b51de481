//! The analyzer rule that puts a `GapFill` above aggregates by `time_bucket_gapfill`.

use super::Fill;
use super::bounds::Bounds;
use super::call::{Bucket, Filled};
use super::node::{GapFill, Grid};
use arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::Column;
use datafusion::common::config::ConfigOptions;
use datafusion::common::plan_err;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::functions::datetime::date_bin;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, Cast, Expr, ExprSchemable, Extension, Filter, LogicalPlan, Projection,
};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// Plans `time_bucket_gapfill`, `locf` and `interpolate`.
#[derive(Debug, Default)]
pub(in crate::functions) struct PlanGapFill;

impl AnalyzerRule for PlanGapFill {
    fn name(&self) -> &'static str {
        "plan_gapfill"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Projection(node) if aggregate_below(&node.input).is_some() => {
                Ok(Transformed::yes(planned(node)?))
            }
            other => Ok(Transformed::no(other)),
        })
        .map(|done| done.data)
    }
}

/// The aggregate by `time_bucket_gapfill` whose rows a select list reads.
fn aggregate_below(plan: &LogicalPlan) -> Option<&Aggregate> {
    match plan {
        LogicalPlan::Aggregate(node) => {
            node.group_expr.iter().any(|expr| Bucket::called(expr).is_some()).then_some(node)
        }
        LogicalPlan::Filter(node) => aggregate_below(&node.input),
        LogicalPlan::Window(node) => aggregate_below(&node.input),
        _ => None,
    }
}

fn planned(select: Projection) -> Result<LogicalPlan> {
    let mut fills = Fills::default();
    let plan = LogicalPlan::Projection(select);
    let LogicalPlan::Projection(select) = fills.replaced(plan)? else {
        return plan_err!("a select list stays one");
    };
    let input = filled(Arc::unwrap_or_clone(select.input), &mut fills)?;
    Ok(LogicalPlan::Projection(Projection::try_new(select.expr, Arc::new(input))?))
}

/// The plan below a select list with a `GapFill` above the aggregate and its HAVING.
fn filled(plan: LogicalPlan, fills: &mut Fills) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Window(_) => {
            let LogicalPlan::Window(mut node) = fills.replaced(plan)? else {
                return plan_err!("a window stays one");
            };
            node.input = Arc::new(filled(Arc::unwrap_or_clone(node.input), fills)?);
            LogicalPlan::Window(node).recompute_schema()
        }
        LogicalPlan::Filter(node) if is_above_window(&node.input) => {
            let input = filled(Arc::unwrap_or_clone(node.input), fills)?;
            Ok(LogicalPlan::Filter(Filter::try_new(node.predicate, Arc::new(input))?))
        }
        aggregated => above_aggregate(aggregated, fills),
    }
}

fn is_above_window(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Window(_) => true,
        LogicalPlan::Filter(node) => is_above_window(&node.input),
        _ => false,
    }
}

/// The calls of `locf` and `interpolate` found so far, which become columns.
#[derive(Default)]
struct Fills {
    calls: Vec<(Fill, Expr)>,
}

impl Fills {
    fn name(index: usize, fill: Fill) -> String {
        format!("{} {index}", fill.name())
    }

    /// The node with its calls replaced by the columns they become.
    fn replaced(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let names = NamePreserver::new(&plan);
        let replaced = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let replaced = expr.transform_up(|expr| Ok(self.column(expr)))?;
            Ok(replaced.update_data(|expr| name.restore(expr)))
        });
        replaced.map(|replaced| replaced.data)
    }

    fn column(&mut self, expr: Expr) -> Transformed<Expr> {
        let Some((fill, value)) = Filled::called(&expr) else {
            return Transformed::no(expr);
        };
        let call = (fill, value.clone());
        let index = self.calls.iter().position(|known| *known == call).unwrap_or_else(|| {
            self.calls.push(call);
            self.calls.len() - 1
        });
        Transformed::yes(Expr::Column(Column::from_name(Self::name(index, fill))))
    }
}

fn above_aggregate(plan: LogicalPlan, fills: &Fills) -> Result<LogicalPlan> {
    let (plan, grid, keys) = binned(plan)?;
    let columns = plan.schema().columns().into_iter().map(Expr::Column);
    let columns: Vec<Expr> = columns.chain(filled_columns(&plan, fills)?).collect();
    let unfilled = columns.len() - fills.calls.len();
    let modes = std::iter::repeat_n(None, unfilled);
    let modes = modes.chain(fills.calls.iter().map(|(fill, _)| Some(*fill))).collect();
    let input = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?);
    let node = Arc::new(GapFill::try_new(grid, keys, modes, input)?);
    Ok(LogicalPlan::Extension(Extension { node }))
}

/// What is to be filled, as columns beside the aggregate's.
fn filled_columns(plan: &LogicalPlan, fills: &Fills) -> Result<Vec<Expr>> {
    let columns = fills.calls.iter().enumerate().map(|(index, (fill, value))| {
        let value = match fill {
            Fill::Locf => value.clone(),
            Fill::Interpolate => value.clone().cast_to(&DataType::Float64, plan.schema())?,
        };
        Ok(value.alias(Fills::name(index, *fill)))
    });
    columns.collect()
}

/// The aggregate, under its HAVING, grouped by plain buckets; their grid; and the positions of the
/// other keys.
fn binned(plan: LogicalPlan) -> Result<(LogicalPlan, Grid, Vec<usize>)> {
    let mut node = match plan {
        LogicalPlan::Aggregate(node) => node,
        LogicalPlan::Filter(node) => {
            let (input, grid, keys) = binned(Arc::unwrap_or_clone(node.input))?;
            let having = Filter::try_new(node.predicate, Arc::new(input))?;
            return Ok((LogicalPlan::Filter(having), grid, keys));
        }
        _ => return plan_err!("time_bucket_gapfill without its aggregate"),
    };
    let calls = node.group_expr.iter().filter(|expr| Bucket::called(expr).is_some());
    let bucket = node.group_expr.iter().position(|expr| Bucket::called(expr).is_some());
    let (Some(bucket), 1) = (bucket, calls.count()) else {
        return plan_err!("time_bucket_gapfill stands in GROUP BY once");
    };
    let keys = (0..node.group_expr.len()).filter(|index| *index != bucket).collect();
    let call = &node.group_expr[bucket];
    let (relation, name) = call.qualified_name();
    let arguments = Bucket::called(call).unwrap_or_default().to_vec();
    let (width, time) = (arguments[0].clone(), arguments[1].clone());
    let bounds = bounds(&node, &arguments)?;
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    let width = Expr::Cast(Cast::new(Box::new(width), interval));
    node.group_expr[bucket] =
        date_bin().call(vec![width.clone(), time]).alias_qualified(relation, name);
    let plan = Aggregate::try_new(node.input, node.group_expr, node.aggr_expr)?;
    Ok((LogicalPlan::Aggregate(plan), Grid { bucket, width, bounds }, keys))
}

fn bounds(node: &Aggregate, arguments: &[Expr]) -> Result<Bounds> {
    let time_type = arguments[1].get_type(node.input.schema())?;
    let cast = |expr: &Expr| Expr::Cast(Cast::new(Box::new(expr.clone()), time_type.clone()));
    let bounds = match arguments {
        [_, _, start, finish] => Bounds { starts: vec![cast(start)], finishes: vec![cast(finish)] },
        [_, Expr::Column(column)] => Bounds::of(&node.input, column, &time_type),
        _ => Bounds::default(),
    };
    if bounds.starts.is_empty() || bounds.finishes.is_empty() {
        return plan_err!(
            "time_bucket_gapfill cannot tell where its buckets begin and end: bound {} in WHERE \
             from both sides by constants, or give the bounds, \
             time_bucket_gapfill(width, time, start, finish)",
            arguments[1]
        );
    }
    Ok(bounds)
}
