//! Files that arrow-rs writes with one encoding for every field.

use crate::Failure;
use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use warpline_storage::model::{FieldType, TableSchema};

#[derive(Clone, Copy, Debug)]
pub(super) enum Single {
    Plain,
    /// Doubles are plain.
    Delta,
    Dictionary,
    /// Readers of 2025 refuse it for integers.
    Split,
}

impl Single {
    pub(super) const ALL: [Self; 4] = [Self::Plain, Self::Delta, Self::Dictionary, Self::Split];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Delta => "delta",
            Self::Dictionary => "dictionary",
            Self::Split => "split",
        }
    }

    /// In all but the fields the file is like a table's.
    pub(super) fn encode(self, schema: &TableSchema, rows: &RecordBatch) -> Result<Bytes, Failure> {
        let mut builder = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_max_row_group_row_count(Some(1 << 17))
            .set_data_page_row_count_limit(8_192)
            .set_write_batch_size(8_192)
            .set_dictionary_page_size_limit(4 << 20)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_column_encoding(ColumnPath::from("time"), Encoding::DELTA_BINARY_PACKED)
            .set_column_dictionary_enabled(ColumnPath::from("time"), false);
        let tags = schema.identity.iter().chain(&schema.attributes);
        for key in tags.map(|tag| &**tag).chain(["time"]) {
            let path = ColumnPath::from(key);
            builder = builder.set_column_statistics_enabled(path, EnabledStatistics::Page);
        }
        for field in &schema.fields {
            let path = ColumnPath::from(&*field.name);
            let encoding = match self {
                Self::Delta if field.field_type != FieldType::Float64 => {
                    Encoding::DELTA_BINARY_PACKED
                }
                Self::Split => Encoding::BYTE_STREAM_SPLIT,
                _ => Encoding::PLAIN,
            };
            builder = builder
                .set_column_encoding(path.clone(), encoding)
                .set_column_dictionary_enabled(path, matches!(self, Self::Dictionary));
        }
        let options = ArrowWriterOptions::new()
            .with_skip_arrow_metadata(true)
            .with_properties(builder.build());
        let mut writer = ArrowWriter::try_new_with_options(Vec::new(), rows.schema(), options)?;
        writer.write(rows)?;
        Ok(writer.into_inner()?.into())
    }
}
