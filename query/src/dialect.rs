//! What PostgreSQL writes and DataFusion does not read, put into words that it does.
//!
//! ```text
//! a LIKE 'x/_' ESCAPE '/'            a LIKE 'x\_'
//! ARRAY(SELECT a FROM t)             (SELECT array_agg(a) FROM t), which is NULL where that is empty
//! ```

use crate::functions::like_escape;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArguments, Query, SelectItem, SetExpr, Statement, Value, ValueWithSpan, VisitMut,
    VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use std::ops::ControlFlow;

const ESCAPE: char = '\\';

pub(crate) fn rewrite(statement: &mut Statement) {
    let _: ControlFlow<()> = statement.visit(&mut Patterns);
}

/// Patterns with another escape than DataFusion's, and arrays of queries.
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
            *text = like_escape(text, escape.encode_utf8(&mut [0; 4]));
            *escape_char = None;
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
                "SELECT array(SELECT a FROM t WHERE t.b = u.b ORDER BY c) FROM u",
                "SELECT (SELECT array_agg(a ORDER BY c) FROM t WHERE t.b = u.b) FROM u",
            ),
            ("SELECT a LIKE b ESCAPE '/'", "SELECT a LIKE b ESCAPE '/'"),
            ("SELECT f(t.oid) FROM t WHERE a LIKE 'b'", "SELECT f(t.oid) FROM t WHERE a LIKE 'b'"),
        ] {
            assert_eq!(rewritten(sql), want);
        }
    }
}
