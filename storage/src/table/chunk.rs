//! One column's values in one row group: which encoding suits them, and the pages. Tags have their
//! own, in tags.rs.
//!
//! What suits is found out by trying: a few stretches spread over the rows are encoded and
//! compressed in each way, and the smallest wins. In files that a merge soon replaces, what suited
//! a column is taken for its next row groups as well: trying is a third of the work. Every way is
//! one that all readers know; docs/decisions/2026-11-24-encodings.md has the figures.

use super::bounds::{Bounds, Kept};
use super::encodings::{Choice, Dictionary, Kind, Values, plain};
use super::pages::{Chunk, Presence, Zstd};
use super::parquet::PAGE_ROWS;
use super::tags;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use bytes::Bytes;
use hashbrown::HashMap;
use parquet::basic::Encoding;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;
use std::mem::take;
use std::sync::Arc;

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
pub(crate) enum Effort {
    /// For files that a merge soon replaces, as a rule.
    Little,
    /// For files that may stay.
    Much,
}

/// Turns columns of row groups into column chunks.
pub(super) struct ChunkEncoder {
    compressor: Zstd,
    /// Rows of a page that takes little.
    quiet_rows: usize,
    /// Row groups that share what was found out for the first of them.
    sharing: usize,
    /// By the column's number in the file.
    chosen: HashMap<usize, Chosen>,
    /// Those of the last column; kept for their memory.
    values: Values,
    page: Vec<u8>,
}

/// What suits a column, and how many row groups have taken it.
#[derive(Clone, Copy)]
struct Chosen {
    kind: Kind,
    groups: usize,
}

impl ChunkEncoder {
    pub(super) fn new(effort: Effort) -> Result<Self, ParquetError> {
        let (packed, quiet_rows, sharing) = match effort {
            Effort::Little => (1, PAGE_ROWS, 64),
            Effort::Much => (3, 4 * PAGE_ROWS, 1),
        };
        let compressor = Zstd::new(packed)?;
        let (chosen, values, page) = Default::default();
        Ok(Self { compressor, quiet_rows, sharing, chosen, values, page })
    }

    /// The column chunk of the rows in `arrays`, one after the other, for column `number` of the
    /// file.
    pub(super) fn encode(
        &mut self,
        number: usize,
        column: &ColumnDescPtr,
        arrays: &[&dyn Array],
    ) -> Result<(Bytes, ColumnCloseResult), ParquetError> {
        match arrays.first().map(|array| array.data_type()) {
            Some(DataType::Dictionary(..)) => tags::encode(&mut self.compressor, column, arrays),
            Some(DataType::Timestamp(..)) => self.numbers(number, column, arrays, true),
            _ => self.numbers(number, column, arrays, false),
        }
    }

    /// Of a column that rows are searched by, bounds are kept, and pages are small throughout.
    fn numbers(
        &mut self,
        number: usize,
        column: &ColumnDescPtr,
        arrays: &[&dyn Array],
        is_searched: bool,
    ) -> Result<(Bytes, ColumnCloseResult), ParquetError> {
        let presence = Presence::of(column, arrays);
        let (mut values, mut page) = (take(&mut self.values), take(&mut self.page));
        values.fill(arrays, presence.rows);
        let (choice, quiet) = self.choice(number, &values)?;
        let page_rows = match &choice {
            _ if is_searched => PAGE_ROWS,
            Choice::Runs(one) if one.values.len() == 1 => presence.rows,
            _ if quiet => self.quiet_rows,
            _ => PAGE_ROWS,
        };
        let mut chunk = Chunk::new();
        if let Some(dictionary) = choice.dictionary() {
            page.clear();
            plain(&dictionary.values, values.wide, &mut page);
            chunk.dictionary(&mut self.compressor, &page, dictionary.values.len())?;
        }
        let mut bounds = is_searched.then(Bounds::new);
        let mut rest = values.raw.as_slice();
        for (first, count) in presence.pages(page_rows) {
            page.clear();
            let (here, after) = rest.split_at(presence.levels(first, count, &mut page));
            choice.write(here, values.wide, &mut page);
            chunk.data(&mut self.compressor, &page, choice.encoding(), first, count)?;
            if let Some(bounds) = &mut bounds {
                bounds.page(here.iter().copied(), count - here.len());
            }
            rest = after;
        }
        (self.values, self.page) = (values, page);
        let kept = bounds.map_or(Ok(Kept::default()), Bounds::finish)?;
        chunk.close(&self.compressor, column, presence.rows, choice.encoding(), kept)
    }

    /// What suits the values, and whether it is known to leave very little of them: what was chosen
    /// for other rows says nothing of that.
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
            return Ok((choice, false));
        }
        let (choice, quiet) = self.choose(values)?;
        self.chosen.insert(number, Chosen { kind: choice.kind(), groups: 1 });
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

impl Values {
    /// Takes the values that are present in arrays of one type.
    fn fill(&mut self, arrays: &[&dyn Array], rows: usize) {
        let Self { raw, wide, real } = self;
        raw.clear();
        raw.reserve(rows);
        (*wide, *real) = (false, false);
        for array in arrays {
            macro_rules! extend {
                ($type:ty, $raw:expr) => {{
                    let array = array.as_primitive::<$type>();
                    if array.null_count() == 0 {
                        raw.extend(array.values().iter().copied().map($raw));
                    } else {
                        raw.extend(array.iter().flatten().map($raw));
                    }
                }};
            }
            *wide = matches!(
                array.data_type(),
                DataType::Int64
                    | DataType::Decimal64(..)
                    | DataType::Float64
                    | DataType::Timestamp(..)
            );
            *real = *array.data_type() == DataType::Float64;
            match array.data_type() {
                DataType::Int8 => extend!(Int8Type, i64::from),
                DataType::Int16 => extend!(Int16Type, i64::from),
                DataType::Int32 => extend!(Int32Type, i64::from),
                DataType::Int64 => extend!(Int64Type, |value| value),
                DataType::Decimal32(..) => extend!(Decimal32Type, i64::from),
                DataType::Decimal64(..) => extend!(Decimal64Type, |value| value),
                DataType::Float64 => extend!(Float64Type, |value| value.to_bits().cast_signed()),
                DataType::Timestamp(..) => extend!(TimestampMicrosecondType, |value| value),
                other => unreachable!("{other} is the type of no column"),
            }
        }
    }
}
