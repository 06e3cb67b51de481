//! One record batch as it was read.

use super::{FlightError, malformed};
use arrow::array::ArrayRef;

/// Rows of the columns that were asked for.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(super) rows: usize,
    /// By column of the stream; `None` for those that were not asked for.
    pub(super) arrays: Vec<Option<ArrayRef>>,
    /// By column of the stream: how many values its sender says are there.
    pub(super) present: Vec<u64>,
}

impl Batch {
    pub(super) fn array(&self, column: usize) -> Result<&ArrayRef, FlightError> {
        let array = self.arrays.get(column).and_then(Option::as_ref);
        array.ok_or_else(|| malformed("a column was not read"))
    }
}
