//! One field's values in one row group: which encoding suits them, and the pages.
//!
//! What suits is found out by trying: a few stretches spread over the rows are encoded and
//! compressed in each way, and the smallest wins. In files that a merge soon replaces, what suited
//! a column is taken for its next row groups as well: trying is a third of the work. Every way is
//! one that all readers know; docs/decisions/2026-11-24-encodings.md has the figures.

use super::encodings::{Choice, Dictionary, Kind, Values, plain, varint};
use super::parquet::PAGE_ROWS;
use crate::snapshot::Level;
use arrow::array::{Array, AsArray, BooleanBufferBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use bytes::Bytes;
use hashbrown::HashMap;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::offset_index::{OffsetIndexMetaData, PageLocation};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use std::sync::Arc;
use zstd::bulk::Compressor;

/// Stretches of rows that the choice looks at, and their length.
const STRETCHES: usize = 4;
const STRETCH: usize = 2_048;
/// A column of which a sample takes less than one byte in so many values is read in large pages:
/// they cost a reader little.
const QUIET: usize = 4;
/// Distinct values among those looked at beyond which no dictionary is thought of.
const SAMPLE_DISTINCT: usize = 4_096;

/// How much goes into a file's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// For files of a flush: a merge soon replaces them.
    Little,
    /// For files that stay: merged ones, and those of rollups.
    Much,
}

impl Effort {
    pub(super) fn of(level: Level) -> Self {
        if level == Level::Flush { Self::Little } else { Self::Much }
    }
}

/// Turns columns of row groups into column chunks.
pub(super) struct ChunkEncoder {
    compressor: Zstd,
    compression: Compression,
    /// Rows of a page that takes little.
    quiet_rows: usize,
    /// Row groups that share what was found out for the first of them.
    sharing: usize,
    /// By the column's number in the file.
    chosen: HashMap<usize, Chosen>,
}

/// What suits a column, and how many row groups have taken it.
#[derive(Clone, Copy)]
struct Chosen {
    kind: Kind,
    quiet: bool,
    groups: usize,
}

/// Compresses pages. Packed bits hardly shrink, whatever the level; bytes do.
struct Zstd {
    compressor: Compressor<'static>,
    packed: i32,
    bytes: i32,
}

impl Zstd {
    fn compress(&mut self, page: &[u8], encoding: Encoding) -> Result<Vec<u8>, ParquetError> {
        let packed = encoding == Encoding::DELTA_BINARY_PACKED;
        self.compressor.set_compression_level(if packed { self.packed } else { self.bytes })?;
        Ok(self.compressor.compress(page)?)
    }
}

impl ChunkEncoder {
    pub(super) fn new(effort: Effort) -> Result<Self, ParquetError> {
        let (packed, bytes, quiet_rows, sharing) = match effort {
            Effort::Little => (1, 3, PAGE_ROWS, 8),
            Effort::Much => (3, 6, 4 * PAGE_ROWS, 1),
        };
        let compressor = Zstd { compressor: Compressor::new(packed)?, packed, bytes };
        let compression = Compression::ZSTD(ZstdLevel::try_new(packed)?);
        Ok(Self { compressor, compression, quiet_rows, sharing, chosen: HashMap::new() })
    }

    /// The column chunk of the rows in `arrays`, one after the other, for column `number` of the
    /// file.
    pub(super) fn encode(
        &mut self,
        number: usize,
        column: &ColumnDescPtr,
        arrays: &[&dyn Array],
    ) -> Result<(Bytes, ColumnCloseResult), ParquetError> {
        let rows: usize = arrays.iter().map(|array| array.len()).sum();
        let present = present(arrays);
        let values = values(arrays, rows);
        let (choice, quiet) = self.choice(number, &values)?;
        let page_rows = match &choice {
            Choice::Runs(one) if one.values.len() == 1 => rows,
            _ if quiet => self.quiet_rows,
            _ => PAGE_ROWS,
        };
        let mut chunk = Chunk::new();
        if let Some(dictionary) = choice.dictionary() {
            chunk.dictionary(&mut self.compressor, dictionary, values.wide)?;
        }
        let mut rest = values.raw.as_slice();
        let mut page = Vec::new();
        for first in (0..rows).step_by(page_rows) {
            let count = page_rows.min(rows - first);
            page.clear();
            let (here, after) = rest.split_at(levels(present.as_ref(), first, count, &mut page));
            choice.write(here, values.wide, &mut page);
            chunk.data(&mut self.compressor, &page, choice.encoding(), first, count)?;
            rest = after;
        }
        chunk.close(column, rows, choice.encoding(), self.compression)
    }

    /// What suits the values, and whether it leaves very little of them.
    fn choice(&mut self, number: usize, values: &Values) -> Result<(Choice, bool), ParquetError> {
        let raw = values.raw.as_slice();
        let Some(first) = raw.first() else { return Ok((Choice::Plain, true)) };
        if raw.iter().all(|value| value == first)
            && let Some(dictionary) = Dictionary::of(raw)
        {
            return Ok((Choice::Runs(dictionary.into()), true));
        }
        if let Some(chosen) = self.chosen.get_mut(&number)
            && chosen.groups < self.sharing
            && let Some(choice) = chosen.kind.choice(raw)
        {
            chosen.groups += 1;
            return Ok((choice, chosen.quiet));
        }
        let (choice, quiet) = self.choose(values)?;
        self.chosen.insert(number, Chosen { kind: choice.kind(), quiet, groups: 1 });
        Ok((choice, quiet))
    }

    /// The encoding that makes least of a sample, and whether it leaves very little.
    fn choose(&mut self, values: &Values) -> Result<(Choice, bool), ParquetError> {
        let raw = values.raw.as_slice();
        let sample = sample(raw);
        let looked_at: usize = sample.iter().map(|stretch| stretch.len()).sum();
        let mut choices = vec![if values.real { Choice::Split } else { Choice::Delta }];
        let dictionary = few(&sample).then(|| Dictionary::of(raw)).flatten().map(Arc::new);
        let mut shared = 0;
        if let Some(dictionary) = dictionary {
            let mut page = Vec::new();
            plain(&dictionary.values, values.wide, &mut page);
            let bytes = self.compressor.compress(&page, Encoding::PLAIN)?.len();
            shared = bytes * looked_at / raw.len();
            choices.push(Choice::Bytes(dictionary.clone()));
            choices.push(Choice::Runs(dictionary));
        }
        let mut best = (Choice::Plain, self.trial(&Choice::Plain, &sample, values.wide)?);
        for choice in choices {
            let shared = if choice.dictionary().is_some() { shared } else { 0 };
            let bytes = shared + self.trial(&choice, &sample, values.wide)?;
            if bytes < best.1 {
                best = (choice, bytes);
            }
        }
        Ok((best.0, best.1 * QUIET < looked_at))
    }

    fn trial(
        &mut self,
        choice: &Choice,
        sample: &[&[i64]],
        wide: bool,
    ) -> Result<usize, ParquetError> {
        let mut bytes = 0;
        let mut page = Vec::new();
        for stretch in sample {
            page.clear();
            choice.write(stretch, wide, &mut page);
            bytes += self.compressor.compress(&page, choice.encoding())?.len();
        }
        Ok(bytes)
    }
}

/// A column chunk as it grows.
struct Chunk {
    sink: TrackedWrite<Vec<u8>>,
    /// Where the data pages begin if a dictionary comes first.
    dictionary: Option<usize>,
    uncompressed: usize,
    pages: Vec<PageLocation>,
}

impl Chunk {
    fn new() -> Self {
        let sink = TrackedWrite::new(Vec::new());
        Self { sink, dictionary: None, uncompressed: 0, pages: Vec::new() }
    }

    fn dictionary(
        &mut self,
        compressor: &mut Zstd,
        dictionary: &Dictionary,
        wide: bool,
    ) -> Result<(), ParquetError> {
        let mut bytes = Vec::new();
        plain(&dictionary.values, wide, &mut bytes);
        let page = Page::DictionaryPage {
            buf: compressor.compress(&bytes, Encoding::PLAIN)?.into(),
            num_values: dictionary.values.len() as u32,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        self.write(page, bytes.len())?;
        self.dictionary = Some(self.sink.bytes_written());
        Ok(())
    }

    fn data(
        &mut self,
        compressor: &mut Zstd,
        bytes: &[u8],
        encoding: Encoding,
        first_row: usize,
        rows: usize,
    ) -> Result<(), ParquetError> {
        let page = Page::DataPage {
            buf: compressor.compress(bytes, encoding)?.into(),
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

    fn close(
        self,
        column: &ColumnDescPtr,
        rows: usize,
        encoding: Encoding,
        compression: Compression,
    ) -> Result<(Bytes, ColumnCloseResult), ParquetError> {
        let bytes = self.sink.into_inner()?;
        let mut encodings = vec![Encoding::RLE, encoding];
        encodings.extend(self.dictionary.map(|_| Encoding::PLAIN));
        let metadata = ColumnChunkMetaData::builder(column.clone())
            .set_compression(compression)
            .set_encodings(encodings)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(self.uncompressed as i64)
            .set_num_values(rows as i64)
            .set_data_page_offset(self.dictionary.unwrap_or_default() as i64)
            .set_dictionary_page_offset(self.dictionary.map(|_| 0))
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(OffsetIndexMetaData {
                page_locations: self.pages,
                unencoded_byte_array_data_bytes: None,
            }),
        };
        Ok((bytes.into(), close))
    }
}

/// Stretches spread over all values: one series, or the file's head, may be unlike the others.
fn sample(raw: &[i64]) -> Vec<&[i64]> {
    let length = STRETCH.min(raw.len() / STRETCHES);
    if length < STRETCH {
        return vec![raw];
    }
    let apart = (raw.len() - length) / (STRETCHES - 1);
    (0..STRETCHES).map(|index| &raw[index * apart..][..length]).collect()
}

/// Whether so few values in a sample differ that a dictionary can be of use.
fn few(sample: &[&[i64]]) -> bool {
    let mut values = sample.concat();
    values.sort_unstable();
    values.dedup();
    values.len() <= SAMPLE_DISTINCT
}

/// Which rows have a value; `None` where all have.
fn present(arrays: &[&dyn Array]) -> Option<BooleanBuffer> {
    if arrays.iter().all(|array| array.null_count() == 0) {
        return None;
    }
    let mut bits = BooleanBufferBuilder::new(arrays.iter().map(|array| array.len()).sum());
    for array in arrays {
        match array.nulls() {
            Some(nulls) => bits.append_buffer(nulls.inner()),
            None => bits.append_n(array.len(), true),
        }
    }
    Some(bits.finish())
}

/// Appends which rows of a page have a value; returns how many have.
fn levels(present: Option<&BooleanBuffer>, first: usize, rows: usize, page: &mut Vec<u8>) -> usize {
    let mut levels = Vec::new();
    let here = present.map(|present| present.slice(first, rows));
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

fn values(arrays: &[&dyn Array], rows: usize) -> Values {
    let mut raw = Vec::with_capacity(rows);
    let (mut wide, mut real) = (false, false);
    for array in arrays {
        macro_rules! take {
            ($type:ty, $raw:expr) => {{
                let array = array.as_primitive::<$type>();
                if array.null_count() == 0 {
                    raw.extend(array.values().iter().copied().map($raw));
                } else {
                    raw.extend(array.iter().flatten().map($raw));
                }
            }};
        }
        wide = matches!(
            array.data_type(),
            DataType::Int64 | DataType::Decimal64(..) | DataType::Float64
        );
        real = *array.data_type() == DataType::Float64;
        match array.data_type() {
            DataType::Int8 => take!(Int8Type, i64::from),
            DataType::Int16 => take!(Int16Type, i64::from),
            DataType::Int32 => take!(Int32Type, i64::from),
            DataType::Int64 => take!(Int64Type, |value| value),
            DataType::Decimal32(..) => take!(Decimal32Type, i64::from),
            DataType::Decimal64(..) => take!(Decimal64Type, |value| value),
            DataType::Float64 => take!(Float64Type, |value| value.to_bits().cast_signed()),
            other => unreachable!("{other} is not a field's type"),
        }
    }
    Values { raw, wide, real }
}
