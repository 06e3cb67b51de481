//! `PREPARE name (types) AS ...` and `EXECUTE name (values)`.
//!
//! Promises: values are literals, and what is executed is no longer than a statement may be.

use crate::dialect::{cast, take_intervals};
use crate::error::{QueryError, QueryErrorKind};
use crate::statement::MAX_BYTES;
use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Statement, UnaryOperator, Value, VisitMut, VisitorMut,
};
use std::ops::ControlFlow;

/// A statement that was prepared, with the types that its parameters were given.
#[derive(Clone, Debug)]
pub(super) struct Named {
    types: Vec<DataType>,
    statement: Statement,
    bytes: usize,
}

impl Named {
    pub(super) fn new(types: Vec<DataType>, mut statement: Statement) -> Self {
        take_intervals(
            &mut statement,
            |_| false,
            |number| number.checked_sub(1).and_then(|at| types.get(at)).is_none(),
        );
        let bytes = statement.to_string().len();
        Self { types, statement, bytes }
    }

    /// How long the statement is as a text: what is kept of it is many times as much.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The statement with values in the places of its parameters.
    pub(super) fn with(&self, values: &[Expr]) -> Result<Statement, QueryError> {
        if let Some(other) = values.iter().find(|value| !is_literal(value)) {
            let text = format!("EXECUTE takes literals, and {other} is none");
            return Err(QueryError::new(QueryErrorKind::Invalid, text));
        }
        let values = values.iter().enumerate().map(|(at, value)| match self.types.get(at) {
            Some(data_type) => cast(value.clone(), data_type),
            None => Expr::Nested(Box::new(value.clone())),
        });
        let mut placing = Placing { values: values.collect(), used: Vec::new(), bytes: 0 };
        let mut statement = self.statement.clone();
        if let ControlFlow::Break(error) = statement.visit(&mut placing) {
            return Err(error);
        }
        let most = placing.used.iter().max().copied().unwrap_or(0).max(self.types.len());
        if most != placing.values.len() {
            return Err(wrong_number(most, placing.values.len()));
        }
        Ok(statement)
    }
}

fn is_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => !matches!(value.value, Value::Placeholder(_)),
        Expr::TypedString(_) | Expr::Interval(_) => true,
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr }
        | Expr::Nested(expr)
        | Expr::Cast { expr, .. } => is_literal(expr),
        Expr::Array(array) => array.elem.iter().all(is_literal),
        _ => false,
    }
}

fn wrong_number(wanted: usize, given: usize) -> QueryError {
    let text = format!("the prepared statement has {wanted} parameters, and {given} were given");
    QueryError::new(QueryErrorKind::Syntax, text)
}

/// Puts values where parameters are.
struct Placing {
    values: Vec<Expr>,
    /// Numbers of parameters that were met.
    used: Vec<usize>,
    bytes: usize,
}

impl VisitorMut for Placing {
    type Break = QueryError;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<QueryError> {
        let Expr::Value(value) = expr else { return ControlFlow::Continue(()) };
        let Value::Placeholder(name) = &value.value else { return ControlFlow::Continue(()) };
        let number = name.trim_start_matches('$').parse().unwrap_or(0);
        let Some(value) = usize::checked_sub(number, 1).and_then(|at| self.values.get(at)) else {
            return ControlFlow::Break(wrong_number(number, self.values.len()));
        };
        self.used.push(number);
        self.bytes += value.to_string().len();
        if self.bytes > MAX_BYTES {
            let text = format!("a statement has at most {MAX_BYTES} bytes with its values");
            return ControlFlow::Break(QueryError::new(QueryErrorKind::TooLarge, text));
        }
        *expr = value.clone();
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    fn read(sql: &str) -> Statement {
        Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0)
    }

    fn executed(prepare: &str, execute: &str) -> String {
        let Statement::Prepare { data_types: types, statement, .. } = read(prepare) else {
            panic!("{prepare}")
        };
        let Statement::Execute { parameters, .. } = read(execute) else { panic!("{execute}") };
        match Named::new(types, *statement).with(&parameters) {
            Ok(statement) => statement.to_string(),
            Err(error) => format!("{} {error}", error.sqlstate()),
        }
    }

    #[test]
    fn values_come_where_parameters_are() {
        for (prepare, execute, want) in [
            ("PREPARE a AS SELECT 1", "EXECUTE a", "SELECT 1"),
            (
                "PREPARE a (int8) AS SELECT b FROM t WHERE c > $1 LIMIT $1",
                "EXECUTE a (-3)",
                "SELECT b FROM t WHERE c > CAST(-3 AS INT8) LIMIT CAST(-3 AS INT8)",
            ),
            ("PREPARE a AS SELECT $2 || $1", "EXECUTE a ('x', NULL)", "SELECT (NULL) || ('x')"),
            (
                "PREPARE a AS SELECT now() - $1",
                "EXECUTE a ('1h')",
                "SELECT now() - CAST(('1h') AS INTERVAL)",
            ),
            ("PREPARE a AS SELECT $1", "EXECUTE a", "42601 the prepared statement has 1"),
            ("PREPARE a AS SELECT $1", "EXECUTE a (1, 2)", "42601 the prepared statement has 1"),
            ("PREPARE a AS SELECT $1", "EXECUTE a (f(1))", "42000 EXECUTE takes literals"),
        ] {
            let got = executed(prepare, execute);
            assert!(got.starts_with(want), "{got}");
        }
        let long = format!("EXECUTE a ('{}')", "x".repeat(MAX_BYTES / 2));
        assert!(executed("PREPARE a AS SELECT $1, $1", &long).starts_with("54000"));
    }
}
