//! The types a column may have, and how their values are ordered and added.

use std::fmt::Debug;

/// A type the kernel reduces: `i16`, `i32`, `i64` or `f64`. The crate's page says what holds of
/// each.
pub trait Value: crate::naive::Naive {
    /// The neutral value of max: the smallest integer, minus infinity.
    const SMALLEST: Self;
    /// The neutral value of min: the largest integer, NaN.
    const LARGEST: Self;
}

/// Seals `Value`.
pub trait Element: Copy + Debug + PartialEq + Send + Sync + 'static {
    /// Holds the sum of any column: `i64` for `i16` and `i32`, `i128` for `i64`, `f64` for `f64`.
    type Sum: Copy + Debug + Default + PartialEq + Send + Sync + 'static;
    /// Holds the increase of any column: `i64` for `i16` and `i32`, `i128` for `i64`, `f64` for
    /// `f64`.
    type Wide: Copy + Debug + Default + PartialEq + Send + Sync + 'static;
    /// An integer of the same order.
    type Key: Copy + Debug + Ord;

    fn key(self) -> Self::Key;
    fn of_key(key: Self::Key) -> Self;
    fn is_nan(self) -> bool;
}

/// The one NaN that leaves the kernel, and the key of every NaN: larger than that of infinity.
const NAN: u64 = 0x7ff8_0000_0000_0000;

macro_rules! integers {
    ($($type:ty: $sum:ty),*) => {$(
        impl Value for $type {
            const SMALLEST: Self = Self::MIN;
            const LARGEST: Self = Self::MAX;
        }

        impl Element for $type {
            type Sum = $sum;
            type Wide = $sum;
            type Key = Self;

            fn key(self) -> Self {
                self
            }

            fn of_key(key: Self) -> Self {
                key
            }

            fn is_nan(self) -> bool {
                false
            }
        }
    )*};
}

integers!(i16: i64, i32: i64, i64: i128);

impl Value for f64 {
    const SMALLEST: Self = Self::NEG_INFINITY;
    const LARGEST: Self = Self::from_bits(NAN);
}

impl Element for f64 {
    type Sum = f64;
    type Wide = f64;
    type Key = i64;

    /// Negative numbers have all but their sign flipped, so that integers order as numbers do.
    fn key(self) -> i64 {
        let bits = self.to_bits() as i64;
        if self.is_nan() { NAN as i64 } else { flip(bits) }
    }

    fn of_key(key: i64) -> Self {
        Self::from_bits(flip(key) as u64)
    }

    fn is_nan(self) -> bool {
        self.is_nan()
    }
}

fn flip(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// A number, or the one NaN.
pub(crate) fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::from_bits(NAN) } else { value }
}
