//! The columns that are reduced: a value a second, out of formulas.

use serde::Serialize;
use warpline_kernel::{Grid, Value};

/// A type of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    I16,
    I32,
    I64,
    F64,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::I16, Self::I32, Self::I64, Self::F64];

    /// As Rust and the peers' manifest call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }
}

const SECOND: i64 = 1_000_000;
/// 2026-01-01T00:00:00Z in microseconds: a multiple of every width.
const BEGIN: i64 = 1_767_225_600 * SECOND;
/// Microseconds that a jittered time is late at most.
const JITTER: u64 = 300_000;
/// One value in so many is NULL.
const NULL_ONE_IN: u64 = 20;

/// A type that columns are made of.
pub(crate) trait Sample: Value {
    const KIND: Kind;

    /// A value out of random bits, small enough for every engine's sums.
    fn of(bits: u64) -> Self;

    /// Appends the value, little-endian.
    fn write(self, out: &mut Vec<u8>);

    /// What values add up to, as text; a float has a point.
    fn total_of_values(values: &[Self]) -> String;

    /// What sums add up to, as text; a float has a point.
    fn total_of_sums(sums: &[Self::Sum]) -> String;
}

macro_rules! sample {
    ($($type:ty: $kind:ident, $total:ty, $of:expr;)*) => {$(
        impl Sample for $type {
            const KIND: Kind = Kind::$kind;

            fn of(bits: u64) -> Self {
                $of(bits)
            }

            fn write(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn total_of_values(values: &[Self]) -> String {
                format!("{:?}", values.iter().map(|value| <$total>::from(*value)).sum::<$total>())
            }

            fn total_of_sums(sums: &[Self::Sum]) -> String {
                format!("{:?}", sums.iter().map(|sum| <$total>::from(*sum)).sum::<$total>())
            }
        }
    )*};
}

sample! {
    i16: I16, i128, |bits| (bits as i64 >> 50) as i16;
    i32: I32, i128, |bits| (bits as i64 >> 44) as i32;
    i64: I64, i128, |bits| bits as i64 >> 24;
    f64: F64, f64, |bits| (bits >> 32) as f64 / 1024.0;
}

pub(crate) fn grid(width: u32) -> Grid {
    Grid::new(i64::from(width) * SECOND, 0).expect("a width is above zero")
}

pub(crate) fn times(rows: usize, jittered: bool) -> impl Iterator<Item = i64> {
    (0..rows as u64).map(move |row| {
        let late = if jittered { random(row, 1) % JITTER } else { 0 };
        BEGIN + row as i64 * SECOND + late as i64
    })
}

pub(crate) fn values<T: Sample>(rows: usize) -> Vec<T> {
    (0..rows as u64).map(|row| T::of(random(row, 2))).collect()
}

/// A bitmap with a bit for each row, least significant first.
pub(crate) fn bitmap(rows: usize) -> Vec<u8> {
    let set = |row: u64| u8::from(!random(row, 3).is_multiple_of(NULL_ONE_IN));
    let byte = |first: u64| (0..8).fold(0, |byte, bit| byte | set(first + bit) << bit);
    (0..rows.div_ceil(8) as u64).map(|at| byte(at * 8)).collect()
}

/// Random bits of a row; a salt makes another column of them.
fn random(row: u64, salt: u64) -> u64 {
    let mut bits = (row << 2 | salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_ascend_and_one_in_twenty_is_null() {
        let times: Vec<i64> = times(1000, true).collect();
        assert!(warpline_kernel::strictly_increasing(&times));
        let set: u32 = bitmap(100_000).iter().map(|byte| byte.count_ones()).sum();
        assert!((94_500..95_500).contains(&set), "{set}");
    }
}
