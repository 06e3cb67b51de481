//! The rows of one table while a scrape is read.

use bytes::Bytes;
use hashbrown::HashMap;
use warpline_storage::model::{BlockBuilder, Timestamp};

use super::Report;

/// Cells in the order they came. Series and columns have the numbers of the table that asks.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    rows: Vec<Row>,
    by_key: HashMap<(u32, Timestamp), u32>,
    cells: Vec<Cell>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    series: u32,
    time: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    row: u32,
    column: u32,
    raw: i64,
}

impl Sheet {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row of a series at a time, begun if there is none.
    pub(super) fn row(&mut self, series: u32, time: Timestamp) -> u32 {
        let next = self.rows.len() as u32;
        let row = *self.by_key.entry((series, time)).or_insert(next);
        if row == next {
            self.rows.push(Row { series, time });
        }
        row
    }

    /// Puts a stored value into a row. A later one takes the place of an earlier one.
    pub(super) fn put(&mut self, row: u32, column: u32, raw: i64) {
        self.cells.push(Cell { row, column, raw });
    }

    /// Encodes all rows in the order of the layout's series and empties the sheet. `series` and
    /// `column` give the layout's indexes of this table's numbers.
    pub(super) fn encode(
        &mut self,
        builder: &mut BlockBuilder,
        series: impl Fn(u32) -> u32,
        column: impl Fn(u32) -> usize,
        report: &mut Report,
    ) -> Bytes {
        let columns = builder.layout().columns().len();
        report.rows += self.rows.len();
        report.nulls += self.rows.len() * columns;
        self.cells.sort_by_key(|cell| (cell.row, cell.column));
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|row| (series(self.rows[*row].series), self.rows[*row].time));
        for row in order {
            let Row { series: number, time } = self.rows[row];
            builder.row(series(number), time);
            let start = self.cells.partition_point(|cell| (cell.row as usize) < row);
            let mine = self.cells[start..].iter().take_while(|cell| cell.row as usize == row);
            let mut last = None;
            for cell in mine {
                builder.set_stored(column(cell.column), cell.raw);
                let again = last.replace(cell.column) == Some(cell.column);
                report.repeated += usize::from(again);
                report.nulls -= usize::from(!again);
            }
        }
        self.rows.clear();
        self.by_key.clear();
        self.cells.clear();
        builder.finish()
    }
}
