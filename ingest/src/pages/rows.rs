//! Whole rows, for protocols whose samples come in columns: places first, then rows, then values.

use super::{Home, Pages, Target};
use crate::refused::{Reason, Refused};
use std::collections::BTreeSet;
use warpline_storage::model::{Block, FieldType, Timestamp, ValueRefusal};
use warpline_storage::{Storage, StorageError};

/// A row that was begun, until [`Pages::take_blocks`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    home: Home,
    number: u32,
}

/// Rows that may be begun before blocks must be taken.
pub(crate) const ROWS_AT_ONCE: usize = super::BLOCK_ROWS;

impl Pages {
    /// Gives each thing a place with these columns, before any row is begun. Answers why the store
    /// takes some of them not: [`Pages::row`] then has none for them.
    pub(crate) fn place(
        &mut self,
        things: &[u32],
        columns: &BTreeSet<u32>,
        storage: &Storage,
    ) -> Result<Option<String>, StorageError> {
        let homeless = |thing: &&u32| {
            self.things.home(**thing).is_none_or(|home| {
                let page = self.page(home);
                columns.iter().any(|column| page.target(*column) == Target::Unknown)
            })
        };
        let homeless: Vec<u32> = things.iter().filter(homeless).copied().collect();
        if homeless.is_empty() {
            return Ok(None);
        }
        let why = self.settle(homeless.into_iter(), columns.clone(), storage)?;
        self.merge(storage);
        Ok(why)
    }

    /// The columns that each row of a thing has; none where the thing has no place.
    pub(crate) fn width(&self, thing: u32) -> usize {
        self.things.home(thing).map_or(0, |home| self.page(home).width())
    }

    /// The row of a thing and a time; `None` where the thing has no place.
    pub(crate) fn row(&mut self, thing: u32, time: Timestamp) -> Option<Row> {
        let home = self.things.home(thing)?;
        Some(Row { home, number: self.begin(home, thing, time) })
    }

    /// Sets what `store` makes of a value for the column's type: nothing leaves it as it is.
    /// `unplaced` is what [`Pages::place`] said of columns without a place.
    pub(crate) fn set(
        &mut self,
        row: Row,
        column: u32,
        store: impl FnOnce(FieldType) -> Result<Option<i64>, ValueRefusal>,
        unplaced: &str,
        refused: &mut Refused,
    ) {
        if self.page(row.home).target(column) == Target::Unknown {
            refused.add(Reason::Column, 1, || unplaced.to_owned());
            return;
        }
        if let Some((index, Some(raw))) = self.fit(row.home, column, store, refused) {
            self.page_mut(row.home).set(row.number, index, raw);
        }
    }

    /// The blocks of all rows begun.
    pub(crate) fn take_blocks(&mut self) -> Vec<Block> {
        let mut blocks = Vec::new();
        self.close(&mut blocks);
        blocks
    }
}
