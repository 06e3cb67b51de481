//! Where the buckets of an ascending stretch of times end.

use crate::{Grid, dispatch};

/// Buckets that consecutive rows fall in, ascending: the rows of `numbers()[i]` end before row
/// `ends()[i]`. Only buckets with rows. Made to be reused.
#[derive(Clone, Debug, Default)]
pub struct Edges {
    numbers: Vec<i64>,
    ends: Vec<u32>,
}

impl Edges {
    /// Replaces what was there by the buckets of these times, which must ascend (equal neighbours
    /// are fine). Of times that do not, the buckets are any, but the ends still ascend to the last
    /// row. Panics at more than `u32::MAX` rows.
    ///
    /// Where the cadence is steady, jitter and gaps allowed, only the times around each edge are
    /// read.
    pub fn find(&mut self, times: &[i64], grid: Grid) {
        self.clear();
        assert!(u32::try_from(times.len()).is_ok(), "rows are counted in 32 bits");
        dispatch::path().find(times, grid, self);
    }

    /// Replaces what was there by one bucket of all rows; none if there is no row.
    pub fn whole(&mut self, rows: usize, number: i64) {
        self.clear();
        let end = u32::try_from(rows).expect("rows are counted in 32 bits");
        if end > 0 {
            self.push(number, end);
        }
    }

    pub fn numbers(&self) -> &[i64] {
        &self.numbers
    }

    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, number: i64, end: u32) {
        self.numbers.push(number);
        self.ends.push(end);
    }

    fn clear(&mut self) {
        self.numbers.clear();
        self.ends.clear();
    }
}
