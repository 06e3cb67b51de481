//! Between doubles and the scaled integers behind them.

use std::ops::Neg;

/// 1.5 * 2^52: added to a double below 2^51 it leaves the nearest integer in the low bits.
const SHIFT: f64 = 6_755_399_441_055_744.0;

/// 10^decimals, exact for every scale a field can have.
pub(crate) fn power_of_ten(decimals: u8) -> f64 {
    10_i64.pow(u32::from(decimals)) as f64
}

/// The integer that a scaled field stored for `value`, which must be n / 10^k of at most 15
/// digits: scaling back errs by less than a quarter, so the nearest integer is the stored one.
#[inline]
pub(crate) fn recover(value: f64, power: f64) -> i64 {
    let shifted = value * power + SHIFT;
    shifted.to_bits().cast_signed() - SHIFT.to_bits().cast_signed()
}

/// `numerator / denominator` rounded once, to the nearest double, ties to even.
///
/// # Panics
/// Where the denominator is zero or has more than 126 bits.
pub(crate) fn ratio(numerator: i128, denominator: u128) -> f64 {
    const EXACT: u128 = 1 << 53;
    assert!(denominator > 0 && denominator >> 126 == 0, "a count times a power of ten");
    let magnitude = numerator.unsigned_abs();
    let quotient = if magnitude <= EXACT && denominator <= EXACT {
        magnitude as f64 / denominator as f64
    } else {
        long_division(magnitude, denominator)
    };
    if numerator < 0 { quotient.neg() } else { quotient }
}

/// Divides bit by bit until the quotient has more bits than a double holds; what remains is kept
/// as one sticky bit below them, so the conversion to a double rounds as the true quotient would.
fn long_division(numerator: u128, denominator: u128) -> f64 {
    if numerator == 0 {
        return 0.0;
    }
    let mut quotient = numerator / denominator;
    let mut remainder = numerator % denominator;
    let mut shift = 0;
    while quotient >> 60 == 0 {
        remainder <<= 1;
        let bit = u128::from(remainder >= denominator);
        remainder -= bit * denominator;
        quotient = quotient << 1 | bit;
        shift += 1;
    }
    let sticky = u128::from(remainder != 0);
    (quotient | sticky) as f64 * 0.5_f64.powi(shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn powers_of_ten_are_exact() {
        for decimals in 0..=15_u8 {
            let text = format!("1{}", "0".repeat(usize::from(decimals)));
            assert_eq!(text.parse::<f64>().ok(), Some(power_of_ten(decimals)));
        }
    }

    #[test]
    fn the_largest_values_come_back() {
        for decimals in 0..=15_u8 {
            let power = power_of_ten(decimals);
            for stored in [999_999_999_999_999, 999_999_999_999_998, 1, 0, -1, -999_999_999_999_999]
            {
                assert_eq!(recover(stored as f64 / power, power), stored);
            }
        }
    }

    proptest! {
        #[test]
        fn every_scaled_value_comes_back(
            stored in -999_999_999_999_999_i64..=999_999_999_999_999,
            decimals in 0..=15_u8,
        ) {
            let power = power_of_ten(decimals);
            prop_assert_eq!(recover(stored as f64 / power, power), stored);
        }

        /// The standard library reads decimal text with correct rounding: an independent oracle.
        #[test]
        fn a_sum_rounds_like_its_decimal_text(sum in -(1_i128 << 120)..(1_i128 << 120), decimals in 0..=15_u8) {
            let power = 10_u128.pow(u32::from(decimals));
            let text = format!("{sum}e-{decimals}");
            let read: f64 = text.parse().expect("a number");
            prop_assert_eq!(ratio(sum, power).to_bits(), read.to_bits());
        }

        #[test]
        fn a_mean_of_equal_values_is_the_value(value in -(1_i64 << 52)..(1_i64 << 52), count in 1_u64..1 << 50) {
            let sum = i128::from(value) * i128::from(count);
            let mean = ratio(sum, u128::from(count));
            prop_assert_eq!(mean.to_bits(), (value as f64).to_bits());
        }
    }
}
