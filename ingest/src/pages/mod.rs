//! Lasting places for the series of one table in few layouts, for samples that come in any
//! selection.
//!
//! A layout names fixed series and columns, and each one is written into every log segment that
//! uses it; a request of other people's protocols carries any series. So a series gets a place
//! once: the new ones of a request become a page, which is a layout, and eight pages of like size
//! are merged into one, up to [`PAGE_SERIES`]. `n` series lie in about `n / PAGE_SERIES + 28`
//! pages, and each has been in at most five. A series that needs a column which its page lacks
//! moves into a new page. Series that arrive together stay together, so that a request of one
//! scrape touches few pages.
//!
//! Promises: the samples of a request become one block per page that they touch; a series or value
//! that cannot be taken is told and harms no other.

mod page;
mod rows;
#[cfg(test)]
mod tests;
mod things;

use crate::naming::{Attributes, Columns};
use crate::refused::{Reason, Refused};
use hashbrown::{HashMap, HashSet};
use page::{Page, Target};
pub(crate) use rows::{ROWS_AT_ONCE, Row};
use std::collections::BTreeSet;
use std::sync::Arc;
use things::{Home, Things};
use warpline_storage::model::{Block, Column, FieldType, Layout, Timestamp, Value, ValueRefusal};
use warpline_storage::{ErrorKind, Storage, StorageError};

/// Series of a page that is not merged further.
pub(crate) const PAGE_SERIES: usize = 4_096;
/// Pages of like size that are merged into one.
const FAN_IN: usize = 8;
/// Rows of one block; a request with more makes several.
const BLOCK_ROWS: usize = 8_192;
/// Cells for which room is kept between requests.
const SPARE_CELLS: usize = 1 << 16;

/// One sample on its way into a page.
#[derive(Clone, Copy, Debug)]
struct Cell {
    thing: u32,
    column: u32,
    time: Timestamp,
    /// `None` makes a row in which the column has no value.
    value: Option<Value>,
}

/// The series of one table. A series with other attributes is another thing.
#[derive(Debug)]
pub(crate) struct Pages {
    table: Arc<str>,
    identity_tags: Vec<Arc<str>>,
    things: Things,
    columns: Columns,
    slots: Vec<Option<Page>>,
    /// Counts pages: later ones have later series.
    made: u64,
    // The present request.
    cells: Vec<Cell>,
    /// Pages that have rows of it.
    open: Vec<u32>,
    /// Rows of wide pages by thing and time.
    rows: HashMap<(u32, Timestamp), u32>,
}

impl Pages {
    pub(crate) fn new(table: impl Into<Arc<str>>, identity_tags: Vec<Arc<str>>) -> Self {
        Self {
            table: table.into(),
            identity_tags,
            things: Things::default(),
            columns: Columns::default(),
            slots: Vec::new(),
            made: 0,
            cells: Vec::new(),
            open: Vec::new(),
            rows: HashMap::new(),
        }
    }

    /// The number of a thing, given when it is first seen.
    pub(crate) fn thing(&mut self, identity: Vec<Arc<str>>, attributes: Attributes) -> u32 {
        self.things.number(identity, attributes)
    }

    /// The same; `None` where it would have the number `most`.
    pub(crate) fn thing_within(
        &mut self,
        identity: Vec<Arc<str>>,
        attributes: Attributes,
        most: usize,
    ) -> Option<u32> {
        self.things.number_within(identity, attributes, most)
    }

    /// The numbers of columns.
    pub(crate) fn columns(&mut self) -> &mut Columns {
        &mut self.columns
    }

    /// How many columns have numbers once these have, too.
    pub(crate) fn width_with<'a>(&self, names: impl Iterator<Item = &'a str>) -> usize {
        self.columns.all().len() + names.filter(|name| self.columns.find(name).is_none()).count()
    }

    pub(crate) fn column(&self, number: u32) -> &Column {
        &self.columns.all()[number as usize]
    }

    /// How many things have numbers.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.things.len()
    }

    /// Adds a sample to the present request; a later one of a cell takes the earlier one's place.
    pub(crate) fn add(&mut self, thing: u32, column: u32, time: Timestamp, value: Option<Value>) {
        self.cells.push(Cell { thing, column, time, value });
    }

    /// Leaves the present request out.
    pub(crate) fn discard(&mut self) {
        self.cells.clear();
    }

    /// The present request's blocks, under layouts that the store has taken.
    pub(crate) fn finish(
        &mut self,
        storage: &Storage,
        refused: &mut Refused,
    ) -> Result<Vec<Block>, StorageError> {
        let mut blocks = Vec::new();
        let mut cells = std::mem::take(&mut self.cells);
        let homeless: Vec<Cell> =
            cells.iter().filter(|cell| !self.put(cell, &mut blocks, refused)).copied().collect();
        if !homeless.is_empty() {
            // A thing that moves begins new rows.
            self.rows.clear();
            let columns = homeless.iter().map(|cell| cell.column).collect();
            let things = homeless.iter().map(|cell| cell.thing);
            let settled = self.settle(things, columns, storage);
            if settled.is_err() {
                self.close(&mut blocks);
            }
            let why = settled?.unwrap_or_default();
            for cell in &homeless {
                if !self.put(cell, &mut blocks, refused) {
                    refused.add(Reason::Series, 1, || why.clone());
                }
            }
        }
        self.close(&mut blocks);
        if !homeless.is_empty() {
            self.merge(storage);
        }
        cells.clear();
        cells.shrink_to(SPARE_CELLS);
        self.cells = cells;
        Ok(blocks)
    }

    /// Puts a cell into its page; false where there is no place for it yet.
    fn put(&mut self, cell: &Cell, blocks: &mut Vec<Block>, refused: &mut Refused) -> bool {
        let Some(home) = self.things.home(cell.thing) else { return false };
        if self.page(home).target(cell.column) == Target::Unknown {
            return false;
        }
        let store = |field_type: FieldType| {
            let stored = cell.value.map(|value| field_type.store(value)).transpose()?;
            Ok(stored.map(|stored| stored.raw))
        };
        if let Some((column, raw)) = self.fit(home, cell.column, store, refused) {
            if self.page(home).is_full(BLOCK_ROWS) {
                blocks.extend(self.page_mut(home).finish());
                self.open.retain(|page| *page != home.page);
                self.rows.clear();
            }
            let row = self.begin(home, cell.thing, cell.time);
            if let Some(raw) = raw {
                self.page_mut(home).set(row, column, raw);
            }
        }
        true
    }

    /// Where a value goes in its page, and as what; `None`, and told, where it cannot go there.
    fn fit(
        &self,
        home: Home,
        column: u32,
        store: impl FnOnce(FieldType) -> Result<Option<i64>, ValueRefusal>,
        refused: &mut Refused,
    ) -> Option<(u32, Option<i64>)> {
        let page = self.page(home);
        match page.target(column) {
            Target::Unknown => None,
            Target::Refused(conflict) => {
                refused.add(Reason::Column, 1, || page.conflict(conflict).to_owned());
                None
            }
            Target::At { index, field_type } => match store(field_type) {
                Ok(raw) => Some((index, raw)),
                Err(refusal) => {
                    let name = &self.columns.all()[column as usize].name;
                    refused.add(Reason::Value, 1, || format!("{}.{name}: {refusal}", self.table));
                    None
                }
            },
        }
    }

    /// The row of a thing and a time in the thing's page.
    fn begin(&mut self, home: Home, thing: u32, time: Timestamp) -> u32 {
        let page = self.slots[home.page as usize].as_mut().expect("a home is in a page");
        if page.is_empty() {
            self.open.push(home.page);
        }
        if page.is_narrow() {
            return page.begin(home.index, time);
        }
        *self.rows.entry((thing, time)).or_insert_with(|| page.begin(home.index, time))
    }

    fn page(&self, home: Home) -> &Page {
        self.slots[home.page as usize].as_ref().expect("a home is in a page")
    }

    fn page_mut(&mut self, home: Home) -> &mut Page {
        self.slots[home.page as usize].as_mut().expect("a home is in a page")
    }

    fn close(&mut self, blocks: &mut Vec<Block>) {
        for number in self.open.drain(..) {
            let slot = &mut self.slots[number as usize];
            let page = slot.as_mut().expect("an open page is there");
            blocks.extend(page.finish());
            if page.is_deserted() {
                *slot = None;
            }
        }
        self.rows.clear();
        self.rows.shrink_to(SPARE_CELLS);
    }

    /// Makes pages with these columns. Answers why the store takes some of them not.
    fn settle(
        &mut self,
        things: impl Iterator<Item = u32>,
        columns: BTreeSet<u32>,
        storage: &Storage,
    ) -> Result<Option<String>, StorageError> {
        let mut seen = HashSet::new();
        let moving: Vec<u32> = things.filter(|thing| seen.insert(*thing)).collect();
        match self.move_into_new(&moving, columns, storage) {
            Ok(()) => Ok(None),
            Err(error) if error.kind() == ErrorKind::Rejected => Ok(Some(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Gives things new pages with these columns and those of their old ones.
    fn move_into_new(
        &mut self,
        moving: &[u32],
        mut columns: BTreeSet<u32>,
        storage: &Storage,
    ) -> Result<(), StorageError> {
        let old: HashSet<u32> =
            moving.iter().filter_map(|one| self.things.home(*one)).map(|home| home.page).collect();
        for page in old.iter().filter_map(|page| self.slots[*page as usize].as_ref()) {
            columns.extend(page.columns());
        }
        for things in moving.chunks(PAGE_SERIES) {
            let page = self.make(things, &columns, storage)?;
            let number = self.enter(page);
            for (index, thing) in things.iter().enumerate() {
                let home = Home { page: number, index: index as u32 };
                if let Some(left) = self.things.move_to(*thing, home) {
                    self.leave(left.page);
                }
            }
        }
        Ok(())
    }

    fn make(
        &mut self,
        things: &[u32],
        columns: &BTreeSet<u32>,
        storage: &Storage,
    ) -> Result<Page, StorageError> {
        let column = |number: &u32| (*number, self.column(*number).clone());
        let columns: Vec<_> = columns.iter().map(column).collect();
        let (attributes, series) = self.things.listed(things)?;
        let layout = Layout::new(
            self.table.clone(),
            self.identity_tags.clone(),
            attributes,
            columns.iter().map(|(_, column)| column.clone()).collect(),
            series,
        )?;
        let admission = storage.admit(&layout)?;
        self.made += 1;
        Ok(Page::new(self.made, columns, admission, things.to_vec()))
    }

    fn enter(&mut self, page: Page) -> u32 {
        let free = self.slots.iter().position(Option::is_none);
        let at = free.unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[at] = Some(page);
        at as u32
    }

    /// One thing of a page has another home now. A page without things goes, unless it holds rows.
    fn leave(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        let page = slot.as_mut().expect("the page is there");
        page.leave();
        if page.is_deserted() && page.is_empty() {
            *slot = None;
        }
    }

    /// Merges pages until none has enough like it. What the store does not take stays as it is.
    fn merge(&mut self, storage: &Storage) {
        while let Some(like) = self.pages_alike() {
            let mut moving = Vec::new();
            for number in &like {
                let page = self.slots[*number as usize].as_ref().expect("found there");
                moving.extend(self.things.living(page.things(), *number));
            }
            if let Err(error) = self.move_into_new(&moving, BTreeSet::new(), storage) {
                tracing::warn!(%error, table = %self.table, "layouts were not merged");
                return;
            }
        }
    }

    /// Pages of like size that are due to become one, in the order they were made.
    fn pages_alike(&self) -> Option<Vec<u32>> {
        let mut tiers: [Vec<u32>; 5] = Default::default();
        for (number, page) in self.slots.iter().enumerate() {
            if let Some(tier) = page.as_ref().and_then(Page::tier) {
                tiers[tier].push(number as u32);
            }
        }
        let mut like = tiers.into_iter().find(|tier| tier.len() >= FAN_IN)?;
        like.sort_by_key(|number| self.slots[*number as usize].as_ref().map(Page::made));
        Some(like)
    }
}
