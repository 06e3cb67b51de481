//! Decoded column chunks of data files, kept while they are hot.
//!
//! A chunk is one column of one row group in the types it is stored in: tags as runs, numbers
//! too where they hardly change. Files never change, so neither do chunks. What is kept stays
//! within a budget of memory; what is asked for again stays longer.

use super::field::FieldChunk;
use super::footers::TypedFiles;
use super::kept::{Kept, Weight};
use super::plan::partitioned;
use super::runs::TagRuns;
use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray, new_null_array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, SchemaRef, TimestampMicrosecondType};
use datafusion::common::internal_err;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::object_store::path::Path;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderMetadata;
use datafusion::parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use datafusion::parquet::file::metadata::ParquetMetaData;
use futures::TryStreamExt;
use futures::future::try_join_all;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use warpline_storage::DataFile;

/// What a chunk is assumed to take when the cache is laid out; only its inner tables depend on it.
const TYPICAL_CHUNK_BYTES: usize = 64 << 10;

/// One column of one row group.
#[derive(Clone, Debug)]
pub(crate) enum Chunk {
    Values(FieldChunk),
    Tag(Arc<TagRuns>),
}

impl Weight for Chunk {
    fn bytes(&self) -> usize {
        match self {
            Self::Values(values) => values.bytes(),
            Self::Tag(runs) => runs.bytes(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ChunkName {
    file: Path,
    row_group: usize,
    column: String,
}

impl Weight for ChunkName {
    fn bytes(&self) -> usize {
        self.file.as_ref().len() + self.column.len() + size_of::<Self>()
    }
}

/// The chunks of all files that an engine reads, within a budget.
#[derive(Debug)]
pub(crate) struct Chunks {
    kept: Kept<ChunkName, Chunk>,
}

impl Chunks {
    /// A budget of zero keeps nothing.
    pub(crate) fn new(budget: usize) -> Self {
        Self { kept: Kept::new(budget, TYPICAL_CHUNK_BYTES) }
    }
}

/// Opens the files of one table.
#[derive(Clone, Debug)]
pub(crate) struct ChunkOpener {
    pub(super) files: Arc<TypedFiles>,
    pub(super) chunks: Arc<Chunks>,
}

/// One data file, opened.
#[derive(Clone)]
pub(crate) struct ChunkFile {
    opener: ChunkOpener,
    file: Arc<DataFile>,
    footer: ArrowReaderMetadata,
}

impl fmt::Debug for ChunkFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkFile").field("file", &self.file).finish_non_exhaustive()
    }
}

impl ChunkOpener {
    pub(crate) async fn open(&self, file: &Arc<DataFile>) -> Result<ChunkFile> {
        let footer = self.files.open(partitioned(file))?.footer().await?;
        Ok(ChunkFile { opener: self.clone(), file: Arc::clone(file), footer })
    }
}

impl ChunkFile {
    pub(crate) fn footer(&self) -> &Arc<ParquetMetaData> {
        self.footer.metadata()
    }

    pub(crate) fn rows(&self, row_group: usize) -> usize {
        self.footer().row_group(row_group).num_rows() as usize
    }

    /// The column that `field` of the table is in this row group; NULL throughout where the file
    /// is older than the column. Columns are decoded side by side, by more threads than the
    /// statement may have otherwise: whoever else wants one meanwhile waits for it, and would have
    /// nothing to do if one thread decoded all.
    async fn chunk(&self, row_group: usize, field: &Field) -> Result<Chunk> {
        let Ok(column) = self.footer.schema().index_of(field.name()) else {
            return chunk(new_null_array(field.data_type(), self.rows(row_group)));
        };
        let name =
            ChunkName { file: self.file.path.clone(), row_group, column: field.name().clone() };
        let decoded = async {
            let file = self.clone();
            let decoding = SpawnedTask::spawn(async move { file.decode(row_group, column).await });
            decoding.join_unwind().await.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))?
        };
        self.opener.chunks.kept.get_or_read(&name, &self.file, decoded).await
    }

    /// Tags by their numbers in the table's schema, which `stored` is.
    pub(crate) async fn tags(
        &self,
        row_group: usize,
        tags: &[usize],
        stored: &SchemaRef,
    ) -> Result<Vec<Arc<TagRuns>>> {
        try_join_all(tags.iter().map(|tag| async {
            match self.chunk(row_group, stored.field(*tag)).await? {
                Chunk::Tag(runs) => Ok(runs),
                Chunk::Values(_) => internal_err!("a tag is stored as a dictionary"),
            }
        }))
        .await
    }

    pub(crate) async fn times(
        &self,
        row_group: usize,
        stored: &SchemaRef,
    ) -> Result<ScalarBuffer<i64>> {
        let times = self.values(row_group, stored.field(0)).await?;
        let times = times.rows(0..self.rows(row_group) as u32)?;
        Ok(times.as_primitive::<TimestampMicrosecondType>().values().clone())
    }

    pub(crate) async fn fields(
        &self,
        row_group: usize,
        fields: &[usize],
        stored: &SchemaRef,
    ) -> Result<Vec<FieldChunk>> {
        try_join_all(fields.iter().map(|field| self.values(row_group, stored.field(*field)))).await
    }

    /// Some rows of any column.
    pub(super) async fn column(
        &self,
        row_group: usize,
        column: usize,
        rows: Range<u32>,
        stored: &SchemaRef,
    ) -> Result<ArrayRef> {
        match self.chunk(row_group, stored.field(column)).await? {
            Chunk::Values(values) => values.rows(rows),
            Chunk::Tag(runs) => Ok(runs.rows(rows)),
        }
    }

    async fn values(&self, row_group: usize, field: &Field) -> Result<FieldChunk> {
        match self.chunk(row_group, field).await? {
            Chunk::Values(values) => Ok(values),
            Chunk::Tag(_) => internal_err!("time and fields are stored as values"),
        }
    }

    async fn decode(&self, row_group: usize, column: usize) -> Result<Chunk> {
        let reader = self.opener.files.open(partitioned(&self.file))?;
        let mask = ProjectionMask::roots(self.footer.parquet_schema(), [column]);
        let stream =
            ParquetRecordBatchStreamBuilder::new_with_metadata(reader, self.footer.clone())
                .with_row_groups(vec![row_group])
                .with_projection(mask)
                .with_batch_size(self.rows(row_group).max(1))
                .build()?;
        let batches: Vec<_> = stream.try_collect().await?;
        let [batch] = batches.as_slice() else {
            let path = &self.file.path;
            return internal_err!("row group {row_group} of {path} has {} batches", batches.len());
        };
        match chunk(Arc::clone(batch.column(0)))? {
            Chunk::Values(FieldChunk::Rows(column)) => FieldChunk::of(column).map(Chunk::Values),
            chunk => Ok(chunk),
        }
    }
}

/// Times as a column.
pub(super) fn time_column(times: &ScalarBuffer<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::new(times.clone(), None).with_timezone("UTC"))
}

/// A stored column as it is worked on: bytes become 16-bit integers, tags become runs.
pub(crate) fn chunk(column: ArrayRef) -> Result<Chunk> {
    Ok(match column.data_type() {
        DataType::Dictionary(..) => Chunk::Tag(Arc::new(TagRuns::of(&column)?)),
        DataType::Int8 => Chunk::Values(FieldChunk::Rows(cast(&column, &DataType::Int16)?)),
        _ => Chunk::Values(FieldChunk::Rows(column)),
    })
}
