//! The newest row of each series of a generation.
//!
//! Full chunks never change, so each is looked at once, by the first reader that asks after it
//! was filled; what was found stays with the generation. The chunk being filled is looked at by
//! every reader that asks.

use super::columns::Column;
use super::fill::Fill;
use super::generation::{CHUNK_BLOCKS, Chunk};
use super::{Buffered, Generation};
use crate::latest::{Heads, Place};
use crate::model::{Identity, SeriesId, TableSchema, Timestamp};
use arrow::array::ArrayRef;
use std::sync::Arc;

/// The heads of a generation's first chunks, all of them full; a place's source is a block's
/// number in log order.
#[derive(Clone, Debug, Default)]
pub(super) struct ChunkHeads {
    chunks: usize,
    heads: Heads,
}

impl ChunkHeads {
    /// Looks at the chunks up to `end` that it has not seen.
    fn advance(&mut self, chunks: &[Arc<Chunk>], end: usize) {
        for chunk in &chunks[self.chunks..end] {
            for (index, buffered) in chunk.blocks.iter().enumerate() {
                self.look_at((self.chunks * CHUNK_BLOCKS + index) as u32, buffered);
            }
            self.chunks += 1;
        }
    }

    fn look_at(&mut self, number: u32, Buffered { block, entry }: &Buffered) {
        for row in 0..block.rows() {
            let series = entry.series[block.series_index(row) as usize];
            let place = Place { source: number, row: row as u32 };
            self.heads.offer(series, block.time(row), place);
        }
    }
}

/// The newest rows of a generation as it was at one instant.
#[derive(Debug)]
pub(crate) struct GenerationLatest {
    generation: Generation,
    heads: Heads,
}

impl GenerationLatest {
    pub(crate) fn new(generation: Generation) -> Self {
        let chunks = generation.chunks();
        let full = chunks.len().saturating_sub(1);
        let mut found = generation.chunk_heads().lock();
        // A newer reader may have been here first: what it found is not this instant's.
        let mut own = if found.chunks > full {
            ChunkHeads::default()
        } else {
            found.advance(chunks, full);
            found.clone()
        };
        drop(found);
        own.advance(chunks, chunks.len());
        Self { heads: own.heads, generation }
    }

    /// Each series that has rows, with its identity and greatest time.
    pub(crate) fn series(&self) -> impl Iterator<Item = (SeriesId, &Identity, Timestamp)> {
        self.heads.iter().map(|(series, time, last)| {
            let Buffered { block, entry } = self.block(last.source);
            let index = block.series_index(last.row as usize) as usize;
            (series, &entry.layout.series()[index].identity, time)
        })
    }

    /// The newest rows of these series, last write per field, in the columns that `columns` index
    /// in the table's Arrow schema.
    pub(crate) fn columns(
        &self,
        table: &Arc<TableSchema>,
        columns: &[usize],
        series: &[SeriesId],
    ) -> Vec<ArrayRef> {
        let rows = || {
            series.iter().flat_map(|one| {
                let writes = self.heads.writes(*one).enumerate();
                writes.map(|(nth, at)| (self.block(at.source), at.row, nth > 0))
            })
        };
        let mut fill = Fill::new(table.clone(), columns);
        rows().for_each(|(buffered, ..)| fill.map(&buffered.entry));
        let mut columns = fill.columns(series.len());
        fill.move_rows(rows(), &mut columns);
        columns.into_iter().map(Column::finish).collect()
    }

    fn block(&self, number: u32) -> &Buffered {
        let number = number as usize;
        &self.generation.chunks()[number / CHUNK_BLOCKS].blocks[number % CHUNK_BLOCKS]
    }
}
