//! Where a column of a plan comes from: a scaled field of a table, or something computed.

use crate::latest::LatestView;
use crate::scan::TableView;
use crate::types::decimals;
use datafusion::common::Column;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};

/// The decimals of the scaled field that `column` of `plan`'s output is, untouched; `None` where
/// it is anything else. An unknown kind of node counts as computing. Only scans of our own tables
/// are believed: other relations, such as the work table of a recursive query, carry a field's
/// metadata over whatever was computed into them.
fn scaled_column(plan: &LogicalPlan, column: &Column) -> Option<u8> {
    let index = plan.schema().maybe_index_of_column(column)?;
    scaled_output(plan, index)
}

fn scaled_output(plan: &LogicalPlan, index: usize) -> Option<u8> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let ours = TableView::of(scan).is_some() || LatestView::of(scan).is_some();
            decimals(scan.projected_schema.as_arrow().fields().get(index)?).filter(|_| ours)
        }
        LogicalPlan::Projection(node) => scaled_expr(&node.input, node.expr.get(index)?),
        LogicalPlan::Aggregate(node) => {
            let grouping = node.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_)));
            let keys = node.group_expr.len();
            if grouping {
                None
            } else if index < keys {
                scaled_expr(&node.input, &node.group_expr[index])
            } else {
                scaled_selection(&node.input, node.aggr_expr.get(index - keys)?)
            }
        }
        LogicalPlan::SubqueryAlias(node) => scaled_output(&node.input, index),
        LogicalPlan::Filter(node) => scaled_output(&node.input, index),
        LogicalPlan::Sort(node) => scaled_output(&node.input, index),
        LogicalPlan::Limit(node) => scaled_output(&node.input, index),
        LogicalPlan::Repartition(node) => scaled_output(&node.input, index),
        LogicalPlan::Distinct(Distinct::All(input)) => scaled_output(input, index),
        LogicalPlan::Distinct(Distinct::On(node)) => {
            scaled_expr(&node.input, node.select_expr.get(index)?)
        }
        LogicalPlan::Window(node) if index < node.input.schema().fields().len() => {
            scaled_output(&node.input, index)
        }
        LogicalPlan::Join(_) => {
            scaled_column(child_with(plan, index)?, &output_column(plan, index))
        }
        LogicalPlan::Union(node) => {
            let mut scales = node.inputs.iter().map(|input| scaled_output(input, index));
            let first = scales.next()??;
            scales.all(|scale| scale == Some(first)).then_some(first)
        }
        _ => None,
    }
}

fn output_column(plan: &LogicalPlan, index: usize) -> Column {
    Column::from(plan.schema().qualified_field(index))
}

/// The one input whose own column the output column `index` is.
fn child_with(plan: &LogicalPlan, index: usize) -> Option<&LogicalPlan> {
    let column = output_column(plan, index);
    let mut holders = plan.inputs().into_iter().filter(|input| input.schema().has_column(&column));
    let holder = holders.next()?;
    holders.next().is_none().then_some(holder)
}

/// The decimals of an expression that is a scaled field under any names.
pub(crate) fn scaled_expr(input: &LogicalPlan, expr: &Expr) -> Option<u8> {
    match expr {
        Expr::Column(column) => scaled_column(input, column),
        Expr::Alias(alias) => scaled_expr(input, &alias.expr),
        Expr::Cast(cast) if cast.field.data_type() == &arrow::datatypes::DataType::Float64 => {
            scaled_expr(input, &cast.expr)
        }
        _ => None,
    }
}

/// The decimals of an aggregate that answers with one of its argument's own values.
fn scaled_selection(input: &LogicalPlan, expr: &Expr) -> Option<u8> {
    match expr {
        Expr::Alias(alias) => scaled_selection(input, &alias.expr),
        Expr::AggregateFunction(aggregate) => {
            let selects = ["min", "max", "first_value", "last_value", "first", "last"];
            let argument = aggregate.params.args.first()?;
            let scale = scaled_expr(input, argument)?;
            selects.contains(&aggregate.func.name()).then_some(scale)
        }
        _ => None,
    }
}
