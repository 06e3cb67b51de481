//! The wide rows of table `gpu` while a request is read.

use crate::naming::{AboutGpu, GPU_IDENTITY, GPU_TABLE, GpuCell, GpuNames, carry};
use crate::pages::Pages;
use crate::refused::Refused;
use hashbrown::HashMap;
use warpline_storage::model::{Block, Column, Timestamp, Value};
use warpline_storage::{Storage, StorageError};

#[derive(Debug)]
pub(super) struct GpuRows {
    names: GpuNames,
    pages: Pages,
    /// What a GPU is in the pages when it carries these attributes.
    things: HashMap<(u32, Vec<u32>), u32>,
    // The present request.
    cells: Vec<(GpuCell, Timestamp, Option<Value>)>,
    present: Vec<u32>,
    /// By GPU: the numbers of its attributes in the order they came.
    carried: Vec<Vec<u32>>,
    /// By GPU: what it is in the pages.
    thing_of: Vec<u32>,
}

impl Default for GpuRows {
    fn default() -> Self {
        Self {
            names: GpuNames::default(),
            pages: Pages::new(GPU_TABLE, GPU_IDENTITY.map(Into::into).to_vec()),
            things: HashMap::new(),
            cells: Vec::new(),
            present: Vec::new(),
            carried: Vec::new(),
            thing_of: Vec::new(),
        }
    }
}

impl GpuRows {
    pub(super) fn register(&mut self, about: AboutGpu) -> GpuCell {
        let cell = self.names.register(about, self.pages.columns());
        self.carried.resize(self.names.gpus(), Vec::new());
        self.thing_of.resize(self.names.gpus(), 0);
        cell
    }

    pub(super) fn column(&self, cell: GpuCell) -> &Column {
        self.pages.column(cell.column)
    }

    /// Adds a sample; `None` makes a row in which the column has no value. Says why it cannot be
    /// taken.
    pub(super) fn add(
        &mut self,
        cell: GpuCell,
        time: Timestamp,
        value: Option<Value>,
    ) -> Result<(), String> {
        let carried = &mut self.carried[cell.gpu as usize];
        if carried.is_empty() {
            self.present.push(cell.gpu);
        }
        carry(carried, cell.attributes)?;
        self.cells.push((cell, time, value));
        Ok(())
    }

    pub(super) fn discard(&mut self) {
        self.present.drain(..).for_each(|gpu| self.carried[gpu as usize].clear());
        self.cells = Vec::new();
        self.pages.discard();
    }

    pub(super) fn finish(
        &mut self,
        storage: &Storage,
        refused: &mut Refused,
    ) -> Result<Vec<Block>, StorageError> {
        for gpu in self.present.drain(..) {
            let carried = &mut self.carried[gpu as usize];
            let key = (gpu, std::mem::take(carried));
            let thing = self.things.get(&key).copied().unwrap_or_else(|| {
                let (identity, merged) = (self.names.identity(gpu), self.names.merge(&key.1));
                let thing = self.pages.thing(identity, merged);
                self.things.insert(key.clone(), thing);
                thing
            });
            self.thing_of[gpu as usize] = thing;
            *carried = key.1;
            carried.clear();
        }
        for (cell, time, value) in self.cells.drain(..) {
            self.pages.add(self.thing_of[cell.gpu as usize], cell.column, time, value);
        }
        self.pages.finish(storage, refused)
    }
}
