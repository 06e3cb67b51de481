//! Which of a batch's nodes and buffers are a column's. The header was verified to be a
//! flatbuffer; what it says is not believed before it was counted.

use super::schema::Shape;
use super::{FlightError, malformed};
use arrow::ipc;
use std::ops::Range;
use warpline_storage::model::MAX_BLOCK_ROWS;

/// A column's part of a batch.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// Its number of values, which its sender says.
    pub(super) length: i64,
    /// How many of them its sender says are NULL.
    pub(super) nulls: i64,
    /// Its buffers, among all of the batch.
    pub(super) buffers: Range<usize>,
}

/// The rows of a batch.
pub(super) fn rows(batch: ipc::RecordBatch<'_>) -> Result<usize, FlightError> {
    let rows = usize::try_from(batch.length())
        .map_err(|_| malformed(format!("the batch has {} rows", batch.length())))?;
    if rows > MAX_BLOCK_ROWS {
        return Err(FlightError::TooLarge(format!(
            "the batch has {rows} rows; the limit is {MAX_BLOCK_ROWS}: send fewer in one batch"
        )));
    }
    Ok(rows)
}

/// The pieces of all columns.
pub(super) fn pieces(
    batch: ipc::RecordBatch<'_>,
    shapes: impl Iterator<Item = Shape>,
) -> Result<Vec<Piece>, FlightError> {
    let missing = || malformed("the batch has fewer parts than its columns need");
    let nodes = batch.nodes().ok_or_else(missing)?;
    let buffers = batch.buffers().map_or(0, |buffers| buffers.len());
    let mut views = batch.variadicBufferCounts().into_iter().flatten();
    let (mut node, mut buffer) = (0, 0);
    let mut pieces = Vec::new();
    for shape in shapes {
        let mut end = buffer + shape.buffers;
        for _ in 0..shape.views {
            let more = views.next().ok_or_else(missing)?;
            let more = usize::try_from(more).map_err(|_| missing())?;
            end = end.checked_add(more).ok_or_else(missing)?;
        }
        if node + shape.nodes > nodes.len() || end > buffers {
            return Err(missing());
        }
        let own = nodes.get(node);
        pieces.push(Piece { length: own.length(), nulls: own.null_count(), buffers: buffer..end });
        (node, buffer) = (node + shape.nodes, end);
    }
    Ok(pieces)
}
