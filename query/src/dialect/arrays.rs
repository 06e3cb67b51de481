//! Arrays as PostgreSQL writes and compares them.
//!
//! ```text
//! a = ANY(ARRAY[b, c])    a IN (b, c)
//! a = ANY('{b,NULL}')     a IN ('b', NULL)
//! a = ANY(SELECT b ...)   a IN (SELECT b ...)
//! a = ANY($1)             any_equal($1, a)
//! a > ALL(ARRAY[b, c])    a > b AND a > c, up to a hundred of them
//! '{1,2}'::bigint[]       ARRAY['1'::bigint, '2'::bigint]
//! ```
//! The parser has made `array_contains(array, a)` of `a = ANY(array)`, and `NOT` of that of
//! `a <> ALL(array)`. It would also take a literal apart by its commas, and is kept from that.

use crate::error::{QueryError, QueryErrorKind};
use crate::functions::ANY_EQUAL;
use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, SetExpr, Value, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer};
use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::ControlFlow;

/// The type of a literal that the array's other side gives one.
const UNTYPED: &str = "untyped_array";
/// Longer arrays are not taken apart into comparisons.
const MAX_COMPARISONS: usize = 100;

/// The text with a type behind each literal that `ANY` or `ALL` is over, or an array's type follows.
pub(crate) fn marked(sql: &str) -> Cow<'_, str> {
    if !sql.contains('{') {
        return Cow::Borrowed(sql);
    }
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location();
    // What is no sequence of words is the parser's to tell.
    let mut tokens = tokens.unwrap_or_default();
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    let ends: HashSet<Location> = (0..tokens.len())
        .filter(|place| {
            let around = |offset: isize| {
                let at = place.checked_add_signed(offset).and_then(|place| tokens.get(place));
                at.map_or(&Token::EOF, |token| &token.token)
            };
            matches!(around(0), Token::SingleQuotedString(text) if is_array(text))
                && (is_after_any(around) || is_before_type(around))
        })
        .map(|place| tokens[place].span.end)
        .collect();
    if ends.is_empty() { Cow::Borrowed(sql) } else { Cow::Owned(with_marks(sql, &ends)) }
}

fn with_marks(sql: &str, ends: &HashSet<Location>) -> String {
    let mut written = String::with_capacity(sql.len() + ends.len() * (UNTYPED.len() + 2));
    let mut here = Location::new(1, 1);
    for one in sql.chars() {
        if ends.contains(&here) {
            written.push_str("::");
            written.push_str(UNTYPED);
        }
        written.push(one);
        here = if one == '\n' {
            Location::new(here.line + 1, 1)
        } else {
            Location::new(here.line, here.column + 1)
        };
    }
    written
}

fn is_after_any<'a>(around: impl Fn(isize) -> &'a Token) -> bool {
    let any = [Keyword::ANY, Keyword::SOME, Keyword::ALL];
    matches!(around(-1), Token::LParen)
        && matches!(around(-2), Token::Word(word) if any.contains(&word.keyword))
        && matches!(around(1), Token::RParen)
}

fn is_before_type<'a>(around: impl Fn(isize) -> &'a Token) -> bool {
    let more = ["precision", "varying", "with", "without", "time", "zone"];
    let is_more = |token: &Token| matches!(token, Token::Word(word) if more.contains(&word.value.to_lowercase().as_str()));
    let named = matches!(around(1), Token::DoubleColon) && matches!(around(2), Token::Word(_));
    let end = (3..8).find(|offset| !is_more(around(*offset))).unwrap_or(8);
    named && matches!(around(end), Token::LBracket)
}

fn is_array(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

pub(super) struct Arrays;

impl VisitorMut for Arrays {
    type Break = QueryError;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<QueryError> {
        match rewritten(expr) {
            Ok(Some(other)) => *expr = other,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

fn rewritten(expr: &Expr) -> Result<Option<Expr>, QueryError> {
    Ok(match expr {
        Expr::Cast { expr, data_type, .. } => match (&**expr, Item::of(data_type)) {
            (Expr::Value(value), Some(item)) => match &value.value {
                Value::SingleQuotedString(text) => Some(literal(text, item, data_type)?),
                _ => None,
            },
            _ => None,
        },
        Expr::Function(call) => membership(call)?,
        Expr::AnyOp { left, .. } | Expr::AllOp { left, .. } if !is_repeatable(left) => None,
        Expr::AnyOp { left, compare_op, right, .. } => elements(right).and_then(|all| {
            compared(all, &BinaryOperator::Or, |one| binary(left, compare_op, one))
        }),
        Expr::AllOp { left, compare_op, right } => elements(right).and_then(|all| {
            compared(all, &BinaryOperator::And, |one| binary(left, compare_op, one))
        }),
        Expr::Like { any: true, expr, .. } | Expr::ILike { any: true, expr, .. }
            if !is_repeatable(expr) =>
        {
            None
        }
        Expr::Like { any: true, pattern, negated, expr, escape_char } => elements(pattern)
            .and_then(|all| {
                compared(all, &BinaryOperator::Or, |one| Expr::Like {
                    any: false,
                    negated: *negated,
                    expr: expr.clone(),
                    pattern: Box::new(one),
                    escape_char: escape_char.clone(),
                })
            }),
        Expr::ILike { any: true, pattern, negated, expr, escape_char } => elements(pattern)
            .and_then(|all| {
                compared(all, &BinaryOperator::Or, |one| Expr::ILike {
                    any: false,
                    negated: *negated,
                    expr: expr.clone(),
                    pattern: Box::new(one),
                    escape_char: escape_char.clone(),
                })
            }),
        _ => None,
    })
}

/// Whether an expression may stand once for each element: a column or a literal, not what is long,
/// or another each time.
fn is_repeatable(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_) => true,
        Expr::Cast { expr, .. } | Expr::Nested(expr) => is_repeatable(expr),
        _ => false,
    }
}

/// What the elements of an array are.
#[derive(Clone, Copy)]
enum Item<'a> {
    Of(&'a DataType),
    /// What they are compared with.
    Untyped,
}

impl<'a> Item<'a> {
    /// Of an array's type.
    fn of(data_type: &'a DataType) -> Option<Self> {
        match data_type {
            DataType::Array(
                ArrayElemTypeDef::SquareBracket(item, _)
                | ArrayElemTypeDef::AngleBracket(item)
                | ArrayElemTypeDef::Parenthesis(item),
            ) => Some(Self::Of(item)),
            DataType::Custom(name, _) if name.to_string() == UNTYPED => Some(Self::Untyped),
            _ => None,
        }
    }

    fn value(self, value: Expr) -> Expr {
        match self {
            Self::Of(data_type) => cast(value, data_type),
            Self::Untyped => value,
        }
    }
}

/// An array's elements, each of its type.
fn literal(text: &str, item: Item<'_>, whole: &DataType) -> Result<Expr, QueryError> {
    let elements = read(text)?.into_iter().map(|element| {
        let value = element.map_or(Value::Null, Value::SingleQuotedString);
        item.value(Expr::Value(value.with_empty_span()))
    });
    let elem: Vec<Expr> = elements.collect();
    let empty = elem.is_empty();
    let array = Expr::Array(Array { elem, named: true });
    Ok(if empty && matches!(item, Item::Of(_)) { cast(array, whole) } else { array })
}

/// A cast as it is written.
pub(crate) fn cast(expr: Expr, data_type: &DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type: data_type.clone(),
        array: false,
        format: None,
    }
}

/// `array_contains(array, value)`.
fn membership(call: &Function) -> Result<Option<Expr>, QueryError> {
    let FunctionArguments::List(list) = &call.args else { return Ok(None) };
    let [
        FunctionArg::Unnamed(FunctionArgExpr::Expr(array)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)),
    ] = &list.args[..]
    else {
        return Ok(None);
    };
    if !call.name.to_string().eq_ignore_ascii_case("array_contains") {
        return Ok(None);
    }
    if let Expr::Value(text) = array
        && let Value::SingleQuotedString(text) = &text.value
    {
        return Err(malformed(text));
    }
    let expr = Box::new(value.clone());
    Ok(Some(if let Some(subquery) = query(array) {
        Expr::InSubquery { expr, subquery, negated: false }
    } else if let Some(list) = elements(array) {
        if list.is_empty() { constant(false) } else { Expr::InList { expr, list, negated: false } }
    } else {
        let name = ObjectName::from(vec![Ident::new(ANY_EQUAL)]);
        Expr::Function(Function { name, ..call.clone() })
    }))
}

/// `(SELECT ...)` and `ARRAY(SELECT ...)`.
fn query(array: &Expr) -> Option<Box<Query>> {
    match array {
        Expr::Subquery(query) => Some(query.clone()),
        Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("array") => {
            match &call.args {
                FunctionArguments::Subquery(query)
                    if matches!(&*query.body, SetExpr::Select(_)) =>
                {
                    Some(query.clone())
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// The elements of an array that is written out.
fn elements(array: &Expr) -> Option<Vec<Expr>> {
    match array {
        Expr::Array(array) => Some(array.elem.clone()),
        Expr::Tuple(elements) => Some(elements.clone()),
        Expr::Nested(inner) => elements(inner),
        Expr::Cast { expr, data_type, .. } => {
            let item = Item::of(data_type)?;
            let all = elements(expr)?.into_iter();
            Some(all.map(|element| item.value(element)).collect())
        }
        _ => None,
    }
}

fn binary(left: &Expr, op: &BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left.clone()), op: op.clone(), right: Box::new(right) }
}

fn constant(value: bool) -> Expr {
    Expr::Value(Value::Boolean(value).with_empty_span())
}

/// The comparisons of few elements, joined.
fn compared(
    elements: Vec<Expr>,
    join: &BinaryOperator,
    compare: impl Fn(Expr) -> Expr,
) -> Option<Expr> {
    if elements.len() > MAX_COMPARISONS {
        return None;
    }
    let joined = elements.into_iter().map(compare).reduce(|all, one| Expr::BinaryOp {
        left: Box::new(all),
        op: join.clone(),
        right: Box::new(one),
    });
    let all = joined.map(|all| Expr::Nested(Box::new(all)));
    Some(all.unwrap_or_else(|| constant(*join == BinaryOperator::And)))
}

/// The elements of an array as text: `{a,"b c",NULL}`.
fn read(text: &str) -> Result<Vec<Option<String>>, QueryError> {
    let inner = text.trim().strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
    let Some(inner) = inner else { return Err(malformed(text)) };
    let mut elements = Vec::new();
    let mut rest = inner.trim_start();
    if rest.is_empty() {
        return Ok(elements);
    }
    loop {
        let (element, after) = element(rest).ok_or_else(|| malformed(text))?;
        elements.push(element);
        match after.trim_start().strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None if after.trim().is_empty() => return Ok(elements),
            None => return Err(malformed(text)),
        }
    }
}

/// One element and what follows it.
fn element(text: &str) -> Option<(Option<String>, &str)> {
    let quoted = text.starts_with('"');
    let mut element = String::new();
    // Blanks at the end are no part of an element, but where they were quoted.
    let mut kept = 0;
    let mut characters = text.char_indices().skip(usize::from(quoted));
    let end = loop {
        match characters.next() {
            Some((at, '"')) if quoted => break at + 1,
            None if quoted => return None,
            None => break text.len(),
            Some((at, ',')) if !quoted => break at,
            Some((_, '{' | '}' | '"')) if !quoted => return None,
            Some((_, '\\')) => {
                element.push(characters.next()?.1);
                kept = element.len();
            }
            Some((_, one)) => {
                element.push(one);
                if quoted || !one.is_whitespace() {
                    kept = element.len();
                }
            }
        }
    };
    element.truncate(kept);
    let after = &text[end..];
    if quoted {
        return Some((Some(element), after));
    }
    let is_null = element.eq_ignore_ascii_case("null") && !text[..end].contains('\\');
    (!element.is_empty()).then(|| ((!is_null).then_some(element), after))
}

fn malformed(text: &str) -> QueryError {
    let text = format!(
        "malformed array literal: {text:?}: write one like '{{a,\"b c\",NULL}}', of one dimension"
    );
    QueryError::new(QueryErrorKind::InvalidText, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_read_element_by_element() {
        let texts = |all: &[Option<&str>]| -> Vec<Option<String>> {
            all.iter().map(|one| one.map(str::to_owned)).collect()
        };
        for (text, want) in [
            ("{}", &[][..]),
            (" { a , b b } ", &[Some("a"), Some("b b")]),
            (
                r#"{"a,b"," c ",null,"NULL",\NULL}"#,
                &[Some("a,b"), Some(" c "), None, Some("NULL"), Some("NULL")],
            ),
            (r#"{"say \"x\"",a\,b,a\ }"#, &[Some("say \"x\""), Some("a,b"), Some("a ")]),
        ] {
            assert_eq!(read(text).unwrap(), texts(want), "{text}");
        }
        for text in ["", "a", "{a", "{a,}", "{,a}", "{{a}}", "{\"a}", "{\"a\" b}", "{a\"b}"] {
            assert_eq!(read(text).unwrap_err().sqlstate(), "22P02", "{text}");
        }
    }

    #[test]
    fn literals_after_any_are_marked_and_nothing_else() {
        let sql = "SELECT 'it''s {', \"a{\", E'\\n{' FROM t WHERE x = ANY ( '{a,''b'}' ) /* { */";
        assert_eq!(marked(sql), sql);
        let sql = "SELECT 'ß''s', E'\\n'\nFROM t WHERE x = any('{a,b}') AND y <> ALL ( '{it''s}' )";
        let want = "SELECT 'ß''s', E'\\n'\nFROM t WHERE x = any('{a,b}'::untyped_array) \
                    AND y <> ALL ( '{it''s}'::untyped_array )";
        assert_eq!(marked(sql), want);
        let sql =
            "SELECT '{1}'::bigint[], '{1}' :: double precision [], '{}'::json, '{}'::json AND a[1]";
        let want = "SELECT '{1}'::untyped_array::bigint[], \
                    '{1}'::untyped_array :: double precision [], '{}'::json, '{}'::json AND a[1]";
        assert_eq!(marked(sql), want);
        assert_eq!(marked("SELECT any('a{')"), "SELECT any('a{')");
    }
}
