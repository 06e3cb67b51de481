//! Which rows have a value: a bitmap as Arrow lays it out.

/// One bit a row, least significant bit first, set where the row has a value.
#[derive(Clone, Copy, Debug)]
pub struct Validity<'a> {
    bytes: &'a [u8],
    offset: usize,
}

/// Rows that `Validity::from` tells of at once, whatever the offset.
const WORD: usize = 56;

impl<'a> Validity<'a> {
    /// A bitmap whose row 0 is bit `offset` of `bytes`.
    pub fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { bytes, offset }
    }

    /// How many rows have a bit.
    pub fn rows(self) -> usize {
        (self.bytes.len() * 8).saturating_sub(self.offset)
    }

    /// Whether a row has a value.
    #[inline]
    pub fn has(self, row: usize) -> bool {
        let bit = self.offset + row;
        self.bytes[bit / 8] >> (bit % 8) & 1 == 1
    }

    /// The bitmap from a row on.
    pub(crate) fn skip(self, rows: usize) -> Self {
        Self { offset: self.offset + rows, ..self }
    }

    /// The bits of at most `WORD` rows, the first lowest.
    #[inline(always)]
    pub(crate) fn bits(self, row: usize, rows: usize) -> u64 {
        debug_assert!(rows <= WORD, "a word has at least 57 bits of them");
        let bit = self.offset + row;
        let bytes = &self.bytes[bit / 8..];
        let word = match bytes.first_chunk() {
            Some(word) => u64::from_le_bytes(*word),
            None => bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        word >> (bit % 8) & ((1 << rows) - 1)
    }

    /// The first row with a value in a range of rows.
    #[inline]
    pub(crate) fn first(self, mut start: usize, end: usize) -> Option<usize> {
        while start < end {
            let rows = (end - start).min(WORD);
            let bits = self.bits(start, rows);
            if bits != 0 {
                return Some(start + bits.trailing_zeros() as usize);
            }
            start += rows;
        }
        None
    }

    /// The last row with a value in a range of rows.
    #[inline]
    pub(crate) fn last(self, start: usize, mut end: usize) -> Option<usize> {
        while start < end {
            let rows = (end - start).min(WORD);
            let bits = self.bits(end - rows, rows);
            if bits != 0 {
                return Some(end - rows + bits.ilog2() as usize);
            }
            end -= rows;
        }
        None
    }
}
