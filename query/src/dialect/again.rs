//! Columns of one name, as in `SELECT count(*), count(*)` and `SELECT a, a`.
//!
//! DataFusion wants each column of an answer to have a name of its own. Those that do not get one,
//! which ends with what no name ends with, and lose it as they are shown.

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::{CastKind, Expr, Ident, SelectItem, SetExpr, Statement};
use std::collections::HashSet;
use std::sync::Arc;

/// What stands before the number that tells a column from others of its name.
const AGAIN: char = '\u{1f}';

/// Whether that was wrong with a statement.
pub(crate) fn is_twice(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::Plan(text) => text.contains("require unique expression names"),
        DataFusionError::SchemaError(of, _) => {
            matches!(**of, SchemaError::AmbiguousReference { .. })
        }
        _ => false,
    }
}

/// Names columns so that all differ; whether any did not.
pub(crate) fn tell_apart(statement: &mut Statement) -> bool {
    match statement {
        Statement::Query(query) => in_set(&mut query.body),
        Statement::Explain { statement, .. } => tell_apart(statement),
        _ => false,
    }
}

fn in_set(body: &mut SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => in_projection(&mut select.projection),
        SetExpr::Query(query) => in_set(&mut query.body),
        SetExpr::SetOperation { left, right, .. } => in_set(left) | in_set(right),
        _ => false,
    }
}

fn in_projection(items: &mut [SelectItem]) -> bool {
    let mut names = HashSet::new();
    let mut changed = false;
    let has_all = items.iter().any(is_wildcard);
    for (number, item) in items.iter_mut().enumerate() {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.value.clone())),
            _ => continue,
        };
        // Beside all columns, a plain one is likely one of them.
        let is_found_by_name = alias.is_some() || is_column(expr) && !has_all;
        let name = alias.unwrap_or_else(|| usual_name(expr));
        // What is named once keeps what it is found by.
        if names.insert(name.clone()) && is_found_by_name {
            continue;
        }
        let alias = Ident::with_quote('"', format!("{name}{AGAIN}{number}"));
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        changed = true;
    }
    changed
}

/// Whether an expression is a column alone.
pub(crate) fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

fn is_wildcard(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
}

/// What PostgreSQL calls a column without an alias.
pub(crate) fn usual_name(expr: &Expr) -> String {
    let last = match expr {
        Expr::Identifier(name) => Some(name.value.clone()),
        Expr::CompoundIdentifier(names) => names.last().map(|name| name.value.clone()),
        Expr::Function(call) => call.name.0.last().map(|name| name.to_string().to_lowercase()),
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, .. } => {
            return usual_name(expr);
        }
        Expr::Nested(inner) => return usual_name(inner),
        Expr::Case { .. } => Some("case".to_owned()),
        Expr::Extract { .. } => Some("extract".to_owned()),
        Expr::Floor { .. } => Some("floor".to_owned()),
        Expr::Ceil { .. } => Some("ceil".to_owned()),
        Expr::Substring { .. } => Some("substring".to_owned()),
        _ => None,
    };
    last.unwrap_or_else(|| "?column?".to_owned())
}

/// Columns by the names that are shown.
pub(crate) fn shown(schema: SchemaRef) -> SchemaRef {
    if !schema.fields().iter().any(|field| field.name().contains(AGAIN)) {
        return schema;
    }
    let fields = schema.fields().iter().map(|field| match field.name().split_once(AGAIN) {
        Some((name, _)) => Arc::new(Field::clone(field).with_name(name)),
        None => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    #[test]
    fn columns_of_one_name_are_told_apart() {
        for (sql, want) in [
            ("SELECT a, t.a, a FROM t", "SELECT a, t.a AS \"a~1\", a AS \"a~2\" FROM t"),
            ("SELECT 1, 'b'", "SELECT 1 AS \"?column?~0\", 'b' AS \"?column?~1\""),
            (
                "SELECT count(*), Count(*) UNION SELECT a, b FROM t",
                "SELECT count(*) AS \"count~0\", Count(*) AS \"count~1\" UNION SELECT a, b FROM t",
            ),
            (
                "SELECT -a AS a, 0, 0 FROM t ORDER BY a",
                "SELECT -a AS a, 0 AS \"?column?~1\", 0 AS \"?column?~2\" FROM t ORDER BY a",
            ),
            ("SELECT a AS x, b AS x, * FROM t", "SELECT a AS x, b AS \"x~1\", * FROM t"),
            ("SELECT a, -a, t.* FROM t", "SELECT a AS \"a~0\", -a AS \"?column?~1\", t.* FROM t"),
        ] {
            let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
            assert!(tell_apart(&mut statement), "{sql}");
            assert_eq!(statement.to_string().replace(AGAIN, "~"), want);
        }
    }
}
