//! What it costs to read a file back: all of it, and the rows of one series.

use crate::Failure;
use crate::process::cpu_seconds;
use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelector,
};
use parquet::file::metadata::PageIndexPolicy;
use serde::Serialize;
use warpline_storage::model::TableSchema;

/// Read again until so much CPU time has gone into it.
const CPU_SECONDS: f64 = 0.5;

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Read {
    /// CPU seconds of a million values when all are read.
    pub(super) cpu_per_million: f64,
    /// CPU microseconds a column to read some rows from the middle, the footer known.
    pub(super) some_micros: f64,
}

/// `some` rows stand for a series.
pub(super) fn read(schema: &TableSchema, file: &Bytes, some: usize) -> Result<Read, Failure> {
    let options = ArrowReaderOptions::new()
        .with_schema(schema.arrow())
        .with_page_index_policy(PageIndexPolicy::Required);
    let metadata = ArrowReaderMetadata::load(file, options)?;
    let rows = metadata.metadata().file_metadata().num_rows() as usize;
    let all = seconds(|| rows_of(file, &metadata, None))?;
    let before = (rows / 2).saturating_sub(some);
    let middle = RowSelection::from(vec![RowSelector::skip(before), RowSelector::select(some)]);
    let few = seconds(|| rows_of(file, &metadata, Some(middle.clone())))?;
    Ok(Read {
        cpu_per_million: all / (rows * schema.fields.len()) as f64 * 1e6,
        some_micros: few / schema.arrow().fields().len() as f64 * 1e6,
    })
}

fn rows_of(
    file: &Bytes,
    metadata: &ArrowReaderMetadata,
    selection: Option<RowSelection>,
) -> Result<(), Failure> {
    let metadata = metadata.clone();
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), metadata);
    let builder = builder.with_batch_size(8_192);
    let builder = match selection {
        Some(selection) => builder.with_row_selection(selection),
        None => builder,
    };
    let batches: Vec<RecordBatch> = builder.build()?.collect::<Result<_, _>>()?;
    drop(batches);
    Ok(())
}

fn seconds(work: impl Fn() -> Result<(), Failure>) -> Result<f64, Failure> {
    let begun = cpu_seconds(std::process::id())?;
    let (mut spent, mut rounds) = (0.0, 0);
    while spent < CPU_SECONDS {
        work()?;
        rounds += 1;
        spent = cpu_seconds(std::process::id())? - begun;
    }
    Ok(spent / f64::from(rounds))
}
