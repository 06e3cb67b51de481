//! Queries of tables that have never rows: what would be computed of them need not be understood.

use super::{aggregates, case, catalog_table, column_name, is_call, is_plain, tables, text};
use crate::dialect::{call, cast, is_column};
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, DataType, Expr, Ident, JoinOperator, Query, Select,
    SelectItem, SetExpr, TableFactor, TableWithJoins, Value, Visit, Visitor,
};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Tables of the catalog that have never rows.
const EMPTY: [&str; 19] = [
    "pg_attrdef",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_inherits",
    "pg_partitioned_table",
    "pg_policy",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_sequence",
    "pg_statistic_ext",
    "pg_subscription",
    "pg_subscription_rel",
    "pg_trigger",
    "pg_user_mapping",
];

/// Whether a select reads a table that has never rows, in a way that leaves it none.
pub(super) fn has_no_rows(select: &Select) -> bool {
    is_plain(select)
        && (select.from.iter().any(is_empty) || is_of_foreign_keys(select))
        && !select.projection.iter().any(aggregates)
}

fn is_empty(from: &TableWithJoins) -> bool {
    let mut empty = is_empty_table(&from.relation);
    for join in &from.joins {
        empty = match &join.join_operator {
            JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => {
                empty || is_empty_table(&join.relation)
            }
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => empty,
            _ => return false,
        };
    }
    empty
}

fn is_empty_table(table: &TableFactor) -> bool {
    catalog_table(table).is_some_and(|name| EMPTY.contains(&name.as_str()))
}

/// Whether it asks for foreign keys, of which there are none.
fn is_of_foreign_keys(select: &Select) -> bool {
    select.selection.as_ref().is_some_and(is_foreign_key)
        && tables(select).any(|table| catalog_table(table).as_deref() == Some("pg_constraint"))
}

fn is_foreign_key(filter: &Expr) -> bool {
    match filter {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            is_foreign_key(left) || is_foreign_key(right)
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            is_column(left) && column_name(left) == "contype" && **right == text("f")
        }
        Expr::Nested(inner) => is_foreign_key(inner),
        _ => false,
    }
}

/// NULL in place of what would be computed of no rows, under names that differ.
pub(super) fn compute_nothing(item: &mut SelectItem, names: &mut HashSet<String>) {
    let (expr, mut name) = match item {
        SelectItem::UnnamedExpr(expr) if !is_column(expr) => (&*expr, column_name(expr)),
        SelectItem::ExprWithAlias { expr, alias } if !is_column(expr) => {
            (&*expr, alias.value.clone())
        }
        _ => return,
    };
    if let Some(nothing) = nothing(expr) {
        while !names.insert(name.clone()) {
            name.push('_');
        }
        *item = SelectItem::ExprWithAlias { expr: nothing, alias: Ident::with_quote('"', name) };
    }
}

/// What stands for a query of a table that has never rows.
pub(super) fn without_rows(query: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = &*query.body else { return None };
    let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
        &select.projection[..]
    else {
        return None;
    };
    if is_call(item, "array_agg") && is_plain(select) && select.from.iter().any(is_empty) {
        let element = ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None);
        return Some(cast(nothing(query)?, &DataType::Array(element)));
    }
    if has_no_rows(select) { nothing(query) } else { None }
}

/// NULL that has the parameters of what it stands for, with their types.
fn nothing(of: &impl Visit) -> Option<Expr> {
    let mut parameters = Parameters::default();
    if of.visit(&mut parameters).is_break() {
        return None;
    }
    let null = Expr::value(Value::Null);
    if parameters.typed.is_empty() {
        return Some(null);
    }
    let never = Expr::value(Value::Boolean(false));
    Some(case(never, call("concat", parameters.typed), Some(null)))
}

/// Parameters with their casts; it stops at one without.
#[derive(Default)]
struct Parameters {
    typed: Vec<Expr>,
    in_cast: bool,
}

impl Visitor for Parameters {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let is_parameter = |expr: &Expr| matches!(expr, Expr::Value(value) if matches!(value.value, Value::Placeholder(_)));
        match expr {
            Expr::Cast { expr: of, .. } if is_parameter(of) => {
                self.typed.push(expr.clone());
                self.in_cast = true;
            }
            parameter if is_parameter(parameter) && !self.in_cast => return ControlFlow::Break(()),
            _ => self.in_cast = false,
        }
        ControlFlow::Continue(())
    }
}
