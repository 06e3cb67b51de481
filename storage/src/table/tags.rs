//! A tag's column chunk: a dictionary of the texts in the order in which they come, and their
//! indices, which repeat as long as a series does.
//!
//! Written here rather than by arrow-rs, which hashes every row's text: batches come with
//! dictionaries of their own, so that only texts that differ are looked up.

use super::bounds::Bounds;
use super::encodings::runs;
use super::pages::{Chunk, Presence, Zstd};
use super::parquet::PAGE_ROWS;
use arrow::array::{Array, AsArray, StringArray};
use arrow::datatypes::Int32Type;
use bytes::Bytes;
use hashbrown::HashMap;
use parquet::basic::Encoding;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;

/// A larger dictionary must be worth it, and has an end: a reader of one page reads all of it.
const DICTIONARY_BYTES: usize = 4 << 20;
const LARGEST_DICTIONARY: usize = 16 << 20;
/// How many times smaller than the texts of all rows it is then.
const WORTH: usize = 4;
/// About so much a page holds of texts without a dictionary.
const PAGE_BYTES: usize = 1 << 20;

pub(super) fn encode(
    zstd: &mut Zstd,
    column: &ColumnDescPtr,
    arrays: &[&dyn Array],
) -> Result<(Bytes, ColumnCloseResult), ParquetError> {
    let presence = Presence::of(column, arrays);
    let tags = Tags::of(arrays);
    let mut chunk = Chunk::new();
    let (encoding, page_rows) = if tags.suits_dictionary() {
        let mut texts = Vec::new();
        plain(tags.texts.iter().copied(), &mut texts);
        chunk.dictionary(zstd, &texts, tags.texts.len())?;
        (Encoding::RLE_DICTIONARY, PAGE_ROWS)
    } else {
        let rows = PAGE_BYTES * presence.rows / tags.bytes();
        (Encoding::PLAIN, rows.clamp(1, PAGE_ROWS))
    };
    let mut bounds = Bounds::new();
    let mut rest = tags.indices.as_slice();
    let mut page = Vec::new();
    for (first, count) in presence.pages(page_rows) {
        page.clear();
        let (here, after) = rest.split_at(presence.levels(first, count, &mut page));
        if encoding == Encoding::PLAIN {
            plain(here.iter().map(|index| tags.texts[*index as usize]), &mut page);
        } else {
            runs(here, &mut page);
        }
        chunk.data(zstd, &page, encoding, first, count)?;
        let differing = here.chunk_by(|a, b| a == b).map(|same| tags.texts[same[0] as usize]);
        bounds.page(differing, count - here.len());
        rest = after;
    }
    chunk.close(zstd, column, presence.rows, encoding, bounds.finish()?)
}

/// The texts that are present.
struct Tags<'a> {
    texts: Vec<&'a str>,
    /// Which text each row has.
    indices: Vec<u64>,
}

impl<'a> Tags<'a> {
    fn of(arrays: &[&'a dyn Array]) -> Self {
        let mut numbered = Numbered::default();
        let mut indices = Vec::with_capacity(arrays.iter().map(|array| array.len()).sum());
        for array in arrays {
            let array = array.as_dictionary::<Int32Type>();
            numbered.begin(array.values().as_string());
            if array.null_count() == 0 {
                indices.extend(array.keys().values().iter().map(|key| numbered.index(*key)));
            } else {
                indices.extend(array.keys().iter().flatten().map(|key| numbered.index(key)));
            }
        }
        Self { texts: numbered.texts, indices }
    }

    fn suits_dictionary(&self) -> bool {
        let dictionary: usize = self.texts.iter().copied().map(plain_bytes).sum();
        dictionary <= DICTIONARY_BYTES
            || (dictionary <= LARGEST_DICTIONARY && dictionary * WORTH <= self.bytes())
    }

    /// What all texts take without a dictionary.
    fn bytes(&self) -> usize {
        self.indices.iter().map(|index| plain_bytes(self.texts[*index as usize])).sum()
    }
}

/// Numbers texts as they come.
#[derive(Default)]
struct Numbered<'a> {
    texts: Vec<&'a str>,
    numbers: HashMap<&'a str, u64>,
    /// The dictionary of the batch under way, and the numbers of its texts, as far as they came.
    batch: Option<&'a StringArray>,
    known: Vec<Option<u64>>,
}

impl<'a> Numbered<'a> {
    /// Batches that follow each other often share a dictionary.
    fn begin(&mut self, batch: &'a StringArray) {
        let is_same = self.batch.is_some_and(|before| {
            before.offsets().ptr_eq(batch.offsets()) && before.values().ptr_eq(batch.values())
        });
        if !is_same {
            self.known.clear();
            self.known.resize(batch.len(), None);
            self.batch = Some(batch);
        }
    }

    fn index(&mut self, key: i32) -> u64 {
        let key = key as usize;
        if let Some(number) = self.known[key] {
            return number;
        }
        let text = self.batch.expect("a batch is under way").value(key);
        let number = *self.numbers.entry(text).or_insert_with(|| {
            self.texts.push(text);
            self.texts.len() as u64 - 1
        });
        self.known[key] = Some(number);
        number
    }
}

fn plain_bytes(text: &str) -> usize {
    size_of::<u32>() + text.len()
}

fn plain<'a>(texts: impl Iterator<Item = &'a str>, page: &mut Vec<u8>) {
    for text in texts {
        page.extend((text.len() as u32).to_le_bytes());
        page.extend(text.as_bytes());
    }
}
