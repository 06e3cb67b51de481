//! What can go wrong with a statement, and what its sender should do about it.

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

/// What the sender of a statement does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryErrorKind {
    /// The text is not SQL we can read.
    Syntax,
    /// It names a table that is not there.
    UnknownTable,
    /// It names a column that is not there.
    UnknownColumn,
    /// It is SQL, but asks for something meaningless or not supported.
    Invalid,
    /// It would change data or settings: SQL here only reads.
    ReadOnly,
    /// A value left the range of its type while computing.
    OutOfRange,
    /// Something was divided by zero.
    DivisionByZero,
    /// A text is no value of the type that it is taken as.
    InvalidText,
    /// It names a setting that is not there.
    UnknownSetting,
    /// It gives a setting what cannot be its value.
    InvalidSetting,
    /// It names a cursor that is not there.
    UnknownCursor,
    /// It names a new cursor as one that is.
    DuplicateCursor,
    /// It names a prepared statement that is not there.
    UnknownStatement,
    /// It names a new prepared statement as one that is.
    DuplicateStatement,
    /// It is possible in a transaction alone.
    NoTransaction,
    /// Its transaction has failed: end that first.
    FailedTransaction,
    /// Its messages are not what the protocol has.
    Protocol,
    /// What it was prepared as has changed: prepare it again.
    Changed,
    /// It is larger than any may be, or its answer is.
    TooLarge,
    /// Its sender asked for its end.
    Cancelled,
    /// It ran longer than the limit.
    Timeout,
    /// It needs more memory than queries may have; ask for less at once.
    Resources,
    /// Our fault or the store's.
    Internal,
}

/// A refused or failed statement. The message names what is wrong and stands alone.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    kind: QueryErrorKind,
    message: String,
}

impl QueryError {
    pub(crate) fn new(kind: QueryErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub fn kind(&self) -> QueryErrorKind {
        self.kind
    }

    /// The five-character code PostgreSQL clients know this error by.
    pub fn sqlstate(&self) -> &'static str {
        match self.kind {
            QueryErrorKind::Syntax => "42601",
            QueryErrorKind::UnknownTable => "42P01",
            QueryErrorKind::UnknownColumn => "42703",
            QueryErrorKind::Invalid => "42000",
            QueryErrorKind::ReadOnly => "25006",
            QueryErrorKind::OutOfRange => "22003",
            QueryErrorKind::DivisionByZero => "22012",
            QueryErrorKind::InvalidText => "22P02",
            QueryErrorKind::UnknownSetting => "42704",
            QueryErrorKind::InvalidSetting => "22023",
            QueryErrorKind::UnknownCursor => "34000",
            QueryErrorKind::DuplicateCursor => "42P03",
            QueryErrorKind::UnknownStatement => "26000",
            QueryErrorKind::DuplicateStatement => "42P05",
            QueryErrorKind::NoTransaction => "25P01",
            QueryErrorKind::FailedTransaction => "25P02",
            QueryErrorKind::Protocol => "08P01",
            QueryErrorKind::Changed => "0A000",
            QueryErrorKind::TooLarge => "54000",
            QueryErrorKind::Cancelled | QueryErrorKind::Timeout => "57014",
            QueryErrorKind::Resources => "53200",
            QueryErrorKind::Internal => "XX000",
        }
    }
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        let kind = kind_of(error.find_root());
        Self::new(kind, message_of(&error))
    }
}

impl From<ArrowError> for QueryError {
    fn from(error: ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}

fn kind_of(root: &DataFusionError) -> QueryErrorKind {
    match root {
        DataFusionError::SQL(..) => QueryErrorKind::Syntax,
        DataFusionError::SchemaError(error, _) => match **error {
            SchemaError::FieldNotFound { .. } => QueryErrorKind::UnknownColumn,
            _ => QueryErrorKind::Invalid,
        },
        DataFusionError::Plan(text) if is_missing_table(text) => QueryErrorKind::UnknownTable,
        DataFusionError::Plan(text) if is_forbidden(text) => QueryErrorKind::ReadOnly,
        DataFusionError::Plan(_)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Configuration(_) => QueryErrorKind::Invalid,
        DataFusionError::ResourcesExhausted(_) => QueryErrorKind::Resources,
        DataFusionError::Execution(text) if text.contains("out of range") => {
            QueryErrorKind::OutOfRange
        }
        DataFusionError::Execution(text)
            if text.starts_with("DATE_BIN stride")
                || text.starts_with("Scalar subquery returned more than one row") =>
        {
            QueryErrorKind::Invalid
        }
        DataFusionError::ArrowError(error, _) => kind_of_arrow(error),
        _ => QueryErrorKind::Internal,
    }
}

/// Arrow reports what a statement did with its values: a cast of text, an overflow, a zero.
fn kind_of_arrow(error: &ArrowError) -> QueryErrorKind {
    match error {
        ArrowError::ArithmeticOverflow(_) => QueryErrorKind::OutOfRange,
        ArrowError::DivideByZero => QueryErrorKind::DivisionByZero,
        ArrowError::CastError(text) if text.starts_with("Can't cast value") => {
            QueryErrorKind::OutOfRange
        }
        ArrowError::CastError(text) if text.starts_with("Cannot cast string") => {
            QueryErrorKind::InvalidText
        }
        ArrowError::ParseError(_) => QueryErrorKind::InvalidText,
        ArrowError::CastError(_) => QueryErrorKind::Invalid,
        _ => QueryErrorKind::Internal,
    }
}

fn is_missing_table(text: &str) -> bool {
    (text.starts_with("table '") && text.ends_with("' not found"))
        || (text.starts_with("relation \"") && text.ends_with("\" does not exist"))
}

fn is_forbidden(text: &str) -> bool {
    ["DDL", "DML", "Statement"]
        .iter()
        .any(|what| text.starts_with(&format!("{what} not supported")))
}

/// The root's own words without the names of layers that only passed it on.
fn message_of(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::Plan(text) => function_words(text).to_owned(),
        DataFusionError::Execution(text)
        | DataFusionError::NotImplemented(text)
        | DataFusionError::Configuration(text)
        | DataFusionError::ResourcesExhausted(text) => text.clone(),
        DataFusionError::SQL(error, _) => error.to_string(),
        DataFusionError::SchemaError(error, _) => error.to_string(),
        DataFusionError::ArrowError(error, _) => error.to_string(),
        other => other.strip_backtrace(),
    }
}

/// What a function says about its arguments, without what DataFusion puts around it.
fn function_words(text: &str) -> &str {
    let Some((_, words)) = text.split_once("coercion failed with: Error during planning: ") else {
        return text;
    };
    words.split(". No function matches").next().unwrap_or(words)
}
