//! The types a column may have, and how their values are ordered and added.

use crate::dispatch::{Path, Reductions};
use std::fmt::Debug;

/// A type the kernel reduces: `i16`, `i32`, `i64` or `f64`. The crate's page says what holds of
/// each.
pub trait Value: Element {
    /// The neutral value of max: the smallest integer, minus infinity.
    const SMALLEST: Self;
    /// The neutral value of min: the largest integer, NaN.
    const LARGEST: Self;
}

/// Seals `Value`: what the reductions need of a type.
pub trait Element: Copy + Debug + Default + PartialEq + PartialOrd + Send + Sync + 'static {
    /// Holds the sum of any column: `i64` for `i16` and `i32`, `i128` for `i64`, `f64` for `f64`.
    type Sum: Copy + Debug + Default + PartialEq + Send + Sync + 'static;
    /// Holds the increase of any column: `i64` for `i16` and `i32`, `i128` for `i64`, `f64` for
    /// `f64`.
    type Wide: Copy + Debug + Default + PartialEq + Send + Sync + 'static;
    /// An integer of the same order.
    type Key: Copy + Debug + Ord;
    /// One lane of a sum.
    type Low: Copy + Debug + Default;
    /// What a lane of 64 bits cannot hold.
    type High: Copy + Debug + Default;

    fn key(self) -> Self::Key;
    fn of_key(key: Self::Key) -> Self;
    /// Adds to a lane, which no `u32::MAX` values overflow.
    fn add(self, low: &mut Self::Low, high: &mut Self::High);
    /// The sum of all lanes.
    fn total(low: &[Self::Low], high: &[Self::High]) -> Self::Sum;
    fn is_nan(self) -> bool;
    /// `total + (last - begin)`; a counter begins at 0 where there is no `begin`.
    fn grown(total: Self::Wide, begin: Option<Self>, last: Self) -> Self::Wide;
    /// An increase as it leaves the kernel.
    fn wide(total: Self::Wide) -> Self::Wide;
    fn reductions(path: &Path) -> &Reductions<Self>
    where
        Self: Value;
}

macro_rules! integers {
    ($($type:ident: $sum:ty, $low:ty, $high:ty, $add:expr, $total:expr;)*) => {$(
        impl Value for $type {
            const SMALLEST: Self = Self::MIN;
            const LARGEST: Self = Self::MAX;
        }

        impl Element for $type {
            type Sum = $sum;
            type Wide = $sum;
            type Key = Self;
            type Low = $low;
            type High = $high;

            #[inline(always)]
            fn key(self) -> Self {
                self
            }

            #[inline(always)]
            fn of_key(key: Self) -> Self {
                key
            }

            #[inline(always)]
            fn add(self, low: &mut $low, high: &mut $high) {
                $add(self, low, high);
            }

            #[inline(always)]
            fn total(low: &[$low], high: &[$high]) -> $sum {
                $total(low, high)
            }

            #[inline(always)]
            fn is_nan(self) -> bool {
                false
            }

            #[inline(always)]
            fn grown(total: $sum, begin: Option<Self>, last: Self) -> $sum {
                total + (<$sum>::from(last) - <$sum>::from(begin.unwrap_or(0)))
            }

            #[inline(always)]
            fn wide(total: $sum) -> $sum {
                total
            }

            fn reductions(path: &Path) -> &Reductions<Self> {
                &path.$type
            }
        }
    )*};
}

integers! {
    i16: i64, i64, (), |value, low: &mut i64, (): &mut ()| *low += i64::from(value),
        |low: &[i64], _: &[()]| low.iter().sum();
    i32: i64, i64, (), |value, low: &mut i64, (): &mut ()| *low += i64::from(value),
        |low: &[i64], _: &[()]| low.iter().sum();
    i64: i128, u64, i64, add_split, |low: &[u64], high: &[i64]|
        join(low.iter().fold(0, |sum, low| sum.wrapping_add(*low)), high.iter().sum());
}

/// Adds a value modulo 2^64, and its upper half to another sum: together they tell the sum.
#[inline(always)]
fn add_split(value: i64, low: &mut u64, high: &mut i64) {
    *low = low.wrapping_add(value as u64);
    *high += value >> 32;
}

/// The sum of at most `u32::MAX` values, of which there is the sum modulo 2^64, and the sum of the
/// upper halves: the lower halves add up to less than 2^64, so the difference is their sum.
#[inline(always)]
pub(crate) fn join(low: u64, high: i64) -> i128 {
    let lower_halves = low.wrapping_sub((high as u64) << 32);
    (i128::from(high) << 32) + i128::from(lower_halves)
}

/// The one NaN that leaves the kernel, and the key of every NaN: larger than that of infinity.
pub(crate) const NAN: i64 = 0x7ff8_0000_0000_0000;

impl Value for f64 {
    const SMALLEST: Self = Self::NEG_INFINITY;
    const LARGEST: Self = Self::from_bits(NAN as u64);
}

impl Element for f64 {
    type Sum = f64;
    type Wide = f64;
    type Key = i64;
    type Low = f64;
    type High = ();

    /// Negative numbers have all but their sign flipped, so that integers order as numbers do.
    #[inline(always)]
    fn key(self) -> i64 {
        if self.is_nan() { NAN } else { flip(self.to_bits() as i64) }
    }

    #[inline(always)]
    fn of_key(key: i64) -> Self {
        Self::from_bits(flip(key) as u64)
    }

    #[inline(always)]
    fn add(self, low: &mut f64, (): &mut ()) {
        *low += self;
    }

    #[inline(always)]
    fn total(l: &[f64], _: &[()]) -> f64 {
        canonical(((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7])))
    }

    #[inline(always)]
    fn is_nan(self) -> bool {
        self.is_nan()
    }

    #[inline(always)]
    fn grown(total: f64, begin: Option<f64>, last: f64) -> f64 {
        total + (last - begin.unwrap_or(0.0))
    }

    #[inline(always)]
    fn wide(total: f64) -> f64 {
        canonical(total)
    }

    fn reductions(path: &Path) -> &Reductions<Self> {
        &path.f64
    }
}

#[inline(always)]
fn flip(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// A number, or the one NaN.
#[inline(always)]
pub(crate) fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::LARGEST } else { value }
}
