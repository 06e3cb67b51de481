//! Queries over the catalog that stand for a value of each row around them.

use super::{aggregates, catalog_table, folded, is_plain, number, tables};
use crate::dialect::{call, is_column};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, LimitClause, Query, Select, SelectItem, SetExpr, TableFactor,
    Visit, VisitMut, Visitor, VisitorMut,
};
use std::ops::ControlFlow;

/// A query over tables of the catalog that stands for a value, and depends on the one around it,
/// says that it has one row. Of any other one it is found out.
pub(super) fn one_row(query: &mut Query) {
    let SetExpr::Select(select) = &mut *query.body else { return };
    let all_of_catalog =
        !select.from.is_empty() && tables(select).all(|table| catalog_table(table).is_some());
    let is_cut = match &query.limit_clause {
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            offset.is_some() || limit.as_ref().is_some_and(|limit| *limit != number(1))
        }
        Some(_) => true,
        None => false,
    };
    if !all_of_catalog || !is_plain(select) || query.order_by.is_some() || is_cut {
        return;
    }
    if !is_correlated(select) {
        return;
    }
    inner_only(select);
    let [item] = &mut select.projection[..] else { return };
    if aggregates(item) {
        return;
    }
    if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
        *expr = call("first_value", [expr.clone()]);
        query.limit_clause = None;
    }
}

/// Whether a select names a table that it does not read.
fn is_correlated(select: &Select) -> bool {
    struct Outer(Vec<String>);

    impl Visitor for Outer {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::CompoundIdentifier(names) if is_of_other(&self.0, names) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }

    let own = tables(select).filter_map(table_alias).collect();
    select.visit(&mut Outer(own)).is_break()
}

/// Whether the table of a column is none of these.
fn is_of_other(own: &[String], column: &[Ident]) -> bool {
    let table = column.len().checked_sub(2).map(|at| folded(&column[at]));
    table.is_some_and(|table| !own.contains(&table))
}

/// Where a filter says that a column of the query around equals one of its own, the other parts say
/// the same of its own: DataFusion follows equalities alone.
fn inner_only(select: &mut Select) {
    let own: Vec<String> = tables(select).filter_map(table_alias).collect();
    let is_own = |expr: &Expr| match expr {
        Expr::CompoundIdentifier(names) => !is_of_other(&own, names),
        _ => false,
    };
    let Some(filter) = &mut select.selection else { return };
    let mut equal = Vec::new();
    equalities(filter, &mut |left, right| match (is_own(left), is_own(right)) {
        (true, false) if is_column(right) => equal.push((right.clone(), left.clone())),
        (false, true) if is_column(left) => equal.push((left.clone(), right.clone())),
        _ => {}
    });
    let _: ControlFlow<()> = filter.visit(&mut Inner { equal });
}

fn table_alias(table: &TableFactor) -> Option<String> {
    let TableFactor::Table { name, alias, .. } = table else { return None };
    match alias {
        Some(alias) => Some(folded(&alias.name)),
        None => name.0.last()?.as_ident().map(folded),
    }
}

fn equalities(filter: &Expr, found: &mut impl FnMut(&Expr, &Expr)) {
    match filter {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            equalities(left, found);
            equalities(right, found);
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => found(left, right),
        _ => {}
    }
}

/// Puts columns of the query itself in place of those that equal them.
struct Inner {
    equal: Vec<(Expr, Expr)>,
}

impl VisitorMut for Inner {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::BinaryOp { left, op: BinaryOperator::NotEq, right } = expr {
            for side in [left, right] {
                let other = self.equal.iter().find(|(outer, _)| *outer == **side);
                if let Some((_, inner)) = other {
                    **side = inner.clone();
                }
            }
        }
        ControlFlow::Continue(())
    }
}
