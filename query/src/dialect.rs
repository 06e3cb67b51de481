//! What PostgreSQL writes and DataFusion does not read, put into words that it does.
//!
//! ```text
//! a LIKE b ESCAPE '/'          a LIKE replace(b, '/', '\')
//! pg_table_is_visible(c.oid)   c.relnamespace IN (the catalog's and the usual schema's numbers)
//! ARRAY(SELECT ...)            (SELECT array_agg(one) FROM (SELECT ...) AS all_of_it (one))
//! ```

use crate::catalog::SCHEMA;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, Statement, Value,
    VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use std::ops::ControlFlow;

const ESCAPE: char = '\\';

pub(crate) fn rewrite(statement: &mut Statement) {
    let _: ControlFlow<()> = statement.visit(&mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(other) = escaped(expr).or_else(|| visible(expr)).or_else(|| array(expr)) {
            *expr = other;
        }
        ControlFlow::Continue(())
    }
}

/// The backslash is what DataFusion escapes by.
fn escaped(expr: &Expr) -> Option<Expr> {
    let mut like = expr.clone();
    let (Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. }) =
        &mut like
    else {
        return None;
    };
    let escape = match &escape_char.take()?.value {
        Value::SingleQuotedString(text) => text.parse().ok().filter(|one| *one != ESCAPE)?,
        _ => return None,
    };
    **pattern = escaped_pattern(pattern, escape)?;
    Some(like)
}

fn escaped_pattern(pattern: &Expr, escape: char) -> Option<Expr> {
    if let Expr::Value(value) = pattern
        && let Value::SingleQuotedString(text) = &value.value
    {
        let mut value = value.clone();
        value.value = Value::SingleQuotedString(text.replace(escape, "\\"));
        return Some(Expr::Value(value));
    }
    parsed(&format!("replace({pattern}, '{escape}', '{ESCAPE}')"))
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

fn array(expr: &Expr) -> Option<Expr> {
    let Expr::Function(call) = expr else { return None };
    let FunctionArguments::Subquery(query) = &call.args else { return None };
    let is_named = call.name.to_string().eq_ignore_ascii_case("array");
    is_named.then(|| array_of(query)).flatten()
}

fn array_of(query: &Query) -> Option<Expr> {
    parsed(&format!("(SELECT array_agg(one) FROM ({query}) AS all_of_it (one))"))
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
            (
                "SELECT a NOT LIKE 'x' || '%' ESCAPE '/'",
                r"SELECT a NOT LIKE replace('x' || '%', '/', '\')",
            ),
            ("SELECT a ILIKE b ESCAPE '!'", r"SELECT a ILIKE replace(b, '!', '\')"),
            (
                "SELECT ARRAY(SELECT x FROM t)",
                "SELECT (SELECT array_agg(one) FROM (SELECT x FROM t) AS all_of_it (one))",
            ),
            (
                "SELECT array_agg(x), f(t.oid) FROM t WHERE a LIKE 'b'",
                "SELECT array_agg(x), f(t.oid) FROM t WHERE a LIKE 'b'",
            ),
        ] {
            assert_eq!(rewritten(sql), want);
        }
        let visible =
            rewritten("SELECT 1 FROM pg_class c WHERE pg_catalog.pg_table_is_visible(c.oid)");
        assert!(visible.contains("WHERE c.relnamespace IN (SELECT n.oid FROM"), "{visible}");
    }
}
