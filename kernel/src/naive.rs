//! Every reduction as its definition reads: row by row.

use crate::value::canonical;
use crate::{Grid, M4Rows, Reduced, Validity, Value};

/// Bucket and row after it, of each stretch of times in one bucket.
pub(crate) fn edges(times: &[i64], grid: Grid) -> (Vec<i64>, Vec<u32>) {
    let (mut numbers, mut ends) = (Vec::new(), Vec::new());
    for (row, time) in times.iter().enumerate() {
        let number = grid.bucket(*time);
        if numbers.last() != Some(&number) {
            numbers.push(number);
            ends.push(0);
        }
        *ends.last_mut().expect("a bucket was begun") = row as u32 + 1;
    }
    (numbers, ends)
}

/// The rows of each bucket that have a value.
pub(crate) fn buckets<'a>(
    validity: Option<Validity<'a>>,
    ends: &'a [u32],
) -> impl Iterator<Item = Vec<usize>> + 'a {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(move |(start, end)| {
        let rows = start as usize..*end as usize;
        rows.filter(|row| validity.is_none_or(|validity| validity.has(*row))).collect()
    })
}

/// Rows of the smallest and the largest value; of equals the earliest.
pub(crate) fn extremes<T: Value>(values: &[T], rows: &[usize]) -> Option<(usize, usize)> {
    let min = rows.iter().copied().min_by_key(|row| values[*row].key())?;
    let max = rows.iter().copied().rev().max_by_key(|row| values[*row].key())?;
    Some((min, max))
}

pub(crate) fn m4<T: Value>(
    values: &[T],
    validity: Option<Validity<'_>>,
    ends: &[u32],
) -> Vec<M4Rows> {
    let one = |rows: Vec<usize>| {
        let Some((min, max)) = extremes(values, &rows) else { return M4Rows::NONE };
        let (first, last) = (rows[0] as u32, rows[rows.len() - 1] as u32);
        M4Rows { first, last, min: min as u32, max: max as u32 }
    };
    buckets(validity, ends).map(one).collect()
}

/// Sums and increases as each type defines them.
pub(crate) trait Naive: Value {
    /// Of the values at some rows of a bucket that begins at `start`.
    fn sum(values: &[Self], start: usize, rows: &[usize]) -> Self::Sum;

    /// Of a bucket's values, and the value before them.
    fn increase(values: &[Self], before: Option<Self>) -> Self::Wide;
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Naive for $type {
            fn sum(values: &[Self], _: usize, rows: &[usize]) -> Self::Sum {
                rows.iter().map(|row| Self::Sum::from(values[*row])).sum()
            }

            fn increase(values: &[Self], mut before: Option<Self>) -> Self::Wide {
                let mut total = 0;
                for value in values {
                    let from = before.filter(|before| before <= value).unwrap_or(0);
                    if before.is_some() {
                        total += Self::Wide::from(*value) - Self::Wide::from(from);
                    }
                    before = Some(*value);
                }
                total
            }
        }
    )*};
}

integers!(i16, i32, i64);

impl Naive for f64 {
    fn sum(values: &[Self], start: usize, rows: &[usize]) -> Self {
        let mut l = [0.0; 8];
        for row in rows {
            l[(row - start) % 8] += values[*row];
        }
        canonical(((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7])))
    }

    fn increase(values: &[Self], before: Option<Self>) -> Self {
        let Some(first) = values.first() else { return 0.0 };
        let mut begin = before.unwrap_or(*first);
        let mut last = begin;
        let mut total = 0.0;
        for value in values {
            if *value < last {
                total += last - begin;
                begin = 0.0;
            }
            last = *value;
        }
        canonical(total + (last - begin))
    }
}

pub(crate) fn reduce<T: Naive>(
    values: &[T],
    validity: Option<Validity<'_>>,
    ends: &[u32],
    out: &mut Reduced<T>,
) {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    for (start, rows) in starts.zip(buckets(validity, ends)) {
        let extremes = extremes(values, &rows);
        let value = |row: usize| T::of_key(values[row].key());
        out.count.push(rows.len() as u32);
        out.min.push(extremes.map_or(T::LARGEST, |(min, _)| value(min)));
        out.max.push(extremes.map_or(T::SMALLEST, |(_, max)| value(max)));
        out.sum.push(T::sum(values, start as usize, &rows));
    }
}

pub(crate) fn increase<T: Naive>(
    values: &[T],
    validity: Option<Validity<'_>>,
    ends: &[u32],
    mut before: Option<T>,
    out: &mut Vec<T::Wide>,
) -> Option<T> {
    for rows in buckets(validity, ends) {
        let values = rows.iter().map(|row| values[*row]).filter(|value| !value.is_nan());
        let values: Vec<T> = values.collect();
        out.push(T::increase(&values, before));
        before = values.last().copied().or(before);
    }
    before
}
