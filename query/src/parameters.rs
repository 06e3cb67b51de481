//! The types of a statement's parameters `$1, $2, ...`.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};
use std::collections::BTreeMap;

/// By number: what the statement needs each parameter to be, `None` where it does not say.
pub(crate) fn parameter_types(plan: &LogicalPlan) -> Result<Vec<Option<DataType>>> {
    let mut types: BTreeMap<usize, Option<DataType>> = BTreeMap::new();
    for (name, data_type) in plan.get_parameter_types()? {
        types.insert(number(&name), data_type.map(plain));
    }
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for bound in [&limit.skip, &limit.fetch].into_iter().flatten() {
                if let Expr::Placeholder(placeholder) = &**bound {
                    let entry = types.entry(number(&placeholder.id)).or_default();
                    entry.get_or_insert(DataType::Int64);
                }
            }
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Cast(cast) = expr
                    && let Expr::Placeholder(placeholder) = &*cast.expr
                {
                    let entry = types.entry(number(&placeholder.id)).or_default();
                    entry.get_or_insert_with(|| plain(cast.field.data_type().clone()));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(types.into_values().collect())
}

fn number(name: &str) -> usize {
    name.trim_start_matches('$').parse().unwrap_or(usize::MAX)
}

/// A parameter compared with a tag is a text.
fn plain(data_type: DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => *values,
        DataType::Utf8View => DataType::Utf8,
        other => other,
    }
}
