//! What an instruction set does for the kernel, and the way every machine can do it.
//!
//! Promises: lanes are those of the definition, whatever registers they lie in, so that all
//! instruction sets give the same bits.

use crate::value::Element;
use crate::{Reduced, Value};

/// Buckets whose lanes are combined together.
pub(crate) const GROUP: usize = 16;

/// Times looked at around the place where an edge is expected.
pub(crate) const WINDOW: usize = 8;

/// Instructions. A value of such a type proves that the machine has them.
pub(crate) trait Instructions: Copy {
    /// How many times of a window are below a bound.
    fn below(self, window: &[i64; WINDOW], bound: i64) -> usize;

    /// Asks for what will be read soon, where the machine can be asked.
    fn fetch<T>(self, _address: *const T) {}
}

/// Min, max and sum of a bucket in lanes; a block of rows has one row for each lane.
pub(crate) trait Lanes<T: Value>: Instructions {
    /// The lanes of a bucket.
    type Lanes: Copy;
    /// Rows of a block, at most 32.
    const ROWS: usize;

    /// The lanes of no row.
    fn none(self) -> Self::Lanes;

    /// Takes `ROWS` rows.
    fn block(self, lanes: &mut Self::Lanes, rows: &[T]);

    /// Takes those of at most `ROWS` rows whose bit is set.
    fn some(self, lanes: &mut Self::Lanes, rows: &[T], set: u32);

    /// Combines the lanes of each bucket.
    fn combine(self, group: &[Self::Lanes; GROUP]) -> Combined<T>;
}

/// Min, max and sum of a group of buckets.
#[derive(Debug)]
pub(crate) struct Combined<T: Value> {
    pub(crate) min: [T; GROUP],
    pub(crate) max: [T; GROUP],
    pub(crate) sum: [T::Sum; GROUP],
}

impl<T: Value> Combined<T> {
    /// Appends the first buckets of the group.
    #[inline(always)]
    pub(crate) fn append(&self, buckets: usize, out: &mut Reduced<T>) {
        out.min.extend_from_slice(&self.min[..buckets]);
        out.max.extend_from_slice(&self.max[..buckets]);
        out.sum.extend_from_slice(&self.sum[..buckets]);
    }
}

/// Plain Rust over arrays, which the compiler turns into what instructions it may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain;

impl Instructions for Plain {
    #[inline(always)]
    fn below(self, window: &[i64; WINDOW], bound: i64) -> usize {
        window.iter().map(|time| usize::from(*time < bound)).sum()
    }
}

/// A lane in each element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrays<T: Element, const N: usize> {
    min: [T::Key; N],
    max: [T::Key; N],
    low: [T::Low; N],
    high: [T::High; N],
}

impl<T: Element, const N: usize> Arrays<T, N> {
    #[inline(always)]
    fn take(&mut self, lane: usize, value: T) {
        let key = value.key();
        self.min[lane] = self.min[lane].min(key);
        self.max[lane] = self.max[lane].max(key);
        value.add(&mut self.low[lane], &mut self.high[lane]);
    }
}

macro_rules! plain {
    ($($type:ty: $rows:literal),*) => {$(
        impl Lanes<$type> for Plain {
            type Lanes = Arrays<$type, $rows>;
            const ROWS: usize = $rows;

            #[inline(always)]
            fn none(self) -> Self::Lanes {
                Arrays {
                    min: [<$type>::LARGEST.key(); $rows],
                    max: [<$type>::SMALLEST.key(); $rows],
                    low: [Default::default(); $rows],
                    high: [Default::default(); $rows],
                }
            }

            #[inline(always)]
            fn block(self, lanes: &mut Self::Lanes, rows: &[$type]) {
                let rows: &[$type; $rows] = rows.try_into().expect("a block is full");
                for (lane, value) in rows.iter().enumerate() {
                    lanes.take(lane, *value);
                }
            }

            #[inline(always)]
            fn some(self, lanes: &mut Self::Lanes, rows: &[$type], set: u32) {
                for (lane, value) in rows.iter().enumerate().take($rows) {
                    if set >> lane & 1 == 1 {
                        lanes.take(lane, *value);
                    }
                }
            }

            #[inline(always)]
            fn combine(self, group: &[Self::Lanes; GROUP]) -> Combined<$type> {
                let least = |l: &Self::Lanes| l.min.iter().fold(l.min[0], |a, b| a.min(*b));
                let most = |l: &Self::Lanes| l.max.iter().fold(l.max[0], |a, b| a.max(*b));
                Combined {
                    min: group.each_ref().map(|l| <$type>::of_key(least(l))),
                    max: group.each_ref().map(|l| <$type>::of_key(most(l))),
                    sum: group.each_ref().map(|l| <$type>::total(&l.low, &l.high)),
                }
            }
        }
    )*};
}

plain!(i16: 32, i32: 16, i64: 8, f64: 8);
