//! Rewriting of expressions in a plan, whose output keeps its names.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};
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

/// Rewrites every expression of a plan and its subqueries, innermost first. `rewrite` also gets the
/// columns that the expression is over.
pub(crate) fn rewrite_all(
    plan: LogicalPlan,
    rewrite: impl Fn(&DFSchema, Expr) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let done = plan.transform_up_with_subqueries(|plan| {
        let schema = merge_schema(&plan.inputs());
        rewrite_expressions(plan, |expr| rewrite(&schema, expr))
    });
    done.map(|done| done.data)
}

fn rewrite_expressions(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(&rewrite)?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })?;
    if rewritten.transformed {
        rewritten.map_data(LogicalPlan::recompute_schema)
    } else {
        Ok(rewritten)
    }
}
