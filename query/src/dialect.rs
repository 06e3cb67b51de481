//! What PostgreSQL writes and DataFusion does not read, put into words that it does.
//!
//! ```text
//! a LIKE 'x/_' ESCAPE '/'            a LIKE 'x\_'
//! ARRAY(SELECT a FROM t)             (SELECT array_agg(a) FROM t), which is NULL where that is empty
//! WHERE pg_table_is_visible(c.oid)   c.relnamespace IN (the catalog and the usual schema)
//! quote_ident(table_schema) IN ('')  IN (the usual schema): what the parser makes of Grafana's way to
//!                                    ask for the search path
//! ```

use crate::catalog::SCHEMA;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, SelectItem, SetExpr,
    Statement, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use std::ops::ControlFlow;

const ESCAPE: char = '\\';

pub(crate) fn rewrite(statement: &mut Statement) {
    let _: ControlFlow<()> = statement.visit(&mut Patterns);
    let _: ControlFlow<()> = statement.visit(&mut Filters);
}

const GRAFANAS: &str = "quote_ident(table_schema)";

/// Patterns with another escape than DataFusion's, and Grafana's search path.
struct Patterns;

impl VisitorMut for Patterns {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } =
            expr
            && let Some(escape) = escape_char.as_ref().and_then(one_character)
            && let Expr::Value(value) = &mut **pattern
            && let Value::SingleQuotedString(text) = &mut value.value
        {
            *text = escaped(text, escape);
            *escape_char = None;
        }
        if let Expr::InList { expr, list, .. } = expr
            && let [Expr::Value(path)] = &mut list[..]
            && path.value == Value::SingleQuotedString(String::new())
            && expr.to_string() == GRAFANAS
        {
            path.value = Value::SingleQuotedString(SCHEMA.to_owned());
        }
        if let Some(query) = array_of_query(expr) {
            *expr = Expr::Subquery(query);
        }
        ControlFlow::Continue(())
    }
}

/// The query whose one row is the array. What it is correlated by stays at its own level, where
/// DataFusion follows it.
fn array_of_query(expr: &Expr) -> Option<Box<Query>> {
    let Expr::Function(call) = expr else { return None };
    let FunctionArguments::Subquery(query) = &call.args else { return None };
    let SetExpr::Select(select) = &*query.body else { return None };
    let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
        &select.projection[..]
    else {
        return None;
    };
    if !call.name.to_string().eq_ignore_ascii_case("array") || select.distinct.is_some() {
        return None;
    }
    let order = query.order_by.as_ref().map(|order| format!(" {order}")).unwrap_or_default();
    let item = parsed(&format!("array_agg({item}{order})"))?;
    let (mut query, mut select) = (query.clone(), select.clone());
    select.projection = vec![SelectItem::UnnamedExpr(item)];
    query.order_by = None;
    *query.body = SetExpr::Select(select);
    Some(query)
}

fn one_character(value: &ValueWithSpan) -> Option<char> {
    match &value.value {
        Value::SingleQuotedString(text) => text.parse().ok().filter(|one| *one != ESCAPE),
        _ => None,
    }
}

/// The same pattern with backslashes before what stands for itself.
fn escaped(pattern: &str, escape: char) -> String {
    let mut escaped = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(one) = characters.next() {
        let itself = if one == escape { characters.next() } else { None };
        if itself.is_some_and(|one| ['%', '_', ESCAPE].contains(&one)) || one == ESCAPE {
            escaped.push(ESCAPE);
        }
        escaped.push(itself.unwrap_or(one));
    }
    escaped
}

/// Filters of the catalog's tables by what is visible.
struct Filters;

impl VisitorMut for Filters {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = &mut *query.body
            && let Some(filter) = &mut select.selection
        {
            let _: ControlFlow<()> = filter.visit(&mut Visible);
        }
        ControlFlow::Continue(())
    }
}

struct Visible;

impl VisitorMut for Visible {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(other) = visible(expr) {
            *expr = other;
        }
        ControlFlow::Continue(())
    }
}

/// Tables of the search path; those of other schemas are named with theirs.
fn visible(expr: &Expr) -> Option<Expr> {
    let Expr::Function(call) = expr else { return None };
    let FunctionArguments::List(list) = &call.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(words)))] =
        &list.args[..]
    else {
        return None;
    };
    let is_named = call.name.to_string().to_ascii_lowercase().ends_with("pg_table_is_visible");
    let (Ident { value: column, .. }, of) = words.split_last()?;
    if !is_named || of.is_empty() || !column.eq_ignore_ascii_case("oid") {
        return None;
    }
    let of: Vec<String> = of.iter().map(ToString::to_string).collect();
    parsed(&format!(
        "{}.relnamespace IN (SELECT n.oid FROM pg_catalog.pg_namespace AS n \
         WHERE n.nspname IN ('{SCHEMA}', 'pg_catalog'))",
        of.join(".")
    ))
}

fn parsed(sql: &str) -> Option<Expr> {
    Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).ok()?.parse_expr().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(sql: &str) -> String {
        let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
        rewrite(&mut statement);
        statement.to_string()
    }

    #[test]
    fn what_is_not_read_is_rewritten_and_the_rest_left() {
        for (sql, want) in [
            ("SELECT a LIKE 'pg/_%' ESCAPE '/'", r"SELECT a LIKE 'pg\_%'"),
            ("SELECT a NOT LIKE '50//60!%' ESCAPE '!'", "SELECT a NOT LIKE '50//60\\%'"),
            ("SELECT a ILIKE 'c:\\/%//' ESCAPE '/'", r"SELECT a ILIKE 'c:\\\%/'"),
            (
                "SELECT 1 WHERE quote_ident(table_schema) IN ('')",
                "SELECT 1 WHERE quote_ident(table_schema) IN ('public')",
            ),
            (
                "SELECT array(SELECT a FROM t WHERE t.b = u.b ORDER BY c) FROM u",
                "SELECT (SELECT array_agg(a ORDER BY c) FROM t WHERE t.b = u.b) FROM u",
            ),
            ("SELECT a LIKE b ESCAPE '/'", "SELECT a LIKE b ESCAPE '/'"),
            ("SELECT f(t.oid) FROM t WHERE a LIKE 'b'", "SELECT f(t.oid) FROM t WHERE a LIKE 'b'"),
            (
                "SELECT pg_table_is_visible(c.oid) FROM pg_class c",
                "SELECT pg_table_is_visible(c.oid) FROM pg_class c",
            ),
        ] {
            assert_eq!(rewritten(sql), want);
        }
        let visible =
            rewritten("SELECT 1 FROM pg_class c WHERE pg_catalog.pg_table_is_visible(c.oid)");
        assert!(visible.contains("WHERE c.relnamespace IN (SELECT n.oid FROM"), "{visible}");
    }
}
