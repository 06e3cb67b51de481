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

use super::call;
use crate::error::{QueryError, QueryErrorKind};
use crate::functions::ANY_EQUAL;
use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, FunctionArguments, Query,
    SetExpr, UnaryOperator, Value, VisitorMut,
};
use std::ops::ControlFlow;

/// Longer arrays are not taken apart into comparisons.
const MAX_COMPARISONS: usize = 100;

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
    use BinaryOperator::{And, Eq, NotEq, Or};
    Ok(match expr {
        Expr::Cast { expr, data_type, .. } => match (text(expr), item_of(data_type)) {
            (Some(text), Some(item)) => Some(literal(text, item, data_type)?),
            _ => None,
        },
        Expr::AnyOp { left, compare_op: Eq, right, .. } => Some(member(left, right)?),
        Expr::AllOp { left, compare_op: NotEq, right } => {
            let expr = Box::new(Expr::Nested(Box::new(member(left, right)?)));
            Some(Expr::UnaryOp { op: UnaryOperator::Not, expr })
        }
        Expr::AnyOp { left, compare_op, right, .. } => {
            each(left, right, &Or, |one| binary(left, compare_op, one))?
        }
        Expr::AllOp { left, compare_op, right } => {
            each(left, right, &And, |one| binary(left, compare_op, one))?
        }
        Expr::Like { any: true, expr: left, pattern, .. }
        | Expr::ILike { any: true, expr: left, pattern, .. } => {
            each(left, pattern, &Or, |one| like(expr, one))?
        }
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

/// The type of an array's elements.
fn item_of(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(item, _)
            | ArrayElemTypeDef::AngleBracket(item)
            | ArrayElemTypeDef::Parenthesis(item),
        ) => Some(item),
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// An array's elements, each of its type.
fn literal(text: &str, item: &DataType, whole: &DataType) -> Result<Expr, QueryError> {
    let elem: Vec<Expr> = values(text)?.into_iter().map(|value| cast(value, item)).collect();
    let empty = elem.is_empty();
    let array = Expr::Array(Array { elem, named: true });
    Ok(if empty { cast(array, whole) } else { array })
}

/// An array's elements as texts, or as whatever they are compared with.
fn values(text: &str) -> Result<Vec<Expr>, QueryError> {
    let elements = read(text)?.into_iter().map(|element| {
        let value = element.map_or(Value::Null, Value::SingleQuotedString);
        Expr::Value(value.with_empty_span())
    });
    Ok(elements.collect())
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

/// `value = ANY(array)`.
fn member(value: &Expr, array: &Expr) -> Result<Expr, QueryError> {
    let expr = Box::new(value.clone());
    if let Some(subquery) = query(array) {
        return Ok(Expr::InSubquery { expr, subquery, negated: false });
    }
    Ok(match elements(array)? {
        Some(list) if list.is_empty() => constant(false),
        Some(list) => Expr::InList { expr, list, negated: false },
        None => call(ANY_EQUAL, [array.clone(), value.clone()]),
    })
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
fn elements(array: &Expr) -> Result<Option<Vec<Expr>>, QueryError> {
    Ok(match array {
        Expr::Array(array) => Some(array.elem.clone()),
        Expr::Tuple(elements) => Some(elements.clone()),
        Expr::Nested(inner) => elements(inner)?,
        Expr::Cast { expr, data_type, .. } => match (item_of(data_type), elements(expr)?) {
            (Some(item), Some(all)) => {
                Some(all.into_iter().map(|element| cast(element, item)).collect())
            }
            _ => None,
        },
        other => text(other).map(values).transpose()?,
    })
}

/// `left op ANY(array)`, or `ALL` where all comparisons must hold.
fn each(
    left: &Expr,
    array: &Expr,
    join: &BinaryOperator,
    compare: impl Fn(Expr) -> Expr,
) -> Result<Option<Expr>, QueryError> {
    if !is_repeatable(left) {
        return Ok(None);
    }
    Ok(elements(array)?.and_then(|all| compared(all, join, compare)))
}

/// The same comparison with one pattern.
fn like(any: &Expr, one: Expr) -> Expr {
    let mut like = any.clone();
    if let Expr::Like { any, pattern, .. } | Expr::ILike { any, pattern, .. } = &mut like {
        *any = false;
        **pattern = one;
    }
    like
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
}
