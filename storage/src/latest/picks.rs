//! Rows taken out of several sources, with the last write of each column.

use super::Place;
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;

/// Output rows, each the writes of one key in their order.
#[derive(Debug)]
pub(crate) struct Picks {
    /// By source: the rows that are needed of it.
    rows: Vec<Vec<u32>>,
    /// Every write: its source and its index in that source's `rows`.
    writes: Vec<(usize, usize)>,
    /// By output row: where its writes end.
    ends: Vec<usize>,
}

impl Picks {
    pub(crate) fn new(sources: usize) -> Self {
        Self { rows: vec![Vec::new(); sources], writes: Vec::new(), ends: Vec::new() }
    }

    /// Adds an output row; it has at least one write.
    pub(crate) fn add(&mut self, writes: impl Iterator<Item = Place>) {
        for Place { source, row } in writes {
            let rows = &mut self.rows[source as usize];
            self.writes.push((source as usize, rows.len()));
            rows.push(row);
        }
        self.ends.push(self.writes.len());
    }

    /// By source: the rows to bring to [`Picks::batch`], in this order.
    pub(crate) fn rows(&self) -> &[Vec<u32>] {
        &self.rows
    }

    /// The output, from the columns of `schema` that each source has at its `rows`.
    pub(crate) fn batch(&self, schema: SchemaRef, sources: &[Vec<ArrayRef>]) -> RecordBatch {
        let column =
            |at: usize| sources.iter().map(|source| source[at].clone()).collect::<Vec<_>>();
        let columns = (0..schema.fields().len()).map(|at| self.column(&column(at))).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.ends.len()));
        let batch = RecordBatch::try_new_with_options(schema, columns, &options);
        batch.expect("the sources have the schema's columns")
    }

    fn column(&self, sources: &[ArrayRef]) -> ArrayRef {
        if self.writes.len() > self.ends.len() {
            return merged(sources, &self.last_present(sources));
        }
        let mut used = self.rows.iter().zip(sources).filter(|(rows, _)| !rows.is_empty());
        match (used.next(), used.next()) {
            (Some((_, only)), None) => only.clone(),
            _ => merged(sources, &self.writes),
        }
    }

    /// Of each output row the last write that has a value; its first one where none has.
    fn last_present(&self, sources: &[ArrayRef]) -> Vec<(usize, usize)> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let runs = starts.zip(&self.ends).map(|(start, end)| &self.writes[*start..*end]);
        let present = |(source, row): &&(usize, usize)| sources[*source].is_valid(*row);
        runs.map(|run| *run.iter().rev().find(present).unwrap_or(&run[0])).collect()
    }
}

fn merged(sources: &[ArrayRef], places: &[(usize, usize)]) -> ArrayRef {
    let sources: Vec<&dyn Array> = sources.iter().map(AsRef::as_ref).collect();
    interleave(&sources, places).expect("the sources' types are equal and the rows are theirs")
}
