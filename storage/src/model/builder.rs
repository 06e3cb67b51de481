//! Makes blocks row by row: for producers, importers and tests.

use super::block::{FLAG_SERIES, FLAG_TIMES, FLAG_VALIDITY, HEADER_BYTES};
use super::{Layout, Timestamp, Value, ValueRefusal};
use bytes::Bytes;
use std::sync::Arc;

/// Collects rows under one layout; `finish` encodes them and leaves the builder empty for reuse.
#[derive(Debug)]
pub struct BlockBuilder {
    layout: Arc<Layout>,
    series: Vec<u32>,
    times: Vec<Timestamp>,
    columns: Vec<ColumnBuilder>,
}

/// Values widened to 64 bits with their presence, one entry per row.
#[derive(Debug, Default)]
struct ColumnBuilder {
    values: Vec<i64>,
    present: Vec<bool>,
}

impl BlockBuilder {
    pub fn new(layout: Arc<Layout>) -> Self {
        let columns = layout.columns().iter().map(|_| ColumnBuilder::default()).collect();
        Self { layout, series: Vec::new(), times: Vec::new(), columns }
    }

    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    pub fn rows(&self) -> usize {
        self.times.len()
    }

    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Begins a row of absent values about the layout's series number `series`.
    pub fn row(&mut self, series: u32, time: Timestamp) {
        assert!(
            (series as usize) < self.layout.series().len(),
            "series {series} is not in the layout"
        );
        self.series.push(series);
        self.times.push(time);
        for column in &mut self.columns {
            column.values.push(0);
            column.present.push(false);
        }
    }

    /// Sets a value in the last row begun. `Ok(true)` says that decimals were rounded away.
    pub fn set(&mut self, column: usize, value: Value) -> Result<bool, ValueRefusal> {
        let stored = self.layout.columns()[column].field_type.store(value)?;
        self.set_stored(column, stored.raw);
        Ok(stored.rounded)
    }

    /// Sets an already scaled value (the bits of a double) in the last row begun.
    pub fn set_stored(&mut self, column: usize, raw: i64) {
        let last = self.times.len().checked_sub(1).expect("a row was begun");
        self.set_stored_at(last, column, raw);
    }

    /// The same in an earlier row, by its number since the last [`BlockBuilder::finish`].
    pub fn set_stored_at(&mut self, row: usize, column: usize, raw: i64) {
        let column = &mut self.columns[column];
        column.values[row] = raw;
        column.present[row] = true;
    }

    /// The encoded block of all rows since the last call.
    pub fn finish(&mut self) -> Bytes {
        let rows = self.times.len();
        let mut out = Vec::with_capacity(HEADER_BYTES + rows * (12 + self.layout.row_width() + 8));
        let flags = self.flags();
        out.extend_from_slice(&[flags, 0, 0, 0]);
        out.extend_from_slice(&(rows as u32).to_le_bytes());
        out.extend_from_slice(&self.times.iter().min().copied().unwrap_or(0).to_le_bytes());
        if flags & FLAG_SERIES != 0 {
            out.extend(self.series.iter().flat_map(|s| s.to_le_bytes()));
        }
        if flags & FLAG_TIMES != 0 {
            out.extend(self.times.iter().flat_map(|t| t.to_le_bytes()));
        }
        for (column, spec) in self.columns.iter().zip(self.layout.columns()) {
            write_values(&mut out, &column.values, spec.field_type.width());
        }
        if flags & FLAG_VALIDITY != 0 {
            self.write_validity(&mut out);
        }
        self.clear();
        out.into()
    }

    fn flags(&self) -> u8 {
        let dense = self.series.len() == self.layout.series().len()
            && self.series.iter().enumerate().all(|(row, series)| row == *series as usize);
        let one_time = self.times.windows(2).all(|pair| pair[0] == pair[1]);
        let full = self.columns.iter().all(|column| column.present.iter().all(|p| *p));
        let mut flags = 0;
        if !dense {
            flags |= FLAG_SERIES;
        }
        if !one_time {
            flags |= FLAG_TIMES;
        }
        if !full {
            flags |= FLAG_VALIDITY;
        }
        flags
    }

    fn write_validity(&self, out: &mut Vec<u8>) {
        let partial: Vec<bool> =
            self.columns.iter().map(|column| column.present.contains(&false)).collect();
        out.extend(pack_bits(&partial));
        for (column, partial) in self.columns.iter().zip(partial) {
            if partial {
                out.extend(pack_bits(&column.present));
            }
        }
    }

    fn clear(&mut self) {
        self.series.clear();
        self.times.clear();
        for column in &mut self.columns {
            column.values.clear();
            column.present.clear();
        }
    }
}

fn write_values(out: &mut Vec<u8>, values: &[i64], width: usize) {
    match width {
        1 => out.extend(values.iter().map(|v| (*v as i8).cast_unsigned())),
        2 => out.extend(values.iter().flat_map(|v| (*v as i16).to_le_bytes())),
        4 => out.extend(values.iter().flat_map(|v| (*v as i32).to_le_bytes())),
        _ => out.extend(values.iter().flat_map(|v| v.to_le_bytes())),
    }
}

fn pack_bits(bits: &[bool]) -> impl Iterator<Item = u8> {
    bits.chunks(8).map(|chunk| {
        chunk.iter().enumerate().fold(0, |byte, (at, bit)| byte | (u8::from(*bit) << at))
    })
}
