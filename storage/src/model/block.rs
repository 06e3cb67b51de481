//! Rows under a layout as bytes: the one encoding shared by wire, log and buffer.
//!
//! ```text
//! 0   u8   flags   bit 0: a series index per row; bit 1: a time per row; bit 2: validity
//! 1   3    zero
//! 4   u32  rows
//! 8   i64  time of every row (bit 1 clear), or the smallest time (bit 1 set)
//! 16  u32  series index x rows            if bit 0; else row i is series i (rows = series)
//!     i64  time x rows                    if bit 1
//!     per column of the layout: value x rows, little-endian, at the column's width
//!     ceil(columns / 8) bytes: bit c set = column c has absent values     if bit 2
//!     per column so marked: ceil(rows / 8) bytes, bit r set = row r has a value
//! ```
//! All integers little-endian, nothing aligned: a value's place is arithmetic, so a reader needs
//! no allocation and a block can lie anywhere in a log segment. docs/formats/block.md draws it.

use super::{FieldType, Layout, Timestamp};
use bytes::Bytes;
use std::sync::Arc;

pub const MAX_BLOCK_ROWS: usize = 1 << 20;
pub(super) const HEADER_BYTES: usize = 16;
pub(super) const FLAG_SERIES: u8 = 1;
pub(super) const FLAG_TIMES: u8 = 2;
pub(super) const FLAG_VALIDITY: u8 = 4;

/// A block that has been checked against its layout: every accessor below is in bounds.
#[derive(Clone, Debug)]
pub struct Block {
    layout: Arc<Layout>,
    bytes: Bytes,
    rows: usize,
    flags: u8,
    /// Where the column values begin.
    values: usize,
    /// Where each marked column's validity begins; empty without validity.
    validity: Vec<Option<u32>>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    #[error("the block is {got} bytes where its header and layout need {expected}")]
    Length { got: usize, expected: usize },
    #[error("the block has flags {0:#x}, of which this version knows 0x7")]
    Flags(u8),
    #[error("the block has {got} rows; the limit is {MAX_BLOCK_ROWS}")]
    TooManyRows { got: usize },
    #[error(
        "the block has {rows} rows without series indexes where the layout has {series} series"
    )]
    DenseRows { rows: usize, series: usize },
    #[error("row {row} names series {index} where the layout has {series}")]
    SeriesIndex { row: usize, index: u32, series: usize },
    #[error("a frame of {bytes} bytes is larger than the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
}

impl Block {
    /// Checks `bytes` against `layout`; nothing is copied. Values are not read here: see
    /// [`Block::out_of_digits`].
    pub fn parse(layout: Arc<Layout>, bytes: Bytes) -> Result<Self, BlockError> {
        let got = bytes.len();
        if got < HEADER_BYTES {
            return Err(BlockError::Length { got, expected: HEADER_BYTES });
        }
        let flags = bytes[0];
        if flags & !(FLAG_SERIES | FLAG_TIMES | FLAG_VALIDITY) != 0 {
            return Err(BlockError::Flags(flags));
        }
        let rows = u32_at(&bytes, 4) as usize;
        if rows > MAX_BLOCK_ROWS {
            return Err(BlockError::TooManyRows { got: rows });
        }
        let series = layout.series().len();
        if flags & FLAG_SERIES == 0 && rows != series {
            return Err(BlockError::DenseRows { rows, series });
        }
        let mut values = HEADER_BYTES;
        if flags & FLAG_SERIES != 0 {
            values += rows * 4;
        }
        if flags & FLAG_TIMES != 0 {
            values += rows * 8;
        }
        let mut block = Self { layout, bytes, rows, flags, values, validity: Vec::new() };
        let end = values + rows * block.layout.row_width();
        block.parse_validity(end)?;
        block.check_series()?;
        Ok(block)
    }

    fn parse_validity(&mut self, end: usize) -> Result<(), BlockError> {
        let got = self.bytes.len();
        let mut expected = end;
        if self.flags & FLAG_VALIDITY != 0 {
            let columns = self.layout.columns().len();
            let marks = expected;
            expected += columns.div_ceil(8);
            if got < expected {
                return Err(BlockError::Length { got, expected });
            }
            self.validity.reserve_exact(columns);
            for column in 0..columns {
                let marked = bit(&self.bytes[marks..], column);
                self.validity.push(marked.then_some(expected as u32));
                expected += usize::from(marked) * self.rows.div_ceil(8);
            }
        }
        if got == expected { Ok(()) } else { Err(BlockError::Length { got, expected }) }
    }

    fn check_series(&self) -> Result<(), BlockError> {
        if self.flags & FLAG_SERIES == 0 {
            return Ok(());
        }
        let series = self.layout.series().len();
        let bad = (0..self.rows).find(|row| self.series_index(*row) as usize >= series);
        match bad {
            None => Ok(()),
            Some(row) => {
                Err(BlockError::SeriesIndex { row, index: self.series_index(row), series })
            }
        }
    }

    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The encoded block.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The same block over other bytes of equal content (the log's copy of it).
    #[must_use]
    pub fn moved_to(mut self, bytes: Bytes) -> Self {
        debug_assert_eq!(self.bytes, bytes);
        self.bytes = bytes;
        self
    }

    /// The same block under an equal layout.
    #[must_use]
    pub(crate) fn under(&self, layout: Arc<Layout>) -> Self {
        debug_assert_eq!(self.layout, layout);
        Self { layout, ..self.clone() }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether every row has the block's one time and row `i` is series `i`.
    pub fn is_tick(&self) -> bool {
        self.flags & (FLAG_SERIES | FLAG_TIMES) == 0
    }

    /// Whether all rows have the same time.
    pub fn has_one_time(&self) -> bool {
        self.flags & FLAG_TIMES == 0
    }

    /// The layout's series that `row` is about.
    pub fn series_index(&self, row: usize) -> u32 {
        if self.flags & FLAG_SERIES == 0 {
            row as u32
        } else {
            u32_at(&self.bytes, HEADER_BYTES + row * 4)
        }
    }

    pub fn time(&self, row: usize) -> Timestamp {
        if self.flags & FLAG_TIMES == 0 {
            i64_at(&self.bytes, 8)
        } else {
            i64_at(&self.bytes, self.values - self.rows * 8 + row * 8)
        }
    }

    /// A column's values, `rows` times its width, little-endian; absent ones hold anything.
    pub fn column(&self, column: usize) -> &[u8] {
        let start = self.values + self.rows * self.layout.width_before(column);
        &self.bytes[start..start + self.rows * self.layout.columns()[column].field_type.width()]
    }

    /// A column's validity, bit `r` set where row `r` has a value; `None` where all have one.
    pub fn validity(&self, column: usize) -> Option<&[u8]> {
        let start = (*self.validity.get(column)?)? as usize;
        Some(&self.bytes[start..start + self.rows.div_ceil(8)])
    }

    /// Memory beside the block's bytes.
    pub(crate) fn index_bytes(&self) -> usize {
        self.validity.len() * size_of::<Option<u32>>()
    }

    pub fn is_present(&self, column: usize, row: usize) -> bool {
        self.validity(column).is_none_or(|bits| bit(bits, row))
    }

    /// One stored value widened to 64 bits, whether present or not.
    pub fn raw(&self, column: usize, row: usize) -> i64 {
        let width = self.layout.columns()[column].field_type.width();
        raw_at(&self.column(column)[row * width..], width)
    }

    /// The (column, row) of every present value that its type does not hold: a scaled integer
    /// outside its digits. Nothing is allocated where there is none.
    pub fn out_of_digits(&self) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (index, column) in self.layout.columns().iter().enumerate() {
            let field_type = column.field_type;
            if !matches!(field_type, FieldType::Decimal { .. }) || self.column_fits(index) {
                continue;
            }
            found.extend(
                (0..self.rows)
                    .filter(|row| {
                        self.is_present(index, *row) && !field_type.holds(self.raw(index, *row))
                    })
                    .map(|row| (index, row)),
            );
        }
        found
    }

    /// Whether all values of a scaled column, absent ones included, lie within its digits.
    fn column_fits(&self, column: usize) -> bool {
        let field_type = self.layout.columns()[column].field_type;
        let max = field_type.max_magnitude().unwrap_or(i64::MAX);
        let (chunks, bytes) = (field_type.width(), self.column(column));
        if chunks == 4 {
            let max = max as u32;
            bytes.as_chunks::<4>().0.iter().all(|v| i32::from_le_bytes(*v).unsigned_abs() <= max)
        } else {
            let max = max.cast_unsigned();
            bytes.as_chunks::<8>().0.iter().all(|v| i64::from_le_bytes(*v).unsigned_abs() <= max)
        }
    }
}

fn bit(bits: &[u8], index: usize) -> bool {
    bits[index / 8] & (1 << (index % 8)) != 0
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("checked by parse"))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(*bytes[at..].first_chunk().expect("checked by parse"))
}

fn raw_at(bytes: &[u8], width: usize) -> i64 {
    match width {
        1 => i64::from(bytes[0].cast_signed()),
        2 => i64::from(i16::from_le_bytes(*bytes.first_chunk().expect("checked by parse"))),
        4 => i64::from(i32::from_le_bytes(*bytes.first_chunk().expect("checked by parse"))),
        _ => i64_at(bytes, 0),
    }
}
