//! Arrow batches, as `DoPut` of Arrow Flight brings them: how they are read, and what they become.
//!
//! ```text
//! schema        Decoder     columns, of which a Plan says what each is in its table
//! dictionary    Decoder     kept until the stream ends or it is replaced
//! batch         Decoder ->  one array for each column that is wanted
//! rows          register    series by their tags, in places that all streams share
//! ```
//! Promises: whatever the bytes, reading them neither panics nor takes more memory than
//! [`Decoder::cost`] says before; the rows of a batch take no more than the register's limit; a
//! column or row that cannot be taken is told, and the others are kept.

mod arrays;
mod batch;
mod body;
mod decoder;
mod numbers;
mod pieces;
mod plan;
mod register;
mod rows;
mod schema;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod text;

pub(crate) use batch::Batch;
pub(crate) use decoder::{Decoder, Read};
pub(crate) use plan::Plan;
pub(crate) use register::{FlightRegister, FlightTally};

use warpline_storage::StorageError;

/// Why a message is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlightError {
    #[error("{0}")]
    Malformed(String),
    #[error("{0}")]
    TooLarge(String),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Checks that memory for a part of a message is within its limit.
fn within(what: &str, bytes: usize, limit: usize) -> Result<(), FlightError> {
    if bytes <= limit {
        return Ok(());
    }
    Err(FlightError::TooLarge(format!(
        "{what} {bytes} bytes of memory; the limit is {limit}: send fewer rows in one batch"
    )))
}

fn malformed(why: impl Into<String>) -> FlightError {
    FlightError::Malformed(why.into())
}
