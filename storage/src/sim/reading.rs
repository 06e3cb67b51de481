//! The rows of a snapshot, and whether its tiers are what its raw rows reduce to.

use super::oracle::Rows;
use crate::error::StorageError;
use crate::machine::blocking;
use crate::merge::{Batches, Merge, Wanted};
use crate::model::TableSchema;
use crate::rollup::{Reduce, compare};
use crate::rules::contested;
use crate::snapshot::{DataFile, FileKind, TableSnapshot, TierSnapshot, TimeRange};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Decimal64Type, Int16Type, Int32Type, TimestampMicrosecondType};
use std::sync::Arc;

/// The rows of each file, in the order of their writes, and those of the buffer last.
pub(super) async fn parts(table: &TableSnapshot) -> Result<Vec<Vec<RecordBatch>>, StorageError> {
    let all = [TimeRange::ALL];
    let mut parts = Vec::new();
    for file in table.files.iter().cloned() {
        let (store, schema) = (&table.store, &table.schema);
        let rows = Merge::of_files(store, schema, &[file], Wanted::New, Vec::new(), &all).await?;
        parts.push(blocking(move || rows.collect()).await?);
    }
    let columns: Vec<usize> = (0..table.schema.arrow().fields().len()).collect();
    parts.push(table.buffer.scan_all(&columns).collect());
    Ok(parts)
}

/// All rows of a table, last write per field.
pub(super) fn merged(
    schema: &Arc<TableSchema>,
    parts: Vec<Vec<RecordBatch>>,
) -> Result<Vec<RecordBatch>, StorageError> {
    let source = |part: Vec<RecordBatch>| -> Batches { Box::new(part.into_iter().map(Ok)) };
    Merge::of(schema, parts.into_iter().map(source).collect()).collect()
}

pub(crate) async fn rows(table: &TableSnapshot) -> Result<Vec<RecordBatch>, StorageError> {
    merged(&table.schema, parts(table).await?)
}

/// The rows that readers without resolution would take twice: keys that two parts have at times
/// that are said not to be contested.
pub(super) fn doubled(table: &TableSnapshot, parts: &[Vec<RecordBatch>]) -> Result<(), String> {
    let files: Vec<&DataFile> = table.files.iter().map(AsRef::as_ref).collect();
    let contested = contested(&files, table.buffer.late_times(), TimeRange::ALL);
    let mut seen = Rows::new();
    for part in parts {
        for (key, cells) in by_key(part)? {
            let is_contested = contested.iter().any(|range| range.contains(key.1));
            if let Some(before) = seen.insert(key.clone(), cells)
                && !is_contested
            {
                return Err(format!("{key:?} is uncontested and there twice, before: {before:?}"));
            }
        }
    }
    Ok(())
}

/// Rows of a table of the simulation by key; a key that comes twice is an error.
pub(super) fn by_key(batches: &[RecordBatch]) -> Result<Rows, String> {
    let mut rows = Rows::new();
    for batch in batches {
        let column = |name: &str| batch.column_by_name(name).expect("a column of the table");
        let tag = |name: &str, row: usize| {
            let tags = column(name).as_dictionary::<Int32Type>();
            let text = || tags.values().as_string::<i32>().value(tags.keys().value(row) as usize);
            tags.is_valid(row).then(|| text().to_owned())
        };
        let times = column("time").as_primitive::<TimestampMicrosecondType>();
        let temps = column("temp").as_primitive::<Int16Type>();
        let energies = column("energy").as_primitive::<Decimal64Type>();
        for row in 0..batch.num_rows() {
            let key = (tag("gpu", row).unwrap_or_default(), times.value(row));
            let temp = temps.is_valid(row).then(|| i64::from(temps.value(row)));
            let energy = energies.is_valid(row).then(|| energies.value(row));
            let cells = (tag("job", row), temp, energy);
            if rows.insert(key.clone(), cells).is_some() {
                return Err(format!("{key:?} is there twice"));
            }
        }
    }
    Ok(rows)
}

/// Compares the buckets that a tier is said to have, from `kept_from` on, with what the raw rows
/// reduce to; answers how many there are.
pub(crate) async fn clean_buckets(
    raw: &TableSchema,
    raw_rows: &[RecordBatch],
    tier: &TierSnapshot,
    kept_from: i64,
) -> Result<Result<usize, String>, StorageError> {
    let own = rows(&tier.table).await?;
    if tier.table.files.iter().any(|file| file.kind != FileKind::Monotone) {
        return Ok(Err("a tier has late files".into()));
    }
    let total: usize = own.iter().map(RecordBatch::num_rows).sum();
    if total as u64 != tier.table.files.iter().map(|file| file.rows).sum::<u64>() {
        return Ok(Err("a tier has a key twice".into()));
    }
    let raw_rows = raw_rows.iter().cloned().map(Ok);
    let schema = &tier.table.schema;
    let reduced = Reduce::new(raw, tier.tier, schema, raw_rows)?;
    let has = |start| tier.has(start, kept_from);
    let compared = compare(raw, schema, own.into_iter().map(Ok), reduced, has)?;
    Ok(match compared.difference {
        None => Ok(compared.rows as usize),
        Some(difference) => Err(format!("{}: {difference:?}", schema.table)),
    })
}
