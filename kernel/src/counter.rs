//! The increase of counters that begin again.
//!
//! The steps between two resets add up to one difference, so the work is finding the resets: blocks
//! without one, nearly all, are only compared with themselves, shifted by a row.

use crate::{Validity, Value};

/// Rows compared at once.
const BLOCK: usize = 32;
/// Rows squeezed at once: a stack buffer that stays in the nearest cache.
const SQUEEZED: usize = 256;

#[inline(always)]
pub(crate) fn increase<T: Value>(
    values: &[T],
    validity: Option<Validity<'_>>,
    ends: &[u32],
    before: Option<T>,
    out: &mut Vec<T::Wide>,
) -> Option<T> {
    let mut start = 0;
    let mut counter = Counter::new(before);
    let mut buffer = [T::default(); SQUEEZED];
    for end in ends {
        let end = *end as usize;
        match validity {
            None => counter.take(&values[start..end]),
            Some(validity) => {
                for first in (start..end).step_by(SQUEEZED) {
                    let rows = &values[first..end.min(first + SQUEEZED)];
                    let taken = squeeze(rows, validity.skip(first), &mut buffer);
                    counter.take(&buffer[..taken]);
                }
            }
        }
        out.push(counter.cut());
        start = end;
    }
    counter.last
}

/// Moves the rows with a value together, and says how many there are.
#[inline(always)]
fn squeeze<T: Value>(rows: &[T], validity: Validity<'_>, out: &mut [T; SQUEEZED]) -> usize {
    let mut taken = 0;
    for (block, rows) in rows.chunks(BLOCK).enumerate() {
        let bits = validity.bits(block * BLOCK, rows.len());
        for (bit, value) in rows.iter().enumerate() {
            out[taken % SQUEEZED] = *value;
            taken += (bits >> bit & 1) as usize;
        }
    }
    taken
}

/// A counter on its way through a bucket.
struct Counter<T: Value> {
    /// Runs that a reset ended in this bucket.
    total: T::Wide,
    /// Where the run began, `None` for 0; without a meaning before the first value.
    begin: Option<T>,
    last: Option<T>,
    /// Whether the bucket has had a value.
    moved: bool,
}

impl<T: Value> Counter<T> {
    fn new(before: Option<T>) -> Self {
        Self { total: T::Wide::default(), begin: before, last: before, moved: false }
    }

    /// Ends a bucket: what it grew by.
    fn cut(&mut self) -> T::Wide {
        let total = std::mem::take(&mut self.total);
        let begin = std::mem::replace(&mut self.begin, self.last);
        match self.last {
            Some(last) if std::mem::take(&mut self.moved) => T::wide(T::grown(total, begin, last)),
            _ => T::Wide::default(),
        }
    }

    /// Takes the values that follow, none of them NULL.
    #[inline(always)]
    fn take(&mut self, values: &[T]) {
        let Some((first, rest)) = values.split_first() else { return };
        self.step(*first);
        for (before, block) in values.chunks(BLOCK).zip(rest.chunks(BLOCK)) {
            let pairs = before.iter().zip(block);
            // Neither is true of NaN, which leads to the careful way as well.
            if pairs.fold(true, |rises, (before, value)| (before <= value) & rises) {
                self.last = block.last().copied();
            } else {
                for value in block {
                    self.step(*value);
                }
            }
        }
    }

    fn step(&mut self, value: T) {
        if value.is_nan() {
            return;
        }
        match self.last {
            Some(last) if value < last => {
                self.total = T::grown(self.total, self.begin, last);
                self.begin = None;
            }
            Some(_) => {}
            None => self.begin = Some(value),
        }
        self.last = Some(value);
        self.moved = true;
    }
}
