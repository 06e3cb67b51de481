//! The reductions: columns of values in, columns with one entry a bucket out.

use crate::{Validity, Value, buckets, dispatch};

/// One entry a bucket; appended to, never cleared, so that many stretches fill one table.
#[derive(Clone, Debug)]
pub struct Reduced<T: Value> {
    /// How many rows have a value.
    pub count: Vec<u32>,
    /// `T::LARGEST` where no row has a value.
    pub min: Vec<T>,
    /// `T::SMALLEST` where no row has a value.
    pub max: Vec<T>,
    /// Zero where no row has a value.
    pub sum: Vec<T::Sum>,
}

impl<T: Value> Default for Reduced<T> {
    fn default() -> Self {
        Self { count: Vec::new(), min: Vec::new(), max: Vec::new(), sum: Vec::new() }
    }
}

impl<T: Value> Reduced<T> {
    /// Drops the entries, keeps the memory.
    pub fn clear(&mut self) {
        self.count.clear();
        self.min.clear();
        self.max.clear();
        self.sum.clear();
    }
}

/// Rows of the first, last, smallest and largest value of a bucket; of equals the earliest row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct M4Rows {
    pub first: u32,
    pub last: u32,
    pub min: u32,
    pub max: u32,
}

impl M4Rows {
    /// A bucket where no row has a value.
    pub const NONE: Self = Self { first: NO_ROW, last: NO_ROW, min: NO_ROW, max: NO_ROW };
}

/// Stands where a bucket has no such row.
pub const NO_ROW: u32 = u32::MAX;

/// Count, min, max and sum of each bucket, in one pass.
///
/// Bucket `i` holds the rows from `ends[i - 1]` (0 for the first) up to `ends[i]`; rows from the
/// last end on are left alone. Panics where ends descend, or lie beyond the values or the bitmap.
pub fn reduce<T: Value>(
    values: &[T],
    validity: Option<Validity<'_>>,
    ends: &[u32],
    out: &mut Reduced<T>,
) {
    check(values.len(), validity, ends);
    T::reductions(dispatch::path()).reduce(values, validity, ends, out);
}

/// First and last row with a value of each bucket, appended; `NO_ROW` where it has none.
///
/// Buckets and panics as for [`reduce`].
pub fn bounds(
    validity: Option<Validity<'_>>,
    ends: &[u32],
    first: &mut Vec<u32>,
    last: &mut Vec<u32>,
) {
    check(usize::MAX, validity, ends);
    let mut start = 0;
    for end in ends {
        let (from, to) = buckets::bounds(validity, start, *end as usize);
        first.push(from);
        last.push(to);
        start = *end as usize;
    }
}

/// How much a counter grew in each bucket, appended: the sum over its values `v` with predecessor
/// `p` of `v - p`, or of `v` where `v < p`, because a counter that fell began again at 0.
///
/// The predecessor is the value before, in whatever bucket; that of the first value is `before`,
/// without which it counts nothing. NaN is skipped like NULL. Returns the last value, or `before`
/// if there is none. Integers are exact; in floats each run between resets is one difference, and
/// runs are added in order. Buckets and panics as for [`reduce`].
pub fn increase<T: Value>(
    values: &[T],
    validity: Option<Validity<'_>>,
    ends: &[u32],
    before: Option<T>,
    out: &mut Vec<T::Wide>,
) -> Option<T> {
    check(values.len(), validity, ends);
    T::reductions(dispatch::path()).increase(values, validity, ends, before, out)
}

/// The rows that a drawing of each bucket needs, appended.
///
/// Buckets and panics as for [`reduce`].
pub fn m4<T: Value>(
    values: &[T],
    validity: Option<Validity<'_>>,
    ends: &[u32],
    out: &mut Vec<M4Rows>,
) {
    check(values.len(), validity, ends);
    T::reductions(dispatch::path()).m4(values, validity, ends, out);
}

fn check(rows: usize, validity: Option<Validity<'_>>, ends: &[u32]) {
    assert!(ends.is_sorted(), "ends of buckets ascend");
    let last = ends.last().map_or(0, |end| *end as usize);
    assert!(last <= rows, "a bucket ends within the values");
    assert!(validity.is_none_or(|v| last <= v.rows()), "a bucket ends within the bitmap");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_without_values_have_neutral_entries() {
        let (mut out, validity) = (Reduced::default(), Validity::new(&[0b1001], 0));
        reduce(&[5_i32, 6, 7, -8], Some(validity), &[1, 3, 4, 4], &mut out);
        assert_eq!(out.count, [1, 0, 1, 0]);
        assert_eq!(out.min, [5, i32::MAX, -8, i32::MAX]);
        assert_eq!(out.max, [5, i32::MIN, -8, i32::MIN]);
        assert_eq!(out.sum, [5, 0, -8, 0]);
        let (mut first, mut last) = (Vec::new(), Vec::new());
        bounds(Some(validity), &[1, 3, 4, 4], &mut first, &mut last);
        assert_eq!(first, [0, NO_ROW, 3, NO_ROW]);
        assert_eq!(first, last);
    }

    #[test]
    fn nan_is_the_largest_and_the_only_one() {
        let (mut out, odd) = (Reduced::default(), f64::from_bits(0xfff0_dead_beef_0001));
        reduce(&[odd, -0.0, 0.0, odd, f64::NEG_INFINITY, -0.0], None, &[3, 4, 5, 6], &mut out);
        let bits = |column: &[f64]| -> Vec<u64> { column.iter().map(|v| v.to_bits()).collect() };
        let nan = f64::LARGEST;
        assert_eq!(bits(&out.min), bits(&[-0.0, nan, f64::NEG_INFINITY, -0.0]));
        assert_eq!(bits(&out.max), bits(&[nan, nan, f64::NEG_INFINITY, -0.0]));
        assert_eq!(bits(&out.sum), bits(&[nan, nan, f64::NEG_INFINITY, 0.0]));
        assert_eq!(nan.to_bits(), 0x7ff8_0000_0000_0000);
    }

    #[test]
    fn a_counter_that_falls_began_again() {
        let mut out = Vec::new();
        let last = increase(&[10_i64, 15, 3, 4, 9], None, &[2, 2, 5], Some(8), &mut out);
        assert_eq!((out.as_slice(), last), ([7, 0, 9].as_slice(), Some(9)));
        assert_eq!(increase::<i64>(&[], None, &[0], last, &mut out), Some(9));
        let mut out = Vec::new();
        let last = increase(&[f64::NAN, 1.5, 4.0, f64::NAN], None, &[1, 4], None, &mut out);
        assert_eq!((out.as_slice(), last), ([0.0, 2.5].as_slice(), Some(4.0)));
    }

    #[test]
    fn a_drawing_needs_the_earliest_of_equals() {
        let mut out = Vec::new();
        m4(&[3_i16, 1, 9, 1, 9, 3], None, &[6, 6], &mut out);
        assert_eq!(out, [M4Rows { first: 0, last: 5, min: 1, max: 2 }, M4Rows::NONE]);
    }

    #[test]
    #[should_panic(expected = "ends of buckets ascend")]
    fn descending_ends_are_refused() {
        reduce(&[1_i16, 2, 3], None, &[2, 1], &mut Reduced::default());
    }

    #[test]
    #[should_panic(expected = "within the values")]
    fn ends_beyond_the_values_are_refused() {
        reduce(&[1_i16, 2, 3], None, &[4], &mut Reduced::default());
    }

    #[test]
    #[should_panic(expected = "within the bitmap")]
    fn ends_beyond_the_bitmap_are_refused() {
        let validity = Validity::new(&[0xff], 6);
        bounds(Some(validity), &[3], &mut Vec::new(), &mut Vec::new());
    }
}
