//! Which rows have a value: a bitmap as Arrow lays it out.

/// One bit a row, least significant bit first, set where the row has a value.
#[derive(Clone, Copy, Debug)]
pub struct Validity<'a> {
    bytes: &'a [u8],
    offset: usize,
}

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
    pub fn has(self, row: usize) -> bool {
        let bit = self.offset + row;
        self.bytes[bit / 8] >> (bit % 8) & 1 == 1
    }
}
