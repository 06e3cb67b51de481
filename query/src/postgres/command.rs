//! Statements about the connection itself: its settings, transactions and cursors.

use super::copy::Copy;
use super::statements::Named;
use crate::error::{QueryError, QueryErrorKind};
use datafusion::sql::sqlparser::ast::{
    CloseCursor, ContextModifier, Declare, DeclareType, DiscardObject, Expr, FetchDirection, Ident,
    Query, Reset, Set, Statement, UnaryOperator, Value,
};

const TIME_ZONE: &str = "TimeZone";

/// A statement that asks nothing of any table, but for a cursor's.
#[derive(Clone, Debug)]
pub(super) enum Command {
    /// No value is the default one.
    Set {
        name: String,
        value: Option<String>,
        /// For the transaction alone.
        local: bool,
    },
    ResetAll,
    /// No name is all of them.
    Show(Option<String>),
    Begin,
    Commit,
    Rollback,
    /// To a savepoint: the transaction goes on.
    RollbackTo,
    Declare {
        name: String,
        query: Box<Query>,
        /// Whether it outlasts its transaction.
        hold: bool,
    },
    Copy(Copy),
    /// No number of rows is all that are left.
    Fetch {
        name: String,
        rows: Option<usize>,
    },
    /// No name is all of them.
    Close(Option<String>),
    Prepare(String, Box<Named>),
    Deallocate(Option<String>),
    DiscardAll,
    /// Taken, and without effect; answered by this tag.
    Nothing(&'static str),
}

impl Command {
    /// `None` where the statement is none of these.
    pub(super) fn of(statement: &Statement) -> Result<Option<Self>, QueryError> {
        Ok(Some(match statement {
            Statement::Set(set) => self::set(set)?,
            Statement::Reset(statement) => match &statement.reset {
                Reset::ALL => Self::ResetAll,
                Reset::ConfigurationParameter(name) => {
                    Self::Set { name: name.to_string(), value: None, local: false }
                }
            },
            Statement::ShowVariable { variable } => show(variable),
            Statement::StartTransaction { .. } => Self::Begin,
            Statement::Commit { .. } => Self::Commit,
            Statement::Rollback { savepoint: None, .. } => Self::Rollback,
            Statement::Savepoint { .. } => Self::Nothing("SAVEPOINT"),
            Statement::ReleaseSavepoint { .. } => Self::Nothing("RELEASE"),
            Statement::Rollback { savepoint: Some(_), .. } => Self::RollbackTo,
            Statement::Declare { stmts } => declare(stmts)?,
            Statement::Copy { .. } => match Copy::of(statement)? {
                Some(copy) => Self::Copy(copy),
                None => return Ok(None),
            },
            Statement::Fetch { name, direction, .. } => {
                Self::Fetch { name: folded(name), rows: rows(direction)? }
            }
            Statement::Close { cursor: CloseCursor::All } => Self::Close(None),
            Statement::Close { cursor: CloseCursor::Specific { name } } => {
                Self::Close(Some(folded(name)))
            }
            Statement::Prepare { name, data_types, statement } => {
                let (types, statement) = (data_types.clone(), (**statement).clone());
                Self::Prepare(folded(name), Box::new(Named::new(types, statement)))
            }
            Statement::Deallocate { name, .. } => {
                let all = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
                Self::Deallocate((!all).then(|| folded(name)))
            }
            Statement::Discard { object_type: DiscardObject::ALL } => Self::DiscardAll,
            Statement::Discard { object_type: DiscardObject::PLANS } => {
                Self::Nothing("DISCARD PLANS")
            }
            Statement::Discard { object_type: DiscardObject::SEQUENCES } => {
                Self::Nothing("DISCARD SEQUENCES")
            }
            Statement::Discard { object_type: DiscardObject::TEMP } => {
                Self::Nothing("DISCARD TEMP")
            }
            Statement::LISTEN { .. } => Self::Nothing("LISTEN"),
            Statement::UNLISTEN { .. } => Self::Nothing("UNLISTEN"),
            _ => return Ok(None),
        }))
    }

    /// Whether it is answered in a transaction that has failed, too.
    pub(super) fn ends_transaction(&self) -> bool {
        matches!(self, Self::Commit | Self::Rollback | Self::RollbackTo)
    }
}

fn set(set: &Set) -> Result<Command, QueryError> {
    match set {
        Set::SingleAssignment { scope, variable, values, .. } => {
            let local = *scope == Some(ContextModifier::Local);
            let name = variable.to_string();
            let values = values.iter().map(text).collect::<Result<Vec<_>, _>>()?;
            let is_default = matches!(&values[..], [only] if only.eq_ignore_ascii_case("default"));
            Ok(Command::Set { name, value: (!is_default).then(|| values.join(", ")), local })
        }
        Set::SetTimeZone { local, value } => {
            let value = text(value)?;
            let is_default = ["default", "local"].contains(&value.to_ascii_lowercase().as_str());
            let value = (!is_default).then_some(value);
            Ok(Command::Set { name: TIME_ZONE.to_owned(), value, local: *local })
        }
        Set::SetNames { charset_name, .. } => Ok(Command::Set {
            name: "client_encoding".to_owned(),
            value: Some(charset_name.value.clone()),
            local: false,
        }),
        Set::SetNamesDefault {} => {
            let name = "client_encoding".to_owned();
            Ok(Command::Set { name, value: None, local: false })
        }
        Set::SetTransaction { .. } | Set::SetRole { role_name: None, .. } => {
            Ok(Command::Nothing("SET"))
        }
        other => Err(invalid(format!("{other} is not supported"))),
    }
}

/// A value as its text; a word is itself.
fn text(value: &Expr) -> Result<String, QueryError> {
    match value {
        Expr::Identifier(word) => Ok(word.value.clone()),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Ok(format!("-{}", text(expr)?)),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => text(expr),
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => Ok(number.clone()),
            Value::Boolean(on) => Ok(on.to_string()),
            other => other
                .clone()
                .into_string()
                .ok_or_else(|| invalid(format!("{other} is not a value of a setting"))),
        },
        other => Err(invalid(format!("{other} is not a value of a setting"))),
    }
}

fn show(words: &[Ident]) -> Command {
    let words: Vec<String> = words.iter().map(|word| word.value.to_ascii_lowercase()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Command::Show(match words[..] {
        ["all"] => None,
        ["time", "zone"] => Some(TIME_ZONE.to_owned()),
        ["transaction", "isolation", "level"] => Some("transaction_isolation".to_owned()),
        _ => Some(words.join(".")),
    })
}

fn declare(all: &[Declare]) -> Result<Command, QueryError> {
    let [Declare { names, declare_type: Some(DeclareType::Cursor), for_query, .. }] = all else {
        return Err(invalid("DECLARE takes one cursor".to_owned()));
    };
    let ([name], Some(query)) = (&names[..], for_query) else {
        return Err(invalid("DECLARE takes a name, CURSOR FOR, and a query".to_owned()));
    };
    if all[0].scroll == Some(true) {
        return Err(invalid("a cursor goes forward only: leave SCROLL out".to_owned()));
    }
    let hold = all[0].hold == Some(true);
    Ok(Command::Declare { name: folded(name), query: query.clone(), hold })
}

/// A name as PostgreSQL knows it: in lower case where it is not quoted.
pub(super) fn folded(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

/// How many rows a direction is; `None` for all that are left.
fn rows(direction: &FetchDirection) -> Result<Option<usize>, QueryError> {
    let limit = match direction {
        FetchDirection::Next | FetchDirection::Forward { limit: None } => return Ok(Some(1)),
        FetchDirection::All | FetchDirection::ForwardAll => return Ok(None),
        FetchDirection::Count { limit } | FetchDirection::Forward { limit: Some(limit) } => limit,
        _ => return Err(invalid("a cursor goes forward only".to_owned())),
    };
    let text = limit.to_string();
    let number = text.parse().map_err(|_| invalid(format!("{text} is no number of rows")))?;
    Ok(Some(number))
}

fn invalid(text: String) -> QueryError {
    QueryError::new(QueryErrorKind::Invalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    fn command(sql: &str) -> String {
        let statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
        match Command::of(&statement) {
            Ok(Some(Command::Declare { name, query, hold })) => format!("{name} {query} {hold}"),
            Ok(Some(command)) => format!("{command:?}"),
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn statements_are_read_as_clients_write_them() {
        for (sql, want) in [
            (
                "SET timezone = 'Europe/Berlin'",
                r#"Set { name: "TIMEZONE", value: Some("Europe/Berlin"), local: false }"#,
            ),
            (
                "SET TIME ZONE 'UTC'",
                r#"Set { name: "TimeZone", value: Some("UTC"), local: false }"#,
            ),
            ("SET TIME ZONE LOCAL", r#"Set { name: "TimeZone", value: None, local: false }"#),
            ("SET TIME ZONE -7", r#"Set { name: "TimeZone", value: Some("-7"), local: false }"#),
            (
                "SET SESSION statement_timeout TO 5000",
                r#"Set { name: "statement_timeout", value: Some("5000"), local: false }"#,
            ),
            (
                "SET search_path TO latest, public",
                r#"Set { name: "search_path", value: Some("latest, public"), local: false }"#,
            ),
            (
                "SET DateStyle = ISO, MDY",
                r#"Set { name: "DateStyle", value: Some("ISO, MDY"), local: false }"#,
            ),
            (
                "SET warpline.rollups = off",
                r#"Set { name: "warpline.rollups", value: Some("off"), local: false }"#,
            ),
            (
                "SET extra_float_digits TO DEFAULT",
                r#"Set { name: "extra_float_digits", value: None, local: false }"#,
            ),
            (
                "SET LOCAL work_mem = '1MB'",
                r#"Set { name: "work_mem", value: Some("1MB"), local: true }"#,
            ),
            ("FETCH 1 FROM Mine", r#"Fetch { name: "mine", rows: Some(1) }"#),
            ("ROLLBACK TO a", "RollbackTo"),
            (
                "SET NAMES 'utf8'",
                r#"Set { name: "client_encoding", value: Some("utf8"), local: false }"#,
            ),
            ("RESET timezone", r#"Set { name: "timezone", value: None, local: false }"#),
            ("RESET ALL", "ResetAll"),
            ("SHOW TIME ZONE", r#"Show(Some("TimeZone"))"#),
            ("SHOW warpline.rollups", r#"Show(Some("warpline.rollups"))"#),
            ("SHOW transaction isolation level", r#"Show(Some("transaction_isolation"))"#),
            ("SHOW ALL", "Show(None)"),
            ("BEGIN READ ONLY", "Begin"),
            ("START TRANSACTION", "Begin"),
            ("ROLLBACK", "Rollback"),
            ("SAVEPOINT a", r#"Nothing("SAVEPOINT")"#),
            ("DECLARE c CURSOR FOR SELECT 1", "c SELECT 1 false"),
            ("DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT 1", "c SELECT 1 true"),
            (
                "DECLARE c SCROLL CURSOR FOR SELECT 1",
                "a cursor goes forward only: leave SCROLL out",
            ),
            ("FETCH FORWARD 100 FROM c", r#"Fetch { name: "c", rows: Some(100) }"#),
            ("FETCH NEXT FROM c", r#"Fetch { name: "c", rows: Some(1) }"#),
            ("FETCH ALL FROM c", r#"Fetch { name: "c", rows: None }"#),
            ("FETCH PRIOR FROM c", "a cursor goes forward only"),
            ("CLOSE ALL", "Close(None)"),
            ("CLOSE c", r#"Close(Some("c"))"#),
            ("DISCARD ALL", "DiscardAll"),
            ("SELECT 1", "none"),
        ] {
            assert_eq!(command(sql), want, "{sql}");
        }
    }
}
