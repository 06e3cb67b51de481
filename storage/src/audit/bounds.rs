//! What a Parquet footer says of the columns that queries and merges prune by, against the values
//! that are there: of each row group, and of each page by the index.
//!
//! A bound may be wider than the values (long texts are cut), never narrower.

use super::FindingKind;
use super::file::Problem;
use crate::error::{ErrorKind, StorageError};
use crate::model::TableSchema;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, concat, max_string, min_string};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::error::ArrowError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;

/// The least and greatest value, as bytes that sort as the values do, and the number of NULLs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bounds {
    least: Option<Vec<u8>>,
    greatest: Option<Vec<u8>>,
    nulls: Option<u64>,
}

impl Bounds {
    fn of(values: &dyn Array) -> Self {
        let nulls = Some(values.null_count() as u64);
        if values.null_count() == values.len() {
            return Self { nulls, ..Self::default() };
        }
        if let Some(times) = values.as_primitive_opt::<TimestampMicrosecondType>() {
            let (least, greatest) = (arrow::compute::min(times), arrow::compute::max(times));
            let key = |time: Option<i64>| time.map(time_key);
            return Self { least: key(least), greatest: key(greatest), nulls };
        }
        let texts = values.as_string::<i32>();
        let key = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        Self { least: key(min_string(texts)), greatest: key(max_string(texts)), nulls }
    }

    /// Whether these bounds may be said of values with those.
    fn hold(&self, values: &Self) -> bool {
        let from = self.least.as_ref().zip(values.least.as_ref());
        let to = self.greatest.as_ref().zip(values.greatest.as_ref());
        from.is_none_or(|(said, own)| said <= own)
            && to.is_none_or(|(said, own)| said >= own)
            && self.nulls.is_none_or(|nulls| Some(nulls) == values.nulls)
    }
}

fn time_key(time: i64) -> Vec<u8> {
    (time.cast_unsigned() ^ (1 << 63)).to_be_bytes().to_vec()
}

/// What is false of a row group whose rows are `batches`.
pub(super) fn false_claims(
    footer: &ParquetMetaData,
    group: usize,
    schema: &TableSchema,
    batches: &[RecordBatch],
) -> Result<Vec<Problem>, StorageError> {
    let unread = |e: ArrowError| StorageError::because(ErrorKind::Corrupt, "values not read", e);
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let said = footer.row_group(group).num_rows();
    if said != rows as i64 {
        let found = format!("row group {group} has {rows} rows, its footer says {said}");
        return Ok(vec![(FindingKind::Statistics, found)]);
    }
    let mut problems = Vec::new();
    for (at, name) in schema.column_names().take(schema.first_field()).enumerate() {
        let columns = footer.row_group(group).columns();
        let place = columns.iter().position(|column| column.column_path().string() == name);
        let Some(place) = place else { continue };
        let parts: Vec<&dyn Array> = batches.iter().map(|batch| &**batch.column(at)).collect();
        let values = concat(&parts).and_then(|values| plain(&values)).map_err(unread)?;
        if let Some(statistics) = columns[place].statistics()
            && !bounds_of(statistics).hold(&Bounds::of(&values))
        {
            let found = format!("row group {group}: the footer's statistics of {name} are false");
            problems.push((FindingKind::Statistics, found));
        }
        if let Some(page) = false_page(footer, group, place, &values) {
            let found = format!("row group {group}: the index of page {page} of {name} is false");
            problems.push((FindingKind::Statistics, found));
        }
    }
    Ok(problems)
}

/// Tags as texts.
fn plain(values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match values.data_type() {
        DataType::Dictionary(..) => cast(values, &DataType::Utf8),
        _ => Ok(values.clone()),
    }
}

fn bounds_of(statistics: &Statistics) -> Bounds {
    let is_time = matches!(statistics, Statistics::Int64(_));
    let key = |bytes: Option<&[u8]>| {
        let bytes = bytes?;
        match <[u8; 8]>::try_from(bytes) {
            Ok(time) if is_time => Some(time_key(i64::from_le_bytes(time))),
            _ => Some(bytes.to_vec()),
        }
    };
    Bounds {
        least: key(statistics.min_bytes_opt()),
        greatest: key(statistics.max_bytes_opt()),
        nulls: statistics.null_count_opt(),
    }
}

/// The first page of a column chunk of which its index says something false.
fn false_page(
    footer: &ParquetMetaData,
    group: usize,
    column: usize,
    values: &ArrayRef,
) -> Option<usize> {
    let index = &footer.column_index()?[group][column];
    let pages = footer.offset_index()?[group][column].page_locations();
    let start = |page: usize| pages.get(page).map(|page| page.first_row_index as usize);
    (0..pages.len()).find(|page| {
        let first = start(*page).unwrap_or_default();
        let end = start(page + 1).unwrap_or(values.len());
        if first > end || end > values.len() {
            return true;
        }
        let own = Bounds::of(&values.slice(first, end - first));
        page_bounds(index, *page).is_some_and(|said| !said.hold(&own))
    })
}

fn page_bounds(index: &ColumnIndexMetaData, page: usize) -> Option<Bounds> {
    let nulls = index.null_count(page).map(i64::cast_unsigned);
    let (least, greatest) = match index {
        ColumnIndexMetaData::INT64(times) => {
            let key = |time: Option<&i64>| time.map(|time| time_key(*time));
            (key(times.min_value(page)), key(times.max_value(page)))
        }
        ColumnIndexMetaData::BYTE_ARRAY(texts) => {
            let key = |text: Option<&[u8]>| text.map(<[u8]>::to_vec);
            (key(texts.min_value(page)), key(texts.max_value(page)))
        }
        _ => return None,
    };
    Some(Bounds { least, greatest, nulls })
}
