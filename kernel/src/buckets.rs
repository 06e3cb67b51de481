//! Min, max, sum and M4 of buckets, over any instructions.
//!
//! Each bucket is folded into lanes, block by block; the lanes of a group of buckets are then
//! combined together, because combining them one by one costs more than a short bucket itself.

use crate::lanes::{GROUP, Lanes};
use crate::reduce::{M4Rows, NO_ROW, Reduced};
use crate::{Validity, Value};

/// Rows compared at once in a search.
const SEARCH: usize = 32;

#[inline(always)]
pub(crate) fn reduce<T: Value, L: Lanes<T>>(
    on: L,
    values: &[T],
    validity: Option<Validity<'_>>,
    ends: &[u32],
    out: &mut Reduced<T>,
) {
    let mut start = 0;
    let mut group = [on.none(); GROUP];
    for ends in ends.chunks(GROUP) {
        for (lanes, end) in group.iter_mut().zip(ends) {
            let end = *end as usize;
            let rows = &values[start..end];
            let (folded, count) = match validity {
                None => (full(on, rows), rows.len() as u32),
                Some(validity) => sparse(on, rows, validity, start),
            };
            *lanes = folded;
            out.count.push(count);
            start = end;
        }
        on.combine(&group).append(ends.len(), out);
    }
}

/// The lanes of a bucket without NULL.
#[inline(always)]
fn full<T: Value, L: Lanes<T>>(on: L, rows: &[T]) -> L::Lanes {
    let mut lanes = on.none();
    let mut blocks = rows.chunks_exact(L::ROWS);
    for block in &mut blocks {
        on.block(&mut lanes, block);
    }
    on.some(&mut lanes, blocks.remainder(), u32::MAX);
    lanes
}

/// The lanes of a bucket that begins at row `start`, and how many of its rows have a value.
#[inline(always)]
fn sparse<T: Value, L: Lanes<T>>(
    on: L,
    rows: &[T],
    validity: Validity<'_>,
    mut start: usize,
) -> (L::Lanes, u32) {
    let (mut lanes, mut count) = (on.none(), 0);
    for block in rows.chunks(L::ROWS) {
        let set = validity.bits(start, block.len()) as u32;
        count += set.count_ones();
        on.some(&mut lanes, block, set);
        start += block.len();
    }
    (lanes, count)
}

/// Min and max of a group of buckets, then where they are: the second look finds the rows in cache.
#[inline(always)]
pub(crate) fn m4<T: Value, L: Lanes<T>>(
    on: L,
    values: &[T],
    validity: Option<Validity<'_>>,
    ends: &[u32],
    out: &mut Vec<M4Rows>,
) {
    let mut start = 0;
    let mut found = Reduced::default();
    for ends in ends.chunks(GROUP) {
        let mut within = [0; GROUP];
        for (within, end) in within.iter_mut().zip(ends) {
            *within = end - start;
        }
        let (rows, rest) = (&values[start as usize..], validity.map(|v| v.skip(start as usize)));
        found.clear();
        reduce(on, rows, rest, &within[..ends.len()], &mut found);
        for (bucket, end) in ends.iter().enumerate() {
            let range = start as usize..*end as usize;
            let (first, last) = bounds(validity, range.start, range.end);
            let seek = |value| search(values, validity, range.clone(), value);
            out.push(if first == NO_ROW {
                M4Rows::NONE
            } else {
                M4Rows { first, last, min: seek(found.min[bucket]), max: seek(found.max[bucket]) }
            });
            start = *end;
        }
    }
}

/// First and last row with a value of a bucket, `NO_ROW` if there is none.
#[inline(always)]
pub(crate) fn bounds(validity: Option<Validity<'_>>, start: usize, end: usize) -> (u32, u32) {
    let (first, last) = match validity {
        None if start < end => (Some(start), Some(end - 1)),
        None => (None, None),
        Some(validity) => (validity.first(start, end), validity.last(start, end)),
    };
    (first.map_or(NO_ROW, |row| row as u32), last.map_or(NO_ROW, |row| row as u32))
}

/// The first row with a value that is there.
#[inline(always)]
fn search<T: Value>(
    values: &[T],
    validity: Option<Validity<'_>>,
    range: std::ops::Range<usize>,
    value: T,
) -> u32 {
    let key = value.key();
    let mut start = range.start;
    for block in values[range].chunks(SEARCH) {
        if block.iter().fold(false, |any, value| any | (value.key() == key)) {
            let here = |(at, value): &(usize, &T)| {
                value.key() == key && validity.is_none_or(|validity| validity.has(start + at))
            };
            if let Some((at, _)) = block.iter().enumerate().find(here) {
                return (start + at) as u32;
            }
        }
        start += block.len();
    }
    unreachable!("a bucket holds its own smallest and largest value")
}
