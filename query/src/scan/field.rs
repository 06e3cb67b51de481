//! A column of numbers as it is kept in memory: row by row, or as runs where it hardly changes.
//!
//! Counters of errors, limits and states stay what they are for hours. As runs a chunk of them is
//! small beside one that is kept row by row, so that many more of them stay in memory.

use arrow::array::{Array, ArrayRef, UInt32Array, make_array};
use arrow::buffer::Buffer;
use arrow::compute::take;
use arrow::datatypes::{ArrowNativeType, DataType};
use datafusion::error::{DataFusionError, Result};
use std::ops::Range;
use std::sync::Arc;

/// How many rows a run has at least, on average, where runs are kept.
const ROWS_OF_A_RUN: usize = 16;

/// Time or a field of one row group, in the type it is stored in. Time is kept row by row.
#[derive(Clone, Debug)]
pub(crate) enum FieldChunk {
    Rows(ArrayRef),
    Runs(Arc<FieldRuns>),
}

/// Rows of equal value, one run after another, none of them NULL.
#[derive(Debug)]
pub(crate) struct FieldRuns {
    /// The row after each run.
    ends: Vec<u32>,
    /// By run.
    values: ArrayRef,
}

impl FieldChunk {
    /// Runs, where the column is worth it.
    pub(super) fn of(column: ArrayRef) -> Result<Self> {
        Ok(match FieldRuns::of(&column)? {
            Some(runs) => Self::Runs(Arc::new(runs)),
            None => Self::Rows(column),
        })
    }

    /// Some rows, row by row.
    pub(crate) fn rows(&self, range: Range<u32>) -> Result<ArrayRef> {
        match self {
            Self::Rows(column) => Ok(column.slice(range.start as usize, range.len())),
            Self::Runs(runs) => runs.rows(range),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Rows(column) => column.get_array_memory_size(),
            Self::Runs(runs) => {
                let ends = size_of::<FieldRuns>() + runs.ends.capacity() * size_of::<u32>();
                ends + runs.values.get_array_memory_size()
            }
        }
    }
}

impl FieldRuns {
    /// `None` where the column is better kept row by row.
    fn of(column: &ArrayRef) -> Result<Option<Self>> {
        // Times grow from row to row.
        if column.null_count() > 0 || matches!(column.data_type(), DataType::Timestamp(..)) {
            return Ok(None);
        }
        let data = column.to_data();
        let ends = match data.data_type().primitive_width() {
            Some(2) => ends(&data.buffer::<i16>(0)[..data.len()]),
            Some(4) => ends(&data.buffer::<i32>(0)[..data.len()]),
            Some(8) => ends(&data.buffer::<i64>(0)[..data.len()]),
            _ => None,
        };
        let Some(ends) = ends else { return Ok(None) };
        let last_rows: UInt32Array = ends.iter().map(|end| end - 1).collect();
        let values = take(column, &last_rows, None)?;
        Ok(Some(Self { ends, values }))
    }

    /// One of each run.
    pub(crate) fn values(&self) -> &ArrayRef {
        &self.values
    }

    /// The run that a row lies in.
    fn run(&self, row: u32) -> usize {
        self.ends.partition_point(|end| *end <= row)
    }

    /// Puts the rows of `range` into `out`; `values` has a value of each run. Says how many runs
    /// the rows lie in.
    pub(crate) fn spread<T: Copy>(
        &self,
        values: &[T],
        range: Range<u32>,
        out: &mut Vec<T>,
    ) -> usize {
        out.clear();
        out.reserve(range.len());
        let first = self.run(range.start);
        let mut run = first;
        let mut row = range.start;
        while row < range.end {
            let end = self.ends[run].min(range.end);
            out.resize(out.len() + (end - row) as usize, values[run]);
            (row, run) = (end, run + 1);
        }
        run - first
    }

    fn rows(&self, range: Range<u32>) -> Result<ArrayRef> {
        match self.values.data_type().primitive_width() {
            Some(2) => self.array::<i16>(range),
            Some(4) => self.array::<i32>(range),
            _ => self.array::<i64>(range),
        }
    }

    fn array<T: ArrowNativeType>(&self, range: Range<u32>) -> Result<ArrayRef> {
        let (runs, mut rows) = (self.values.to_data(), Vec::with_capacity(range.len()));
        self.spread(runs.buffer::<T>(0), range, &mut rows);
        let whole = runs.into_builder().len(rows.len()).offset(0);
        let whole = whole.buffers(vec![Buffer::from_vec(rows)]).build();
        whole.map(make_array).map_err(DataFusionError::from)
    }
}

/// The row after each run of equal values; `None` where they are not worth it. Doubles are compared
/// by their bits.
fn ends<T: PartialEq>(values: &[T]) -> Option<Vec<u32>> {
    let most = values.len() / ROWS_OF_A_RUN;
    let mut ends = Vec::new();
    for (row, pair) in (1..).zip(values.windows(2)) {
        if pair[0] != pair[1] {
            ends.push(row);
        }
        if ends.len() >= most {
            return None;
        }
    }
    ends.push(u32::try_from(values.len()).ok()?);
    ends.shrink_to_fit();
    (ends.len() <= most).then_some(ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int16Array, Int32Array, Int64Array};
    use proptest::prelude::*;

    fn columns(values: &[i16]) -> Vec<ArrayRef> {
        let of = values.iter().copied();
        vec![
            Arc::new(of.clone().collect::<Int16Array>()),
            Arc::new(of.clone().map(i32::from).collect::<Int32Array>()),
            Arc::new(of.clone().map(i64::from).collect::<Int64Array>()),
            Arc::new(of.map(|value| f64::from(value) - 0.5).collect::<Float64Array>()),
        ]
    }

    #[test]
    fn what_changes_often_or_lacks_values_is_kept_row_by_row() {
        let often: Vec<i16> = (0..64).map(|row| row / 8).collect();
        let rarely: Vec<i16> = (0..64).map(|row| row / 32).collect();
        for column in columns(&often) {
            assert!(matches!(FieldChunk::of(column).unwrap(), FieldChunk::Rows(_)));
        }
        for column in columns(&rarely) {
            assert!(matches!(FieldChunk::of(column).unwrap(), FieldChunk::Runs(_)));
        }
        let lacking: Int64Array = (0..64).map(|row| (row > 0).then_some(7)).collect();
        assert!(matches!(FieldChunk::of(Arc::new(lacking)).unwrap(), FieldChunk::Rows(_)));
    }

    proptest! {
        #[test]
        fn runs_are_the_rows(
            runs in prop::collection::vec((-3..3_i16, 1..60_usize), 0..12),
            cut in (0..300_usize, 0..300_usize),
        ) {
            let values: Vec<i16> =
                runs.iter().flat_map(|(value, rows)| std::iter::repeat_n(*value, *rows)).collect();
            let (start, end) = (cut.0.min(values.len()), cut.1.min(values.len()));
            let range = start as u32..end.max(start) as u32;
            for column in columns(&values) {
                // As a slice too, whose values do not begin with its buffer's.
                for from in [0, values.len() / 3] {
                    let column = column.slice(from, values.len() - from);
                    let rows = column.len() as u32;
                    let range = range.start.min(rows)..range.end.min(rows);
                    let kept = FieldChunk::of(Arc::clone(&column)).unwrap();
                    let rows = kept.rows(range.clone()).unwrap();
                    prop_assert_eq!(&rows, &column.slice(range.start as usize, range.len()));
                }
            }
        }

        #[test]
        fn a_row_lies_in_its_run(rows in prop::collection::vec(20..60_usize, 1..6)) {
            let runs = (0..).zip(&rows);
            let values: Vec<i64> = runs.flat_map(|(run, rows)| vec![run; *rows]).collect();
            let column: ArrayRef = Arc::new(Int64Array::from(values.clone()));
            let runs = FieldRuns::of(&column).unwrap().unwrap();
            prop_assert_eq!(runs.values().len(), rows.len());
            for (row, run) in (0..).zip(&values) {
                prop_assert_eq!(runs.run(row), *run as usize);
            }
            let mut out = Vec::new();
            let by_run: Vec<i64> = (0..rows.len() as i64).collect();
            prop_assert_eq!(runs.spread(&by_run, 0..values.len() as u32, &mut out), rows.len());
            prop_assert_eq!(out, values);
        }
    }
}
