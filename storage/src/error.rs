//! One error type; its kind says what the caller does next.

use crate::model::{BlockError, LayoutError, SchemaConflict};

/// What the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Nothing was taken; the same call may succeed later (budget spent, store away).
    Retry,
    /// The input is at fault and will be refused again: mend it.
    Rejected,
    /// Another process owns the store now: stop.
    Fenced,
    /// Bytes on disk or in the store are not what was written: an operator must look.
    Corrupt,
    /// The store has been closed.
    Closed,
    /// A broken assumption of ours: report it.
    Internal,
}

/// An error with the place it happened (table, segment, offset, path) in its message.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StorageError {
    kind: ErrorKind,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StorageError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// An error caused by another one; the cause's own text is appended to the message.
    pub fn because(
        kind: ErrorKind,
        message: impl std::fmt::Display,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let source = source.into();
        Self { kind, message: format!("{message}: {source}"), source: Some(source) }
    }

    pub fn rejected(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Rejected, message)
    }

    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<LayoutError> for StorageError {
    fn from(error: LayoutError) -> Self {
        Self::rejected(error.to_string())
    }
}

impl From<BlockError> for StorageError {
    fn from(error: BlockError) -> Self {
        Self::rejected(error.to_string())
    }
}

impl From<SchemaConflict> for StorageError {
    fn from(error: SchemaConflict) -> Self {
        Self::rejected(error.to_string())
    }
}
