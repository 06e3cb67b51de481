//! Moves values from blocks into Arrow columns: the one time a value is moved after the log.
//!
//! Rows come series by series, so the blocks of one node (a few hundred kilobytes a minute) are
//! read again for each of its columns while they lie in the cache: the caller hands over stripes
//! of rows, not whole batches.

use super::Buffered;
use super::generation::LayoutEntry;
use crate::model::{Block, FieldType, TableSchema};
use arrow::array::{
    ArrayRef, ArrowPrimitiveType, DictionaryArray, Int32Array, PrimitiveArray, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use hashbrown::HashMap;
use std::sync::Arc;

/// A row to be moved. Several in sequence make one output row where `continues` is set: the same
/// key written again, later writes after earlier ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowRef<'a> {
    pub(super) buffered: &'a Buffered,
    pub(super) map: &'a ColumnMap,
    pub(super) row: u32,
    pub(super) continues: bool,
}

/// The blocks of a regular run: one per tick, row `i` of each is series `i`.
#[derive(Debug)]
pub(super) struct Ticks<'a> {
    entry: &'a LayoutEntry,
    map: &'a ColumnMap,
    blocks: Vec<&'a Block>,
    /// Where the rows of each series of a block begin in the output.
    starts: Vec<usize>,
}

impl<'a> Ticks<'a> {
    pub(super) fn new(entry: &'a LayoutEntry, map: &'a ColumnMap, blocks: Vec<&'a Block>) -> Self {
        let mut starts = vec![0; entry.by_identity.len()];
        for (place, series) in entry.by_identity.iter().enumerate() {
            starts[*series as usize] = place * blocks.len();
        }
        Self { entry, map, blocks, starts }
    }

    fn rows(&self) -> usize {
        self.entry.by_identity.len() * self.blocks.len()
    }
}

/// Where a layout keeps what a scan asks for.
#[derive(Debug)]
pub(super) struct ColumnMap {
    /// By wanted column: the index of the tag or field in the layout.
    places: Vec<Option<usize>>,
}

/// What one wanted column is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    Time,
    Identity(usize),
    Attribute(usize),
    Field(usize),
}

impl Wanted {
    /// What the column number `column` of the table's Arrow schema is.
    pub(super) fn of(schema: &TableSchema, column: usize) -> Self {
        let identity = 1;
        let attributes = identity + schema.identity.len();
        let fields = attributes + schema.attributes.len();
        match column {
            0 => Self::Time,
            _ if column < attributes => Self::Identity(column - identity),
            _ if column < fields => Self::Attribute(column - attributes),
            _ => Self::Field(column - fields),
        }
    }
}

impl ColumnMap {
    pub(super) fn new(schema: &TableSchema, wanted: &[Wanted], entry: &LayoutEntry) -> Self {
        let layout = &entry.layout;
        let place = |wanted: &Wanted| match *wanted {
            Wanted::Time => None,
            Wanted::Identity(at) => Some(at),
            Wanted::Attribute(at) => {
                layout.attribute_tags().iter().position(|name| *name == schema.attributes[at])
            }
            Wanted::Field(at) => {
                let (columns, name) = (layout.columns(), &schema.fields[at].name);
                // Most layouts have a table's columns in its order.
                let same_place = columns.get(at).is_some_and(|column| column.name == *name);
                let search = || columns.iter().position(|column| column.name == *name);
                if same_place { Some(at) } else { search() }
            }
        };
        Self { places: wanted.iter().map(place).collect() }
    }
}

/// A column under construction.
#[derive(Debug)]
pub(super) enum Column {
    Time(Vec<i64>),
    Tag(TagColumn),
    Int8(Values<i8>),
    Int16(Values<i16>),
    Int32(Values<i32>, DataType),
    Int64(Values<i64>, DataType),
    Float64(Values<f64>),
}

impl Column {
    pub(super) fn new(schema: &TableSchema, wanted: Wanted, rows: usize) -> Self {
        match wanted {
            Wanted::Time => Self::Time(Vec::with_capacity(rows)),
            Wanted::Identity(_) => Self::Tag(TagColumn::new(true)),
            Wanted::Attribute(_) => Self::Tag(TagColumn::new(false)),
            Wanted::Field(at) => {
                let field_type = schema.fields[at].field_type;
                match (field_type, field_type.width()) {
                    (FieldType::Float64, _) => Self::Float64(Values::new(rows)),
                    (_, 1) => Self::Int8(Values::new(rows)),
                    (_, 2) => Self::Int16(Values::new(rows)),
                    (_, 4) => Self::Int32(Values::new(rows), field_type.arrow()),
                    _ => Self::Int64(Values::new(rows), field_type.arrow()),
                }
            }
        }
    }

    /// Appends one output row per key of `rows`; `wanted` is this column's number in the scan.
    pub(super) fn extend(&mut self, rows: &[RowRef<'_>], wanted: usize) {
        match self {
            Self::Time(times) => times.extend(
                rows.iter()
                    .filter(|row| !row.continues)
                    .map(|row| row.buffered.block.time(row.row as usize)),
            ),
            Self::Tag(tags) => tags.extend(rows, wanted),
            Self::Int8(values) => values.extend(rows, wanted),
            Self::Int16(values) => values.extend(rows, wanted),
            Self::Int32(values, _) => values.extend(rows, wanted),
            Self::Int64(values, _) => values.extend(rows, wanted),
            Self::Float64(values) => values.extend(rows, wanted),
        }
    }

    /// Appends all rows of a run, series by series.
    pub(super) fn extend_ticks(&mut self, ticks: &Ticks<'_>, wanted: usize) {
        match self {
            Self::Time(times) => {
                for _ in &ticks.entry.by_identity {
                    times.extend(ticks.blocks.iter().map(|block| block.time(0)));
                }
            }
            Self::Tag(tags) => tags.extend_ticks(ticks, wanted),
            Self::Int8(values) => values.extend_ticks(ticks, wanted),
            Self::Int16(values) => values.extend_ticks(ticks, wanted),
            Self::Int32(values, _) => values.extend_ticks(ticks, wanted),
            Self::Int64(values, _) => values.extend_ticks(ticks, wanted),
            Self::Float64(values) => values.extend_ticks(ticks, wanted),
        }
    }

    pub(super) fn finish(self) -> ArrayRef {
        match self {
            Self::Time(times) => Arc::new(
                PrimitiveArray::<TimestampMicrosecondType>::from_iter_values(times)
                    .with_timezone("UTC"),
            ),
            Self::Tag(tags) => tags.finish(),
            Self::Int8(values) => values.finish::<Int8Type>(&DataType::Int8),
            Self::Int16(values) => values.finish::<Int16Type>(&DataType::Int16),
            Self::Int32(values, DataType::Int32) => values.finish::<Int32Type>(&DataType::Int32),
            Self::Int32(values, decimal) => values.finish::<Decimal32Type>(&decimal),
            Self::Int64(values, DataType::Int64) => values.finish::<Int64Type>(&DataType::Int64),
            Self::Int64(values, decimal) => values.finish::<Decimal64Type>(&decimal),
            Self::Float64(values) => values.finish::<Float64Type>(&DataType::Float64),
        }
    }
}

/// A value as it lies in a block.
pub(super) trait Stored: Copy + Default + arrow::datatypes::ArrowNativeType {
    fn read(values: &[u8], row: usize) -> Self;
    /// All values of a block's column.
    fn read_all(values: &[u8]) -> impl Iterator<Item = Self>;
}

macro_rules! stored {
    ($($native:ty),*) => {$(
        impl Stored for $native {
            fn read(values: &[u8], row: usize) -> Self {
                Self::from_le_bytes(values.as_chunks().0[row])
            }
            fn read_all(values: &[u8]) -> impl Iterator<Item = Self> {
                values.as_chunks().0.iter().map(|bytes| Self::from_le_bytes(*bytes))
            }
        }
    )*};
}
stored!(i8, i16, i32, i64, f64);

/// Values with their presence, which is kept only once one is absent.
#[derive(Debug)]
pub(super) struct Values<T> {
    values: Vec<T>,
    present: Option<Vec<bool>>,
}

impl<T: Stored> Values<T> {
    fn new(rows: usize) -> Self {
        Self { values: Vec::with_capacity(rows), present: None }
    }

    /// Tick by tick, each value to its series' place: twice as fast as series by series, since
    /// a block is found once for all its rows.
    fn extend_ticks(&mut self, ticks: &Ticks<'_>, wanted: usize) {
        let start = self.values.len();
        let end = start + ticks.rows();
        self.values.resize(end, T::default());
        let Some(column) = ticks.map.places[wanted] else {
            self.present.get_or_insert_with(|| vec![true; start]).resize(end, false);
            return;
        };
        let out = &mut self.values[start..];
        for (tick, block) in ticks.blocks.iter().enumerate() {
            for (value, start) in T::read_all(block.column(column)).zip(&ticks.starts) {
                out[start + tick] = value;
            }
        }
        if self.present.is_some() || ticks.blocks.iter().any(|b| b.validity(column).is_some()) {
            let present = self.present.get_or_insert_with(|| vec![true; start]);
            present.resize(end, true);
            mark_absent(&mut present[start..], ticks, column);
        }
    }

    fn extend(&mut self, rows: &[RowRef<'_>], wanted: usize) {
        for same_map in rows.chunk_by(|a, b| std::ptr::eq(a.map, b.map) && !b.continues) {
            let repeated = same_map[0].continues;
            match same_map[0].map.places[wanted] {
                Some(column) if !repeated => self.extend_fast(same_map, column),
                place => self.extend_by_row(same_map, place, repeated),
            }
        }
    }

    /// Rows of one layout, none of which continues another.
    fn extend_fast(&mut self, rows: &[RowRef<'_>], column: usize) {
        let start = self.values.len();
        let mut absent = false;
        self.values.extend(rows.iter().map(|row| {
            let block = &row.buffered.block;
            absent |= block.validity(column).is_some();
            T::read(block.column(column), row.row as usize)
        }));
        if absent || self.present.is_some() {
            let present = self.present.get_or_insert_with(|| vec![true; start]);
            present.extend(rows.iter().map(|row| is_present(&row.buffered.block, column, row.row)));
        }
    }

    fn extend_by_row(&mut self, rows: &[RowRef<'_>], place: Option<usize>, mut repeated: bool) {
        for row in rows {
            let value = place.and_then(|column| {
                let block = &row.buffered.block;
                is_present(block, column, row.row)
                    .then(|| T::read(block.column(column), row.row as usize))
            });
            if !std::mem::take(&mut repeated) {
                self.push(value);
            } else if let Some(value) = value {
                self.replace_last(value);
            }
        }
    }

    fn push(&mut self, value: Option<T>) {
        if value.is_none() || self.present.is_some() {
            let rows = self.values.len();
            self.present.get_or_insert_with(|| vec![true; rows]).push(value.is_some());
        }
        self.values.push(value.unwrap_or_default());
    }

    fn replace_last(&mut self, value: T) {
        *self.values.last_mut().expect("a key's first row came before") = value;
        if let Some(last) = self.present.as_mut().and_then(|present| present.last_mut()) {
            *last = true;
        }
    }

    fn finish<A: ArrowPrimitiveType<Native = T>>(self, data_type: &DataType) -> ArrayRef {
        let nulls = self.present.map(NullBuffer::from);
        let array = PrimitiveArray::<A>::new(self.values.into(), nulls);
        Arc::new(array.with_data_type(data_type.clone()))
    }
}

fn mark_absent(present: &mut [bool], ticks: &Ticks<'_>, column: usize) {
    for (tick, block) in ticks.blocks.iter().enumerate() {
        if block.validity(column).is_some() {
            for (row, start) in ticks.starts.iter().enumerate() {
                present[start + tick] = block.is_present(column, row);
            }
        }
    }
}

fn is_present(block: &Block, column: usize, row: u32) -> bool {
    block.is_present(column, row as usize)
}

/// A tag as codes into the values met so far in this batch.
#[derive(Debug)]
pub(super) struct TagColumn {
    is_identity: bool,
    codes: Vec<Option<i32>>,
    values: Vec<Arc<str>>,
    code_of: HashMap<Arc<str>, i32>,
}

impl TagColumn {
    fn new(is_identity: bool) -> Self {
        Self { is_identity, codes: Vec::new(), values: Vec::new(), code_of: HashMap::new() }
    }

    fn extend(&mut self, rows: &[RowRef<'_>], wanted: usize) {
        let series = |row: &RowRef<'_>| row.buffered.block.series_index(row.row as usize);
        let same = |a: &RowRef<'_>, b: &RowRef<'_>| {
            std::ptr::eq(a.map, b.map) && series(a) == series(b) && !b.continues
        };
        for run in rows.chunk_by(same) {
            let code = self.code(&run[0].buffered.entry, run[0].map, series(&run[0]), wanted);
            if run[0].continues {
                if code.is_some() {
                    *self.codes.last_mut().expect("a key's first row came before") = code;
                }
                self.codes.extend(std::iter::repeat_n(code, run.len() - 1));
            } else {
                self.codes.extend(std::iter::repeat_n(code, run.len()));
            }
        }
    }

    fn extend_ticks(&mut self, ticks: &Ticks<'_>, wanted: usize) {
        for series in &ticks.entry.by_identity {
            let code = self.code(ticks.entry, ticks.map, *series, wanted);
            self.codes.extend(std::iter::repeat_n(code, ticks.blocks.len()));
        }
    }

    /// The code of a series' tag; an absent identity tag is the empty string, an absent attribute
    /// is NULL.
    fn code(
        &mut self,
        entry: &LayoutEntry,
        map: &ColumnMap,
        series: u32,
        wanted: usize,
    ) -> Option<i32> {
        let series = &entry.layout.series()[series as usize];
        let tags = if self.is_identity { &series.identity } else { &series.attributes };
        let value = &tags[map.places[wanted]?];
        if value.is_empty() && !self.is_identity {
            return None;
        }
        // Series that follow each other mostly have the same node, rack or model; those of a layout
        // share its text.
        if let Some(last) = self.codes.last().copied().flatten() {
            let before = &self.values[last as usize];
            if Arc::ptr_eq(before, value) || before == value {
                return Some(last);
            }
        }
        if let Some(code) = self.code_of.get(value) {
            return Some(*code);
        }
        let code = i32::try_from(self.values.len()).expect("a batch has fewer rows than that");
        self.values.push(value.clone());
        self.code_of.insert(value.clone(), code);
        Some(code)
    }

    fn finish(self) -> ArrayRef {
        let keys = Int32Array::from(self.codes);
        let values = StringArray::from_iter_values(&self.values);
        Arc::new(DictionaryArray::new(keys, Arc::new(values)))
    }
}
