//! A column chunk of a Parquet file as it grows, page by page.

use super::bounds::Kept;
use super::encodings::varint;
use arrow::array::{Array, BooleanBufferBuilder};
use arrow::buffer::BooleanBuffer;
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::offset_index::{OffsetIndexMetaData, PageLocation};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;
use zstd::zstd_safe::compress_bound;

/// The level for all but packed bits. At 6 a merged file takes 0.2 % less, for a third more CPU.
const BYTES_LEVEL: i32 = 3;

/// Compresses pages.
pub(super) struct Zstd {
    compressor: Compressor<'static>,
    packed: i32,
    compression: Compression,
    /// The page that was compressed last.
    compressed: Vec<u8>,
}

impl Zstd {
    /// With the level for packed bits, which hardly shrink.
    pub(super) fn new(packed: i32) -> Result<Self, ParquetError> {
        let compression = Compression::ZSTD(ZstdLevel::try_new(packed)?);
        let compressor = Compressor::new(packed)?;
        Ok(Self { compressor, packed, compression, compressed: Vec::new() })
    }

    pub(super) fn compress(
        &mut self,
        page: &[u8],
        encoding: Encoding,
    ) -> Result<&[u8], ParquetError> {
        let packed = encoding == Encoding::DELTA_BINARY_PACKED;
        self.compressor.set_compression_level(if packed { self.packed } else { BYTES_LEVEL })?;
        self.compressed.clear();
        self.compressed.reserve(compress_bound(page.len()));
        self.compressor.compress_to_buffer(page, &mut self.compressed)?;
        Ok(&self.compressed)
    }
}

/// Which rows of a column chunk have a value.
pub(super) struct Presence {
    pub(super) rows: usize,
    /// Whether pages of the column tell it.
    is_told: bool,
    /// `None` where all have.
    bits: Option<BooleanBuffer>,
}

impl Presence {
    pub(super) fn of(column: &ColumnDescPtr, arrays: &[&dyn Array]) -> Self {
        let rows = arrays.iter().map(|array| array.len()).sum();
        let is_told = column.max_def_level() > 0;
        if arrays.iter().all(|array| array.null_count() == 0) {
            return Self { rows, is_told, bits: None };
        }
        assert!(is_told, "column {} has no nulls", column.name());
        let mut bits = BooleanBufferBuilder::new(rows);
        for array in arrays {
            match array.nulls() {
                Some(nulls) => bits.append_buffer(nulls.inner()),
                None => bits.append_n(array.len(), true),
            }
        }
        Self { rows, is_told, bits: Some(bits.finish()) }
    }

    /// First row and count of each page.
    pub(super) fn pages(&self, page_rows: usize) -> impl Iterator<Item = (usize, usize)> {
        let rows = self.rows;
        (0..rows).step_by(page_rows).map(move |first| (first, page_rows.min(rows - first)))
    }

    /// Appends which rows of a page have a value; returns how many have.
    pub(super) fn levels(&self, first: usize, rows: usize, page: &mut Vec<u8>) -> usize {
        if !self.is_told {
            return rows;
        }
        let mut levels = Vec::new();
        let here = self.bits.as_ref().map(|bits| bits.slice(first, rows));
        let count = here.as_ref().map_or(rows, BooleanBuffer::count_set_bits);
        match here {
            Some(bits) if count < rows => {
                let bytes = rows.div_ceil(8);
                varint((bytes as u64) << 1 | 1, &mut levels);
                levels.extend(&bits.sliced().as_slice()[..bytes]);
            }
            _ => {
                varint((rows as u64) << 1, &mut levels);
                levels.push(1);
            }
        }
        page.extend((levels.len() as u32).to_le_bytes());
        page.extend(levels);
        count
    }
}

/// A column chunk as it grows.
pub(super) struct Chunk {
    sink: TrackedWrite<Vec<u8>>,
    /// Where the data pages begin if a dictionary comes first.
    dictionary: Option<usize>,
    uncompressed: usize,
    pages: Vec<PageLocation>,
}

impl Chunk {
    pub(super) fn new() -> Self {
        let sink = TrackedWrite::new(Vec::new());
        Self { sink, dictionary: None, uncompressed: 0, pages: Vec::new() }
    }

    /// Values of the dictionary, in plain encoding.
    pub(super) fn dictionary(
        &mut self,
        compressor: &mut Zstd,
        values: &[u8],
        count: usize,
    ) -> Result<(), ParquetError> {
        let page = Page::DictionaryPage {
            buf: Bytes::copy_from_slice(compressor.compress(values, Encoding::PLAIN)?),
            num_values: count as u32,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        self.write(page, values.len())?;
        self.dictionary = Some(self.sink.bytes_written());
        Ok(())
    }

    pub(super) fn data(
        &mut self,
        compressor: &mut Zstd,
        bytes: &[u8],
        encoding: Encoding,
        first_row: usize,
        rows: usize,
    ) -> Result<(), ParquetError> {
        let page = Page::DataPage {
            buf: Bytes::copy_from_slice(compressor.compress(bytes, encoding)?),
            num_values: rows as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let offset = self.sink.bytes_written();
        self.write(page, bytes.len())?;
        self.pages.push(PageLocation {
            offset: offset as i64,
            compressed_page_size: (self.sink.bytes_written() - offset) as i32,
            first_row_index: first_row as i64,
        });
        Ok(())
    }

    fn write(&mut self, page: Page, uncompressed: usize) -> Result<(), ParquetError> {
        let page = CompressedPage::new(page, uncompressed);
        let written = SerializedPageWriter::new(&mut self.sink).write_page(page)?;
        self.uncompressed += written.uncompressed_size;
        Ok(())
    }

    pub(super) fn close(
        self,
        compressor: &Zstd,
        column: &ColumnDescPtr,
        rows: usize,
        encoding: Encoding,
        kept: Kept,
    ) -> Result<(Bytes, ColumnCloseResult), ParquetError> {
        let bytes = self.sink.into_inner()?;
        let mut encodings = vec![Encoding::RLE, encoding];
        encodings.extend(self.dictionary.map(|_| Encoding::PLAIN));
        let mut metadata = ColumnChunkMetaData::builder(column.clone())
            .set_compression(compressor.compression)
            .set_encodings(encodings)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(self.uncompressed as i64)
            .set_num_values(rows as i64)
            .set_data_page_offset(self.dictionary.unwrap_or_default() as i64)
            .set_dictionary_page_offset(self.dictionary.map(|_| 0));
        if let Some(statistics) = kept.statistics {
            metadata = metadata.set_statistics(statistics);
        }
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: kept.index,
            offset_index: Some(OffsetIndexMetaData {
                page_locations: self.pages,
                unencoded_byte_array_data_bytes: None,
            }),
        };
        Ok((bytes.into(), close))
    }
}
