//! The pieces a table's scan is put together from.

use super::chunks::{ChunkOpener, Chunks};
use super::footers::{Footers, TypedFiles};
use super::resolve::key_ordering;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::config::TableParquetOptions;
use datafusion::common::stats::Precision;
use datafusion::common::{ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{binary, col, lit, not};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use std::sync::Arc;
use warpline_storage::{DataFile, TableSnapshot, TimeRange};

/// Footers of a scan outside an engine; an engine shares its own between scans.
const FOOTER_BYTES: usize = 16 << 20;

/// Decoded chunks of a scan outside an engine.
const CHUNK_BYTES: usize = 16 << 20;

/// The name scans know the store by. DataFusion looks a store up by scheme and host, which would
/// make one of all local folders; files are read through the table's own store all the same.
const STORE_URL: &str = "warpline://store";

/// How the files of one table are read.
#[derive(Debug)]
pub(crate) struct FileReader<'a> {
    pub(super) table: &'a TableSnapshot,
    /// The types that columns come in.
    pub(super) schema: SchemaRef,
    pub(super) url: ObjectStoreUrl,
    pub(super) options: TableParquetOptions,
    pub(super) files: Arc<TypedFiles>,
    pub(super) chunks: Arc<Chunks>,
    pub(super) groups: usize,
}

impl<'a> FileReader<'a> {
    pub(super) fn new(
        table: &'a TableSnapshot,
        schema: SchemaRef,
        state: &dyn Session,
    ) -> Result<Self> {
        let config = state.config_options();
        let options = TableParquetOptions {
            global: config.execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let footers = state.config().get_extension::<Footers>();
        let footers = footers.unwrap_or_else(|| Arc::new(Footers::new(FOOTER_BYTES)));
        let chunks = state.config().get_extension::<Chunks>();
        let chunks = chunks.unwrap_or_else(|| Arc::new(Chunks::new(CHUNK_BYTES)));
        let files = TypedFiles::new(Arc::clone(&table.store), table.schema.arrow(), footers);
        let url = ObjectStoreUrl::parse(STORE_URL)?;
        state.runtime_env().register_object_store(url.as_ref(), Arc::clone(&table.store));
        Ok(Self {
            table,
            schema,
            url,
            options,
            files: Arc::new(files),
            chunks,
            groups: config.execution.target_partitions,
        })
    }

    /// What opens a file for reading it chunk by chunk.
    pub(crate) fn opener(&self) -> ChunkOpener {
        ChunkOpener { files: Arc::clone(&self.files), chunks: Arc::clone(&self.chunks) }
    }

    /// Files read in parallel, in no order.
    pub(super) fn unordered(
        &self,
        files: &[&Arc<DataFile>],
        columns: &[usize],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let group = FileGroup::new(files.iter().map(|file| partitioned(file)).collect());
        let builder = self.builder(files, columns, None)?.with_limit(limit);
        let config = builder.with_file_groups(group.split_files(self.groups)).build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// One file by identity, then time. Rows that fail `predicate`, which is over the table's
    /// schema, may be left out.
    pub(super) fn ordered(
        &self,
        file: &Arc<DataFile>,
        columns: &[usize],
        predicate: Arc<dyn PhysicalExpr>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let keys = key_columns(self.table);
        let ordering = key_ordering(&self.schema, &keys).into_iter().collect();
        let builder = self.builder(&[file], columns, Some(predicate))?;
        let config = builder.with_file(partitioned(file)).with_output_ordering(ordering).build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// Row counts are declared inexact: the optimizer answers `count(*)` from exact ones, past
    /// any resolution of keys.
    fn builder(
        &self,
        files: &[&Arc<DataFile>],
        columns: &[usize],
        predicate: Option<Arc<dyn PhysicalExpr>>,
    ) -> Result<FileScanConfigBuilder> {
        let mut source = ParquetSource::new(Arc::clone(&self.schema))
            .with_table_parquet_options(self.options.clone())
            .with_parquet_file_reader_factory(Arc::clone(&self.files) as _);
        if let Some(predicate) = predicate {
            source = source.with_predicate(predicate);
        }
        let rows: u64 = files.iter().map(|file| file.rows).sum();
        let bytes: u64 = files.iter().map(|file| file.bytes).sum();
        let statistics = Statistics::new_unknown(&self.schema)
            .with_num_rows(Precision::Inexact(rows as usize))
            .with_total_byte_size(Precision::Inexact(bytes as usize));
        FileScanConfigBuilder::new(self.url.clone(), Arc::new(source))
            .with_statistics(statistics)
            .with_projection_indices(Some(columns.to_vec()))
    }
}

/// What reads a file; it holds on to it, so that the file is not deleted meanwhile.
pub(super) fn partitioned(file: &Arc<DataFile>) -> PartitionedFile {
    let mut read = PartitionedFile::new("", file.bytes);
    read.object_meta.location = file.path.clone();
    read.extensions.insert_arc(Arc::clone(file));
    read
}

/// The identity columns and then time, as indexes of the table's schema.
pub(super) fn key_columns(table: &TableSnapshot) -> Vec<usize> {
    (1..=table.schema.identity.len()).chain([0]).collect()
}

/// `time` lies in one of the ranges.
pub(super) fn within(ranges: &[TimeRange], schema: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>> {
    let mut any: Option<Arc<dyn PhysicalExpr>> = None;
    for range in ranges {
        let time = || col("time", schema);
        let first = binary(time()?, Operator::GtEq, instant(range.first, schema), schema)?;
        let last = binary(time()?, Operator::LtEq, instant(range.last, schema), schema)?;
        let inside = binary(first, Operator::And, last, schema)?;
        any = Some(match any {
            None => inside,
            Some(any) => binary(any, Operator::Or, inside, schema)?,
        });
    }
    Ok(any.unwrap_or_else(|| lit(false)))
}

fn instant(time: i64, schema: &SchemaRef) -> Arc<dyn PhysicalExpr> {
    let zone = match schema.field_with_name("time").map(arrow::datatypes::Field::data_type) {
        Ok(DataType::Timestamp(_, zone)) => zone.clone(),
        _ => None,
    };
    lit(ScalarValue::TimestampMicrosecond(Some(time), zone))
}

pub(super) fn outside_of(
    ranges: &[TimeRange],
    schema: &SchemaRef,
) -> Result<Arc<dyn PhysicalExpr>> {
    not(within(ranges, schema)?)
}

pub(super) fn filtered(
    predicate: Arc<dyn PhysicalExpr>,
    input: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    Ok(Arc::new(FilterExec::try_new(predicate, input)?))
}

/// The chosen columns of the input.
pub(super) fn projected(
    columns: &[usize],
    input: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = input.schema();
    if columns.iter().copied().eq(0..schema.fields().len()) {
        return Ok(input);
    }
    let exprs = columns.iter().map(|column| {
        let name = schema.field(*column).name();
        Ok((col(name, &schema)?, name.clone()))
    });
    Ok(Arc::new(ProjectionExec::try_new(exprs.collect::<Result<Vec<_>>>()?, input)?))
}

/// Consecutive boxes in at most `runs` runs, which can be resolved side by side.
pub(super) fn runs_of(boxes: &[TimeRange], runs: usize) -> impl Iterator<Item = &[TimeRange]> {
    boxes.chunks(boxes.len().div_ceil(runs.max(1)).max(1))
}

pub(super) fn meets_any(times: TimeRange, boxes: &[TimeRange]) -> bool {
    boxes.iter().any(|contested| times.overlap(*contested).is_some())
}

pub(super) fn lies_in_one(times: TimeRange, boxes: &[TimeRange]) -> bool {
    boxes.iter().any(|contested| times.overlap(*contested) == Some(times))
}
