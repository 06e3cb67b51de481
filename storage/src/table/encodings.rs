//! The bytes that values take in a Parquet page, encoding by encoding.
//!
//! Written here rather than by arrow-rs because of two freedoms that the formats leave and every
//! reader knows: DELTA_BINARY_PACKED in short runs whose base is the cheapest, not the least; and
//! dictionary indices of whole bytes, which zstd makes much less of than of bits.

use hashbrown::HashMap;
use parquet::basic::Encoding;
use std::iter::repeat_n;
use std::sync::Arc;
use warpline_kernel::extremes;

/// Steps that DELTA_BINARY_PACKED packs in one width: as few as the format allows, so that a jump
/// between two series widens no more.
const RUN: usize = 32;
const RUNS: usize = 4;
const BLOCK: usize = RUN * RUNS;

/// Values between whose least and greatest there are no more are looked up in a table.
const TABLE: u64 = 1 << 16;
/// More values than this make no dictionary where each takes a hash.
const HASHED: usize = 1 << 15;

/// A column's values that are present, each as the bits that Parquet stores.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) raw: Vec<i64>,
    /// Whether Parquet takes 8 bytes for each, not 4.
    pub(super) wide: bool,
    /// Whether the bits are those of a double.
    pub(super) real: bool,
}

/// How the values of a column chunk are encoded.
#[derive(Debug)]
pub(super) enum Choice {
    Plain,
    Delta,
    Split,
    /// Indices of a dictionary in one or two whole bytes, whether they repeat or not.
    Bytes(Arc<Dictionary>),
    /// Indices of a dictionary as runs, or in as few bits as a page needs.
    Runs(Arc<Dictionary>),
}

/// A choice without what it keeps of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Delta,
    Split,
    /// With so many values in the dictionary.
    Bytes(usize),
    Runs(usize),
}

impl Kind {
    /// The choice for other values of the same column; `None` where a dictionary would be much
    /// larger than it was.
    pub(super) fn choice(self, values: &[i64]) -> Option<Choice> {
        let dictionary = |before: usize| {
            let dictionary = Dictionary::of(values)?;
            (dictionary.values.len() <= 2 * before).then(|| Arc::new(dictionary))
        };
        Some(match self {
            Self::Plain => Choice::Plain,
            Self::Delta => Choice::Delta,
            Self::Split => Choice::Split,
            Self::Bytes(before) => Choice::Bytes(dictionary(before)?),
            Self::Runs(before) => Choice::Runs(dictionary(before)?),
        })
    }
}

impl Choice {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Plain => Kind::Plain,
            Self::Delta => Kind::Delta,
            Self::Split => Kind::Split,
            Self::Bytes(dictionary) => Kind::Bytes(dictionary.values.len()),
            Self::Runs(dictionary) => Kind::Runs(dictionary.values.len()),
        }
    }

    pub(super) fn encoding(&self) -> Encoding {
        match self {
            Self::Plain => Encoding::PLAIN,
            Self::Delta => Encoding::DELTA_BINARY_PACKED,
            Self::Split => Encoding::BYTE_STREAM_SPLIT,
            Self::Bytes(_) | Self::Runs(_) => Encoding::RLE_DICTIONARY,
        }
    }

    /// Appends what a page has of values.
    pub(super) fn write(&self, values: &[i64], wide: bool, page: &mut Vec<u8>) {
        match self {
            Self::Plain => plain(values, wide, page),
            Self::Delta if wide => delta(values, i64::wrapping_sub, u64::MAX, page),
            Self::Delta => delta(values, narrow_step, u64::from(u32::MAX), page),
            Self::Split => split(values, page),
            Self::Bytes(dictionary) if dictionary.values.len() <= 1 << u8::BITS => {
                bytes(&dictionary.indices(values, |index| [index as u8]), page);
            }
            Self::Bytes(dictionary) => bytes(&dictionary.indices(values, u16::to_le_bytes), page),
            Self::Runs(dictionary) => {
                runs(&dictionary.indices(values, u64::from), page);
            }
        }
    }

    pub(super) fn dictionary(&self) -> Option<&Dictionary> {
        match self {
            Self::Bytes(dictionary) | Self::Runs(dictionary) => Some(dictionary),
            _ => None,
        }
    }
}

pub(super) fn plain(values: &[i64], wide: bool, page: &mut Vec<u8>) {
    if wide {
        page.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    } else {
        page.extend(values.iter().flat_map(|value| (*value as i32).to_le_bytes()));
    }
}

/// The values' first bytes, then their second bytes and so on.
fn split(values: &[i64], page: &mut Vec<u8>) {
    for byte in 0..size_of::<i64>() {
        page.extend(values.iter().map(|value| (value >> (8 * byte)) as u8));
    }
}

/// A number in groups of 7 bits, the least first.
pub(super) fn varint(mut number: u64, page: &mut Vec<u8>) {
    while number >= 0x80 {
        page.push(number as u8 | 0x80);
        number >>= 7;
    }
    page.push(number as u8);
}

fn zigzag(number: i64, page: &mut Vec<u8>) {
    varint(((number << 1) ^ (number >> 63)).cast_unsigned(), page);
}

/// Steps of 4-byte values are taken modulo 2^32, as readers do.
fn narrow_step(value: i64, before: i64) -> i64 {
    i64::from((value as i32).wrapping_sub(before as i32))
}

fn delta(values: &[i64], step: impl Fn(i64, i64) -> i64, mask: u64, page: &mut Vec<u8>) {
    varint(BLOCK as u64, page);
    varint(RUNS as u64, page);
    varint(values.len() as u64, page);
    zigzag(values.first().copied().unwrap_or_default(), page);
    let mut steps = [0; BLOCK];
    let mut at = 1;
    while at < values.len() {
        let count = BLOCK.min(values.len() - at);
        for (index, slot) in steps[..count].iter_mut().enumerate() {
            *slot = step(values[at + index], values[at + index - 1]);
        }
        let last = steps[count - 1];
        // Short of a whole run, the base would do as well; a step that is there costs no more.
        steps[count..count.next_multiple_of(RUN)].fill(last);
        delta_block(&steps[..count.next_multiple_of(RUN)], mask, page);
        at += count;
    }
}

/// Up to four runs of steps above a common base.
///
/// A base above the least step is allowed: steps below it wrap around and take every bit. That
/// pays where one run holds the fall from one series' counter to the next one's.
fn delta_block(steps: &[i64], mask: u64, page: &mut Vec<u8>) {
    let mut spans = [(0, 0); RUNS];
    let runs = steps.len() / RUN;
    for (span, run) in spans.iter_mut().zip(steps.chunks_exact(RUN)) {
        *span = run
            .iter()
            .fold((i64::MAX, i64::MIN), |(low, high), step| (low.min(*step), high.max(*step)));
    }
    let spans = &spans[..runs];
    let width = |base: i64, (low, high): (i64, i64)| {
        let span = if low < base { mask } else { high.wrapping_sub(base).cast_unsigned() & mask };
        (u64::BITS - span.leading_zeros()) as usize
    };
    let bits = |base: i64| spans.iter().map(|span| width(base, *span)).sum::<usize>();
    let bases = spans.iter().map(|(low, _)| *low);
    let base = bases.min_by_key(|base| (bits(*base), *base)).expect("a block has a run");
    zigzag(base, page);
    let mut widths = [0; RUNS];
    for (slot, span) in widths.iter_mut().zip(spans) {
        *slot = width(base, *span);
    }
    page.extend(widths.iter().map(|width| *width as u8));
    for (run, width) in steps.chunks_exact(RUN).zip(widths) {
        let mut above = [0; RUN];
        for (slot, step) in above.iter_mut().zip(run) {
            *slot = step.wrapping_sub(base).cast_unsigned() & mask;
        }
        pack(&above, width, page);
    }
}

/// Values of `width` bits each, the least bit first.
fn pack(values: &[u64; RUN], width: usize, page: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let mut words = [0_u64; RUN + 1];
    let mut bit = 0;
    for value in values {
        let (word, offset) = (bit / 64, bit % 64);
        words[word] |= value << offset;
        // Shifted in two steps: at offset 0 nothing is left over.
        words[word + 1] |= (value >> 1) >> (63 - offset);
        bit += width;
    }
    let bytes = RUN * width / 8;
    let whole = words.iter().flat_map(|word| word.to_le_bytes());
    page.extend(whole.take(bytes));
}

/// The distinct values of a column chunk and the index of each.
#[derive(Debug)]
pub(super) struct Dictionary {
    /// Sorted: values that are near each other have indices that are.
    pub(super) values: Vec<i64>,
    lookup: Lookup,
}

#[derive(Debug)]
enum Lookup {
    /// Indices by how far a value is above the least; of values that are not in, any.
    Table {
        least: i64,
        indices: Vec<u16>,
    },
    Map(HashMap<i64, u16>),
}

impl Dictionary {
    /// `None` where there are no values, or too many different ones.
    pub(super) fn of(values: &[i64]) -> Option<Self> {
        let (least, greatest) = extremes(values)?;
        let span = greatest.wrapping_sub(least).cast_unsigned();
        if span < TABLE { Some(Self::near(values, least, span)) } else { Self::far(values) }
    }

    fn near(values: &[i64], least: i64, span: u64) -> Self {
        let mut indices = vec![0; span as usize + 1];
        for value in values {
            indices[(value - least) as usize] = 1;
        }
        let mut distinct = Vec::new();
        for (above, index) in indices.iter_mut().enumerate().filter(|(_, index)| **index == 1) {
            *index = distinct.len() as u16;
            distinct.push(least + above as i64);
        }
        Self { values: distinct, lookup: Lookup::Table { least, indices } }
    }

    fn far(values: &[i64]) -> Option<Self> {
        let mut map = HashMap::new();
        for same in values.chunk_by(|a, b| a == b) {
            map.insert(same[0], 0);
            if map.len() > HASHED {
                return None;
            }
        }
        let mut distinct: Vec<i64> = map.keys().copied().collect();
        distinct.sort_unstable();
        for (index, value) in distinct.iter().enumerate() {
            map.insert(*value, index as u16);
        }
        Some(Self { values: distinct, lookup: Lookup::Map(map) })
    }

    fn indices<T: Copy>(&self, values: &[i64], form: impl Fn(u16) -> T) -> Vec<T> {
        match &self.lookup {
            Lookup::Table { least, indices } => {
                let index = |value: &i64| form(indices[(value - least) as usize]);
                values.iter().map(index).collect()
            }
            Lookup::Map(map) => {
                let mut all = Vec::with_capacity(values.len());
                for same in values.chunk_by(|a, b| a == b) {
                    all.extend(repeat_n(form(map[&same[0]]), same.len()));
                }
                all
            }
        }
    }
}

/// One run of indices of whole bytes.
fn bytes<const WIDTH: usize>(indices: &[[u8; WIDTH]], page: &mut Vec<u8>) {
    page.push((WIDTH * 8) as u8);
    if indices.is_empty() {
        return;
    }
    let groups = indices.len().div_ceil(8);
    varint((groups as u64) << 1 | 1, page);
    let end = page.len() + groups * 8 * WIDTH;
    page.extend(indices.as_flattened());
    page.resize(end, 0);
}

/// Indices of a dictionary as runs where one comes often, else in as few bits as they need.
pub(super) fn runs(indices: &[u64], page: &mut Vec<u8>) {
    let most = indices.iter().max().copied().unwrap_or_default();
    let width = (u64::BITS - most.leading_zeros()).max(1) as usize;
    page.push(width as u8);
    hybrid(indices, width, page);
}

fn hybrid(indices: &[u64], width: usize, page: &mut Vec<u8>) {
    let mut from = 0_usize;
    let mut at = 0_usize;
    for run in indices.chunk_by(|a, b| a == b) {
        // What is packed before a run comes in eights and is filled up from the run.
        let filled = (at - from).next_multiple_of(8);
        let end = at + run.len();
        if from + filled + 8 <= end {
            packed(&indices[from..from + filled], width, page);
            varint(((end - from - filled) as u64) << 1, page);
            page.extend(&run[0].to_le_bytes()[..width.div_ceil(8)]);
            from = end;
        }
        at = end;
    }
    packed(&indices[from..], width, page);
}

/// One run of packed indices, none where there are none.
fn packed(indices: &[u64], width: usize, page: &mut Vec<u8>) {
    if indices.is_empty() {
        return;
    }
    let groups = indices.len().div_ceil(8);
    varint((groups as u64) << 1 | 1, page);
    let end = page.len() + groups * width;
    for run in indices.chunks(RUN) {
        let mut whole = [0; RUN];
        whole[..run.len()].copy_from_slice(run);
        pack(&whole, width, page);
    }
    page.truncate(end);
}
