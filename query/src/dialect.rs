//! What PostgreSQL writes and DataFusion does not read, put into words that it does.
//!
//! ```text
//! a LIKE 'x/_' ESCAPE '/'            a LIKE 'x\_'
//! a SIMILAR TO 'x%' ESCAPE '/'       a ~ similar_to_escape('x%', '/')
//! a AT TIME ZONE 'Asia/Tokyo'        timezone('Asia/Tokyo', a)
//! now() - $1                         now() - $1::interval, where nothing else says what $1 is
//! ARRAY(SELECT a FROM t)             (SELECT array_agg(a) FROM t), which is NULL where that is empty
//! ```
//! Arrays and columns of one name have files of their own.

mod again;
mod arrays;

pub(crate) use again::{is_column, is_twice, shown, tell_apart, usual_name};
pub(crate) use arrays::cast;

use crate::error::{QueryError, QueryErrorKind};
use crate::functions::like_escape;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, GroupByExpr, Ident, ObjectName, OrderBy, OrderByKind, Query, Select,
    SelectItem, SetExpr, Statement, TimezoneInfo, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use std::ops::ControlFlow;

const ESCAPE: char = '\\';
/// Nested functions are typed again and again.
const MAX_ZONES: usize = 100;

pub(crate) fn rewrite(statement: &mut Statement) -> Result<(), QueryError> {
    if let ControlFlow::Break(error) = statement.visit(&mut arrays::Arrays) {
        return Err(error);
    }
    if let ControlFlow::Break(error) = statement.visit(&mut Patterns::default()) {
        return Err(error);
    }
    Ok(())
}

/// Patterns with another escape than DataFusion's, those of `SIMILAR TO`, zones, and arrays of
/// queries.
#[derive(Default)]
struct Patterns {
    /// How often `AT TIME ZONE` was met.
    zones: usize,
}

impl VisitorMut for Patterns {
    type Break = QueryError;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<QueryError> {
        if let Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } =
            expr
            && let Some(escape) = escape_char.as_ref().and_then(one_character)
            && let Expr::Value(value) = &mut **pattern
            && let Value::SingleQuotedString(text) = &mut value.value
        {
            *text = like_escape(text, escape.encode_utf8(&mut [0; 4]));
            *escape_char = None;
        }
        if matches!(expr, Expr::AtTimeZone { .. }) {
            self.zones += 1;
            if self.zones > MAX_ZONES {
                let text = format!("a statement has AT TIME ZONE at most {MAX_ZONES} times");
                return ControlFlow::Break(QueryError::new(QueryErrorKind::TooLarge, text));
            }
        }
        if let Some(other) = matched(expr).or_else(|| in_zone(expr)) {
            *expr = other;
        }
        if let Some(query) = array_of_query(expr) {
            *expr = Expr::Subquery(query);
        }
        ControlFlow::Continue(())
    }
}

/// `SIMILAR TO` as a regular expression that is matched.
fn matched(expr: &Expr) -> Option<Expr> {
    let Expr::SimilarTo { negated, expr, pattern, escape_char } = expr else { return None };
    let escape = escape_char.as_ref().map(|escape| Expr::Value(escape.clone()));
    let arguments = std::iter::once((**pattern).clone()).chain(escape);
    let op = if *negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
    let right = Box::new(call("similar_to_escape", arguments));
    Some(Expr::BinaryOp { left: expr.clone(), op, right })
}

/// `AT TIME ZONE` as a function. A text is a time with a zone where nothing else says what it is.
fn in_zone(expr: &Expr) -> Option<Expr> {
    let Expr::AtTimeZone { timestamp, time_zone } = expr else { return None };
    let time = match &**timestamp {
        Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)) => {
            let moment = DataType::Timestamp(None, TimezoneInfo::WithTimeZone);
            cast((**timestamp).clone(), &moment)
        }
        time => time.clone(),
    };
    Some(call("timezone", [(**time_zone).clone(), time]))
}

fn is_now(expr: &Expr) -> bool {
    let Expr::Function(call) = expr else { return false };
    let names = ["now", "current_timestamp"];
    names.contains(&call.name.to_string().to_ascii_lowercase().as_str())
}

/// Says of a parameter that it is an interval, where it is one by its number. Beside a time it would
/// be taken for another.
fn as_interval(expr: &mut Expr, is_one: impl Fn(usize) -> bool) {
    let Expr::Value(value) = expr else { return };
    let Value::Placeholder(name) = &value.value else { return };
    if name.trim_start_matches('$').parse().is_ok_and(is_one) {
        let interval = DataType::Interval { fields: None, precision: None };
        *expr = cast(expr.clone(), &interval);
    }
}

/// Says so of all that a client sends as such, and of those beside `now()` of which nobody has said
/// what they are.
pub(crate) fn take_intervals(
    statement: &mut Statement,
    is_sent: impl Fn(usize) -> bool,
    is_unknown: impl Fn(usize) -> bool,
) {
    struct Intervals<S, U>(S, U);

    impl<S: Fn(usize) -> bool, U: Fn(usize) -> bool> VisitorMut for Intervals<S, U> {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            as_interval(expr, &self.0);
            if let Expr::BinaryOp { left, op: BinaryOperator::Plus | BinaryOperator::Minus, right } =
                expr
                && is_now(left)
            {
                as_interval(right, &self.1);
            }
            ControlFlow::Continue(())
        }
    }

    let _: ControlFlow<()> = statement.visit(&mut Intervals(is_sent, is_unknown));
}

/// A call of a function by its name.
pub(crate) fn call(name: &str, arguments: impl IntoIterator<Item = Expr>) -> Expr {
    let arguments = arguments.into_iter();
    let args = arguments.map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The query whose one row is the array. What it is correlated by stays at its own level, where
/// DataFusion follows it, unless its rows are not those that it reads.
fn array_of_query(expr: &Expr) -> Option<Box<Query>> {
    let Expr::Function(call) = expr else { return None };
    let FunctionArguments::Subquery(query) = &call.args else { return None };
    let SetExpr::Select(select) = &*query.body else { return None };
    let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
        &select.projection[..]
    else {
        return None;
    };
    if !call.name.to_string().eq_ignore_ascii_case("array") {
        return None;
    }
    let is_cut = query.limit_clause.is_some() || query.fetch.is_some();
    if is_cut || makes_rows(select) {
        // Without a limit the order of a query within another one means nothing.
        let is_ordered = query.order_by.is_some() && !is_cut;
        return if is_ordered { None } else { aggregated(query) };
    }
    let order = query.order_by.as_ref().map(|order| ordered(order, &select.projection[0], item));
    let order = order.map(|order| format!(" {order}")).unwrap_or_default();
    let item = parsed(&format!("array_agg({item}{order})"))?;
    let (mut query, mut select) = (query.clone(), select.clone());
    select.projection = vec![SelectItem::UnnamedExpr(item)];
    query.order_by = None;
    *query.body = SetExpr::Select(select);
    Some(query)
}

/// Whether a select has other rows than those that pass its filter.
fn makes_rows(select: &Select) -> bool {
    let is_grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    select.distinct.is_some() || select.having.is_some() || is_grouped
}

fn aggregated(query: &Query) -> Option<Box<Query>> {
    let sql = format!("SELECT array_agg(q.x) FROM ({query}) AS q(x)");
    Parser::new(&PostgreSqlDialect {}).try_with_sql(&sql).ok()?.parse_query().ok()
}

/// The order with the column itself where its place or its name stands for it.
fn ordered(order: &OrderBy, named: &SelectItem, item: &Expr) -> OrderBy {
    let mut order = order.clone();
    let OrderByKind::Expressions(all) = &mut order.kind else { return order };
    for by in all {
        let is_item = match (&by.expr, named) {
            (Expr::Value(place), _) => matches!(&place.value, Value::Number(one, _) if one == "1"),
            (Expr::Identifier(name), SelectItem::ExprWithAlias { alias, .. }) => name == alias,
            _ => false,
        };
        if is_item {
            by.expr = item.clone();
        }
    }
    order
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
        rewrite(&mut statement).unwrap();
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
            (
                "SELECT array(SELECT a AS b FROM t ORDER BY b DESC), array(SELECT a + 1 FROM t ORDER BY 1)",
                "SELECT (SELECT array_agg(a ORDER BY a DESC) FROM t), \
                 (SELECT array_agg(a + 1 ORDER BY a + 1) FROM t)",
            ),
            (
                "SELECT array(SELECT a FROM t ORDER BY a LIMIT 2), array(SELECT DISTINCT a FROM t)",
                "SELECT (SELECT array_agg(q.x) FROM (SELECT a FROM t ORDER BY a LIMIT 2) AS q (x)), \
                 (SELECT array_agg(q.x) FROM (SELECT DISTINCT a FROM t) AS q (x))",
            ),
            (
                "SELECT a SIMILAR TO 'n%' AND b NOT SIMILAR TO c ESCAPE '/'",
                "SELECT a ~ similar_to_escape('n%') AND b !~ similar_to_escape(c, '/')",
            ),
            (
                "SELECT a AT TIME ZONE 'UTC' AT TIME ZONE b",
                "SELECT timezone(b, timezone('UTC', a))",
            ),
            (
                "SELECT '2026-01-01' AT TIME ZONE 'UTC'",
                "SELECT timezone('UTC', CAST('2026-01-01' AS TIMESTAMP WITH TIME ZONE))",
            ),
            ("SELECT a = ANY(ARRAY[1, 2])", "SELECT a IN (1, 2)"),
            ("SELECT a = ANY($1)", "SELECT any_equal($1, a)"),
            ("SELECT a = ANY('{}'::text[])", "SELECT false"),
            ("SELECT a = ANY('{b,\"c,d\",NULL}')", "SELECT a IN ('b', 'c,d', NULL)"),
            ("SELECT a <> ALL('{b}')", "SELECT NOT (a IN ('b'))"),
            (
                "SELECT '{\"a,b\",c}'::varchar(10)[]",
                "SELECT ARRAY[CAST('a,b' AS VARCHAR(10)), CAST('c' AS VARCHAR(10))]",
            ),
            ("SELECT array_contains(ARRAY[1], a)", "SELECT array_contains(ARRAY[1], a)"),
            ("SELECT a = ANY(SELECT b FROM t)", "SELECT a IN (SELECT b FROM t)"),
            ("SELECT a ILIKE ANY(ARRAY['b', 'c'])", "SELECT (a ILIKE 'b' OR a ILIKE 'c')"),
            ("SELECT random() > ANY(ARRAY[1, 2])", "SELECT random() > ANY(ARRAY[1, 2])"),
            (
                "SELECT a > ALL('{1,2}'::bigint[]) OR a < ANY(ARRAY[3, 4])",
                "SELECT (a > CAST('1' AS BIGINT) AND a > CAST('2' AS BIGINT)) OR (a < 3 OR a < 4)",
            ),
            ("SELECT a LIKE b ESCAPE '/'", "SELECT a LIKE b ESCAPE '/'"),
            ("SELECT f(t.oid) FROM t WHERE a LIKE 'b'", "SELECT f(t.oid) FROM t WHERE a LIKE 'b'"),
        ] {
            assert_eq!(rewritten(sql), want);
        }
    }
}
