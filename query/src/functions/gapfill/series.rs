//! The rows of one series, filled.

use super::Fill;
use super::exec::Range;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{Float64Type, Int64Type, SchemaRef};
use datafusion::error::Result;
use std::cmp::Ordering;
use std::sync::Arc;

/// What filling does to each column.
#[derive(Clone, Debug)]
pub(super) struct Filling {
    pub schema: SchemaRef,
    pub bucket: usize,
    pub range: Range,
    pub keys: Vec<usize>,
    pub fills: Vec<Option<Fill>>,
}

/// The buckets that come out, and for each the row it had.
struct Rows {
    buckets: Vec<Option<i64>>,
    rows: Vec<Option<u32>>,
}

impl Filling {
    /// The rows of one series, by bucket, with a row for every bucket of the range. Rows outside
    /// the range stay.
    pub(super) fn filled(&self, series: &RecordBatch) -> Result<RecordBatch> {
        let buckets = cast(series.column(self.bucket), &arrow::datatypes::DataType::Int64)?;
        let given = buckets.as_primitive::<Int64Type>();
        let all = merged(given, self.range);
        let columns = series.columns().iter().enumerate().map(|(index, column)| {
            if index == self.bucket {
                let buckets = Int64Array::from(all.buckets.clone());
                return Ok(cast(&buckets, column.data_type())?);
            }
            match self.fills[index] {
                _ if self.keys.contains(&index) => {
                    Ok(take(column, &UInt32Array::from_value(0, all.rows.len()), None)?)
                }
                None => Ok(take(column, &all.rows.iter().collect::<UInt32Array>(), None)?),
                Some(Fill::Locf) => Ok(take(column, &all.last_present(column), None)?),
                Some(Fill::Interpolate) => {
                    let values = column.as_primitive::<Float64Type>();
                    Ok(Arc::new(all.interpolated(values)) as ArrayRef)
                }
            }
        });
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns.collect::<Result<_>>()?)?)
    }
}

/// The buckets of rows and range together; both ascend.
fn merged(given: &Int64Array, range: Range) -> Rows {
    let (mut buckets, mut rows) = (Vec::new(), Vec::new());
    let mut wanted = (0..range.buckets).map(|index| range.bucket(index)).peekable();
    let mut present = (0..given.len()).peekable();
    loop {
        let order = match (wanted.peek(), present.peek()) {
            (None, None) => return Rows { buckets, rows },
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            // A row without a bucket comes first, as it was sorted.
            (Some(_), Some(row)) if given.is_null(*row) => Ordering::Greater,
            (Some(wanted), Some(row)) => wanted.cmp(&given.value(*row)),
        };
        let missing = wanted.next_if(|_| order.is_le());
        let row = present.next_if(|_| order.is_ge());
        let bucket = |row| given.is_valid(row).then(|| given.value(row));
        buckets.push(row.map_or(missing, bucket));
        rows.push(row.map(|row| row as u32));
    }
}

impl Rows {
    /// For each bucket the last row up to it with a value.
    fn last_present(&self, column: &ArrayRef) -> UInt32Array {
        let mut last = None;
        let rows = self.rows.iter().map(|row| {
            last = row.filter(|row| column.is_valid(*row as usize)).or(last);
            last
        });
        rows.collect()
    }

    /// The values, and between two of them the points of the line from one to the other.
    fn interpolated(&self, values: &Float64Array) -> Float64Array {
        let point = |(bucket, row): (&Option<i64>, &Option<u32>)| {
            let (bucket, row) = (bucket.as_ref()?, row.map(|row| row as usize)?);
            values.is_valid(row).then(|| (*bucket, values.value(row)))
        };
        let points: Vec<_> = self.buckets.iter().zip(&self.rows).map(point).collect();
        let mut filled: Vec<Option<f64>> =
            points.iter().map(|point| Some(point.as_ref()?.1)).collect();
        let known: Vec<usize> = (0..points.len()).filter(|at| points[*at].is_some()).collect();
        for ends in known.windows(2) {
            let (Some((start, from)), Some((end, to))) = (points[ends[0]], points[ends[1]]) else {
                continue;
            };
            let part = |bucket: i64| bucket.abs_diff(start) as f64 / end.abs_diff(start) as f64;
            let between = ends[0] + 1..ends[1];
            let buckets = &self.buckets[between.clone()];
            for (value, bucket) in filled[between].iter_mut().zip(buckets) {
                *value = bucket.map(|bucket| from + (to - from) * part(bucket));
            }
        }
        filled.into()
    }
}
