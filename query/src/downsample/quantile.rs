//! Quantiles of the values of each bucket, as `percentile_cont` interpolates them.

use super::lane::Lane;
use std::cmp::Ordering;
use std::ops::Range;

/// Weights between neighbours are cut to so many steps, as DataFusion's are.
const WEIGHTS: f64 = 1_000_000.0;

/// A share from 0 to 1, equal to the bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Share(u64);

impl Share {
    /// `None` outside 0 to 1.
    pub(super) fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then(|| Self(share.to_bits()))
    }

    fn of(self, values: usize) -> f64 {
        f64::from_bits(self.0) * (values - 1) as f64
    }
}

/// The present values of each bucket, one bucket after another.
#[derive(Debug)]
pub(super) struct Kept<T> {
    values: Vec<T>,
    /// By bucket: the place after its last value.
    ends: Vec<usize>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { values: Vec::new(), ends: Vec::new() }
    }
}

impl<T: Lane> Kept<T> {
    pub(super) fn add(&mut self, values: impl Iterator<Item = T>) {
        self.values.extend(values);
        self.ends.push(self.values.len());
    }

    fn buckets(&self) -> impl Iterator<Item = &[T]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.values[start..*end])
    }

    pub(super) fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<T>() + self.ends.capacity() * size_of::<usize>()
    }
}

/// The quantile of each of `rows` rows, to which buckets go by their targets; `show` makes a
/// double of a value.
pub(super) fn quantiles<'a, T: Lane>(
    tables: impl Iterator<Item = (&'a Kept<T>, &'a [u32])> + Clone,
    rows: usize,
    share: Share,
    show: impl Fn(T) -> f64,
) -> Vec<Option<f64>> {
    let (mut gathered, spans) = gathered(tables, rows);
    let quantile = |span: Range<usize>| quantile(&mut gathered[span], share, &show);
    spans.into_iter().map(quantile).collect()
}

/// All values, row after row, and where each row's are.
fn gathered<'a, T: Lane>(
    tables: impl Iterator<Item = (&'a Kept<T>, &'a [u32])> + Clone,
    rows: usize,
) -> (Vec<T>, Vec<Range<usize>>) {
    let mut spans = vec![0..0; rows];
    for (kept, targets) in tables.clone() {
        for (values, target) in kept.buckets().zip(targets) {
            spans[*target as usize].end += values.len();
        }
    }
    let mut start = 0;
    for span in &mut spans {
        let values = span.end;
        *span = start..start;
        start += values;
    }
    let mut gathered = vec![T::default(); start];
    for (kept, targets) in tables {
        for (values, target) in kept.buckets().zip(targets) {
            let span = &mut spans[*target as usize];
            gathered[span.end..span.end + values.len()].copy_from_slice(values);
            span.end += values.len();
        }
    }
    (gathered, spans)
}

fn quantile<T: Lane>(values: &mut [T], share: Share, show: impl Fn(T) -> f64) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let place = share.of(values.len());
    let lower = place.floor() as usize;
    let (_, below, above) = values.select_nth_unstable_by(lower, |one, other| one.order(*other));
    let below = show(*below);
    let least = |one: T, other: T| if other.order(one) == Ordering::Less { other } else { one };
    let Some(above) = above.iter().copied().reduce(least).filter(|_| place > lower as f64) else {
        return Some(below);
    };
    let weight = ((place - lower as f64) * WEIGHTS).floor() / WEIGHTS;
    Some(below + (show(above) - below) * weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_interpolated() {
        let at = |share: f64, values: &[i32]| {
            let share = Share::new(share).unwrap();
            quantile(&mut values.to_vec(), share, f64::from)
        };
        assert_eq!(at(0.5, &[]), None);
        assert_eq!(at(0.99, &[7]), Some(7.0));
        assert_eq!(at(0.5, &[4, 1, 3, 2]), Some(2.5));
        assert_eq!(at(0.0, &[4, 1, 3]), Some(1.0));
        assert_eq!(at(1.0, &[4, 1, 3]), Some(4.0));
        assert_eq!(at(0.25, &[10, 20, 30, 40, 50]), Some(20.0));
        assert!(Share::new(1.5).is_none() && Share::new(f64::NAN).is_none());
    }
}
