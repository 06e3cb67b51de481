//! The second reading of the files: rows become blocks under the plan's layouts.

use super::ImportError;
use super::fields::number;
use super::plan::{Columns, Plan};
use super::source::{Cell, Place, SourceColumn, Visitor};
use bytes::Bytes;
use std::path::Path;
use tokio::sync::mpsc;
use warpline_storage::model::BlockBuilder;

/// A block is sent at this many rows or bytes of values: frames stay small and few.
const BLOCK_ROWS: usize = 8_192;
const BLOCK_BYTES: usize = 4 << 20;

/// A block on its way to the server.
#[derive(Debug)]
pub(super) struct Encoded {
    /// The index of its layout in the plan.
    pub(super) layout: usize,
    pub(super) bytes: Bytes,
    pub(super) rows: u64,
    pub(super) values: u64,
}

/// Makes blocks and hands them to `out`, waiting while it is full.
#[derive(Debug)]
pub(super) struct Encoder<'a> {
    plan: &'a Plan,
    out: mpsc::Sender<Encoded>,
    columns: Columns,
    /// One per layout, with the values it holds.
    builders: Vec<(BlockBuilder, u64)>,
    key: Vec<u8>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(plan: &'a Plan, out: mpsc::Sender<Encoded>) -> Self {
        let builders = plan.layouts.iter().map(|l| (BlockBuilder::new(l.clone()), 0)).collect();
        Self { plan, out, columns: Columns::default(), builders, key: Vec::new() }
    }

    /// Sends what is left.
    pub(super) fn finish(mut self) -> Result<(), ImportError> {
        for layout in 0..self.builders.len() {
            if !self.builders[layout].0.is_empty() {
                self.send(layout)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, layout: usize) -> Result<(), ImportError> {
        let (builder, values) = &mut self.builders[layout];
        let rows = builder.rows() as u64;
        let values = std::mem::take(values);
        let block = Encoded { layout, bytes: builder.finish(), rows, values };
        // A closed channel means that sending has failed; that error is the one to tell.
        self.out.blocking_send(block).map_err(|_| ImportError("the stream has ended".into()))
    }
}

impl Visitor for Encoder<'_> {
    fn begin(&mut self, file: &Path, columns: &[SourceColumn]) -> Result<(), ImportError> {
        self.columns = self.plan.columns(file, columns)?;
        Ok(())
    }

    fn row(&mut self, place: Place<'_>, cells: &[Cell<'_>]) -> Result<(), ImportError> {
        let time = self.plan.roles.time(&self.columns, place, cells)?;
        let (layout, series) = self
            .plan
            .series(&self.columns, cells, &mut self.key)
            .ok_or_else(|| place.error("the file has changed while it was read"))?;
        let (builder, values) = &mut self.builders[layout];
        builder.row(series, time);
        for (field, at) in self.columns.fields.iter().enumerate() {
            let cell = at.map_or(Cell::Null, |at| cells[at]);
            let name = &self.plan.fields[field].0;
            let refused =
                |reason: &dyn std::fmt::Display| place.error(format!("column {name}: {reason}"));
            let Some(value) = number(cell).map_err(|reason| refused(&reason))? else { continue };
            builder.set(field, value.value()).map_err(|reason| refused(&reason))?;
            *values += 1;
        }
        let full = (BLOCK_BYTES / builder.layout().row_width().max(1)).clamp(1, BLOCK_ROWS);
        if builder.rows() >= full { self.send(layout) } else { Ok(()) }
    }
}
