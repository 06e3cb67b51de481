//! One layout that the store has taken, and the present request's rows under it.

use super::{PAGE_SERIES, SPARE_CELLS};
use warpline_storage::Admission;
use warpline_storage::model::{Block, BlockBuilder, Column, FieldType, Timestamp};

/// Where a table's column is in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The page was made without it.
    Unknown,
    At {
        index: u32,
        field_type: FieldType,
    },
    /// The store does not take it; by number of the conflict.
    Refused(u32),
}

#[derive(Debug)]
pub(super) struct Page {
    made: u64,
    builder: BlockBuilder,
    /// By the table's number of the column.
    targets: Vec<Target>,
    conflicts: Vec<String>,
    /// By index in the layout; some may have moved to another page.
    things: Vec<u32>,
    living: usize,
}

impl Page {
    /// `columns` are those that were asked for, with their numbers in the table.
    pub(super) fn new(
        made: u64,
        columns: Vec<(u32, Column)>,
        admission: Admission,
        things: Vec<u32>,
    ) -> Self {
        let taken = admission.layout.columns();
        let conflicts: Vec<String> = admission.refused.iter().map(ToString::to_string).collect();
        let mut targets = Vec::new();
        for (number, column) in columns {
            let same = |one: &Column| one.name.eq_ignore_ascii_case(&column.name);
            let target = match taken.iter().position(same) {
                Some(at) => Target::At { index: at as u32, field_type: taken[at].field_type },
                None => Target::Refused(conflict_about(&conflicts, &column)),
            };
            targets.resize(targets.len().max(number as usize + 1), Target::Unknown);
            targets[number as usize] = target;
        }
        let living = things.len();
        let builder = BlockBuilder::new(admission.layout);
        Self { made, builder, targets, conflicts, things, living }
    }

    pub(super) fn target(&self, column: u32) -> Target {
        self.targets.get(column as usize).copied().unwrap_or(Target::Unknown)
    }

    pub(super) fn conflict(&self, number: u32) -> &str {
        self.conflicts.get(number as usize).map_or("the store does not take the column", |c| c)
    }

    /// The table's numbers of the columns that the page was made with.
    pub(super) fn columns(&self) -> impl Iterator<Item = u32> {
        let known = self.targets.iter().enumerate().filter(|(_, one)| **one != Target::Unknown);
        known.map(|(number, _)| number as u32)
    }

    pub(super) fn things(&self) -> &[u32] {
        &self.things
    }

    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// Its size as a power of eight; `None` where it is as large as pages become.
    pub(super) fn tier(&self) -> Option<usize> {
        let whole = self.things.len() >= PAGE_SERIES && self.living * 2 >= self.things.len();
        (!whole).then(|| self.living.max(1).ilog(8) as usize)
    }

    /// A thing has moved away.
    pub(super) fn leave(&mut self) {
        self.living -= 1;
    }

    /// Whether all things have moved away.
    pub(super) fn is_deserted(&self) -> bool {
        self.living == 0
    }

    /// The columns of each row.
    pub(super) fn width(&self) -> usize {
        self.builder.layout().columns().len()
    }

    /// Whether each row has one column, so that no two samples share a row.
    pub(super) fn is_narrow(&self) -> bool {
        self.width() == 1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    pub(super) fn is_full(&self, rows: usize) -> bool {
        self.builder.rows() >= rows
    }

    /// Begins a row and answers its number.
    pub(super) fn begin(&mut self, index: u32, time: Timestamp) -> u32 {
        self.builder.row(index, time);
        self.builder.rows() as u32 - 1
    }

    pub(super) fn set(&mut self, row: u32, column: u32, raw: i64) {
        self.builder.set_stored_at(row as usize, column as usize, raw);
    }

    /// The rows since the last call, if there are any.
    pub(super) fn finish(&mut self) -> Option<Block> {
        if self.builder.is_empty() {
            return None;
        }
        let layout = self.builder.layout().clone();
        let cells = self.builder.rows() * self.width();
        let bytes = self.builder.finish();
        if cells > SPARE_CELLS {
            self.builder = BlockBuilder::new(layout.clone());
        }
        Some(Block::parse(layout, bytes).expect("a builder's block fits its layout"))
    }
}

/// Which of the conflicts is about a column.
fn conflict_about(conflicts: &[String], column: &Column) -> u32 {
    let quoted = format!("{:?}", &*column.name);
    let at = conflicts.iter().position(|text| text.contains(&quoted));
    at.unwrap_or(conflicts.len()) as u32
}
