//! Facts about a series' time column that decide whether rows must be sorted at all.

/// The smallest and the largest value, `None` of an empty slice.
pub fn extremes(values: &[i64]) -> Option<(i64, i64)> {
    let first = *values.first()?;
    Some(values.iter().fold((first, first), |(min, max), v| (min.min(*v), max.max(*v))))
}

/// Whether each value is larger than the one before. True of empty and one-value slices.
pub fn strictly_increasing(values: &[i64]) -> bool {
    values.windows(2).all(|pair| pair[0] < pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_slices() {
        assert_eq!(extremes(&[]), None);
        assert_eq!(extremes(&[7]), Some((7, 7)));
        assert!(strictly_increasing(&[]) && strictly_increasing(&[7]));
        assert!(!strictly_increasing(&[7, 7]));
    }

    proptest! {
        #[test]
        fn agree_with_iterators(values in prop::collection::vec(-5_i64..5, 0..12)) {
            let range = values.iter().min().copied().zip(values.iter().max().copied());
            prop_assert_eq!(extremes(&values), range);
            let mut sorted = values.clone();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(strictly_increasing(&values), values == sorted);
        }
    }
}
