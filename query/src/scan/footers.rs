//! Footers of data files, kept, and read so that columns come in the types they were written in.
//!
//! Files carry no Arrow schema, and Parquet's own types would make a scaled integer a 16-byte
//! decimal and a tag a text per row. So each footer is given the table's own types for the
//! columns it has: narrow decimals and dictionaries. Files never change, so neither do footers.

use super::kept::{Kept, Weight};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::internal_err;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::DefaultParquetFileReaderFactory;
use datafusion::error::Result;
use datafusion::object_store::ObjectStore;
use datafusion::object_store::path::Path;
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema};
use datafusion::parquet::errors::Result as ParquetResult;
use datafusion::parquet::file::metadata::{
    FileMetaData, KeyValue, PageIndexPolicy, ParquetMetaData, ParquetMetaDataBuilder,
};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::ops::Range;
use std::sync::Arc;
use warpline_storage::DataFile;

/// What a footer is assumed to take when the cache is laid out.
const TYPICAL_FOOTER_BYTES: usize = 32 << 10;

impl Weight for Path {
    fn bytes(&self) -> usize {
        self.as_ref().len()
    }
}

impl Weight for ArrowReaderMetadata {
    /// The schema in Arrow's types is small beside the page index.
    fn bytes(&self) -> usize {
        self.metadata().memory_size()
    }
}

/// Footers by path, with the schema they are read in, within a budget of memory.
#[derive(Debug)]
pub(crate) struct Footers {
    kept: Kept<Path, ArrowReaderMetadata>,
}

impl Footers {
    pub(crate) fn new(budget: usize) -> Self {
        Self { kept: Kept::new(budget, TYPICAL_FOOTER_BYTES) }
    }
}

/// Opens the files of one table.
#[derive(Debug)]
pub(super) struct TypedFiles {
    opener: DefaultParquetFileReaderFactory,
    /// The types the table's columns are stored in.
    stored: SchemaRef,
    footers: Arc<Footers>,
}

impl TypedFiles {
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        stored: SchemaRef,
        footers: Arc<Footers>,
    ) -> Self {
        Self { opener: DefaultParquetFileReaderFactory::new(store), stored, footers }
    }

    pub(super) fn open(&self, file: PartitionedFile) -> Result<TypedFile> {
        self.open_with(0, file, None, &ExecutionPlanMetricsSet::new())
    }

    fn open_with(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<TypedFile> {
        let Some(about) = file.extensions.get_arc::<DataFile>() else {
            return internal_err!("{} comes without its `DataFile`", file.object_meta.location);
        };
        let file = self.opener.create_reader(partition_index, file, metadata_size_hint, metrics)?;
        let (stored, footers) = (Arc::clone(&self.stored), Arc::clone(&self.footers));
        Ok(TypedFile { file, about, stored, footers })
    }
}

impl ParquetFileReaderFactory for TypedFiles {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        Ok(Box::new(self.open_with(partition_index, file, metadata_size_hint, metrics)?))
    }
}

/// One of the files.
pub(super) struct TypedFile {
    file: Box<dyn AsyncFileReader + Send>,
    about: Arc<DataFile>,
    stored: SchemaRef,
    footers: Arc<Footers>,
}

impl AsyncFileReader for TypedFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<bytes::Bytes>> {
        self.file.get_bytes(range)
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<bytes::Bytes>>> {
        self.file.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move { Ok(Arc::clone(self.footer().await?.metadata())) }.boxed()
    }
}

impl TypedFile {
    /// Always with the page index, so that it is read once.
    pub(super) async fn footer(&mut self) -> ParquetResult<ArrowReaderMetadata> {
        if let Some(footer) = self.footers.kept.get(&self.about.path) {
            return Ok(footer);
        }
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let footer = self.file.get_metadata(Some(&options)).await?;
        let footer = Arc::new(typed(&footer, &self.stored));
        let footer = ArrowReaderMetadata::try_new(footer, ArrowReaderOptions::new())?;
        self.footers.kept.insert(self.about.path.clone(), &self.about, footer.clone());
        Ok(footer)
    }
}

/// The footer with the table's types for its columns; as it is where the table lacks one.
fn typed(footer: &ParquetMetaData, stored: &Schema) -> ParquetMetaData {
    let file = footer.file_metadata();
    let columns = file.schema().get_fields().iter();
    let fields: Option<Vec<Field>> =
        columns.map(|column| stored.field_with_name(column.name()).ok().cloned()).collect();
    let Some(fields) = fields else {
        return footer.clone();
    };
    let mut pairs = file.key_value_metadata().cloned().unwrap_or_default();
    pairs.retain(|pair| pair.key != ARROW_SCHEMA_META_KEY);
    let schema = encode_arrow_schema(&Schema::new(fields));
    pairs.push(KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), schema));
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        Some(pairs),
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    );
    ParquetMetaDataBuilder::new(file)
        .set_row_groups(footer.row_groups().to_vec())
        .set_column_index(footer.column_index().cloned())
        .set_offset_index(footer.offset_index().cloned())
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Decimal32Array, DictionaryArray, RecordBatch};
    use arrow::datatypes::Int32Type;
    use datafusion::parquet::arrow::ArrowWriter;
    use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;

    #[test]
    fn columns_keep_the_narrow_types_of_the_table() {
        let node: DictionaryArray<Int32Type> = ["n1", "n2"].into_iter().collect();
        let power = Decimal32Array::from(vec![1, 2]).with_precision_and_scale(9, 3).unwrap();
        let columns: [(&str, ArrayRef); 2] = [("node", Arc::new(node)), ("power", Arc::new(power))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let options = ArrowWriterOptions::new().with_skip_arrow_metadata(true);
        let mut bytes = Vec::new();
        let writer = ArrowWriter::try_new_with_options(&mut bytes, batch.schema(), options);
        let mut writer = writer.unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();

        let plain =
            ArrowReaderMetadata::load(&bytes::Bytes::from(bytes), ArrowReaderOptions::default());
        let plain = plain.unwrap();
        let types = |schema: &Schema| -> Vec<_> {
            schema.fields().iter().map(|field| field.data_type().clone()).collect()
        };
        assert_ne!(types(plain.schema()), types(&batch.schema()));
        let footer = Arc::new(typed(plain.metadata(), &batch.schema()));
        let read = ArrowReaderMetadata::try_new(footer, ArrowReaderOptions::default()).unwrap();
        assert_eq!(types(read.schema()), types(&batch.schema()));
    }
}
