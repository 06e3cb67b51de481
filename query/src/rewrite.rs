//! Rewriting of the aggregate and window functions of a plan.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
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
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|expr| rewrite(&input, expr))?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })?;
    if rewritten.transformed {
        rewritten.map_data(LogicalPlan::recompute_schema)
    } else {
        Ok(rewritten)
    }
}
