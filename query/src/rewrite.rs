//! Rewriting of expressions in a plan, whose output keeps its names.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};
use std::sync::Arc;

/// Rewrites every expression inside the aggregate and window nodes of a plan and its subqueries,
/// innermost first. `rewrite` also gets the node's input. Output names stay as they are.
pub(crate) fn rewrite_aggregates(
    plan: LogicalPlan,
    rewrite: impl Fn(&LogicalPlan, Expr) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| rewrite_node(plan, &rewrite)).map(|done| done.data)
}

fn rewrite_node(
    plan: LogicalPlan,
    rewrite: impl Fn(&LogicalPlan, Expr) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let input = match &plan {
        LogicalPlan::Aggregate(node) => Arc::clone(&node.input),
        LogicalPlan::Window(node) => Arc::clone(&node.input),
        _ => return Ok(Transformed::no(plan)),
    };
    rewrite_expressions(plan, |expr| rewrite(&input, expr))
}

/// Rewrites the expressions of a plan and its subqueries that `concerns` some part of, innermost
/// first. `rewrite` also gets the columns that the expression is over. Where nothing is concerned a
/// plan costs no more than a look at it.
pub(crate) fn rewrite_where(
    plan: LogicalPlan,
    concerns: impl Fn(&Expr) -> bool,
    rewrite: impl Fn(&DFSchema, Expr) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let mut concerned = false;
    plan.apply_with_subqueries(|node| {
        concerned |= concerns_node(node, &concerns)?;
        Ok(if concerned { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if !concerned {
        return Ok(plan);
    }
    let done = plan.transform_up_with_subqueries(|node| {
        if !concerns_node(&node, &concerns)? {
            return Ok(Transformed::no(node));
        }
        let schema = columns_below(&node)?;
        rewrite_expressions(node, |expr| rewrite(&schema, expr))
    });
    done.map(|done| done.data)
}

/// The columns that a node's expressions are over; a scan's filters are over all of its table's.
pub(crate) fn columns_below(node: &LogicalPlan) -> Result<DFSchema> {
    match node {
        LogicalPlan::TableScan(scan) => {
            DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())
        }
        node => Ok(merge_schema(&node.inputs())),
    }
}

/// Whether an operator tells which of two values is greater, or whether they are one.
pub(crate) fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn concerns_node(node: &LogicalPlan, concerns: impl Fn(&Expr) -> bool) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found = found || expr.exists(|part| Ok(concerns(part)))?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn rewrite_expressions(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&plan);
    let keeping = |expr: Expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(&rewrite)?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    };
    let rewritten = plan.map_expressions(|expr| match expr {
        // Its members are what has names.
        Expr::GroupingSet(_) => expr.map_children(keeping),
        expr => keeping(expr),
    })?;
    if rewritten.transformed {
        rewritten.map_data(LogicalPlan::recompute_schema)
    } else {
        Ok(rewritten)
    }
}
