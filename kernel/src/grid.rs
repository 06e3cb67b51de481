//! A grid of buckets of one width, and which of them a time falls in.
//!
//! Promises: exact for every `i64`, the extremes included; nothing wraps.

/// Buckets of one width, counted from an origin. The unit is the caller's: microseconds mostly.
///
/// Bucket 0 begins at the origin, bucket -1 ends before it. Numbers that do not fit an `i64` (only
/// at a width of 1, where `time - origin` does not fit either) saturate: the outermost bucket
/// then holds all that lies beyond it as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    width: i64,
    origin: i64,
}

impl Grid {
    /// `None` unless the width is above zero.
    pub fn new(width: i64, origin: i64) -> Option<Self> {
        (width > 0).then_some(Self { width, origin })
    }

    pub fn width(self) -> i64 {
        self.width
    }

    pub fn origin(self) -> i64 {
        self.origin
    }

    /// The bucket that holds a time: `floor((time - origin) / width)`.
    pub fn bucket(self, time: i64) -> i64 {
        if let Some(since) = time.checked_sub(self.origin) {
            return since.div_euclid(self.width);
        }
        let since = i128::from(time) - i128::from(self.origin);
        saturated(since.div_euclid(i128::from(self.width)))
    }

    /// The first time of a bucket; the nearest `i64` where it begins beyond them all.
    pub fn start(self, bucket: i64) -> i64 {
        saturated(self.edge(bucket))
    }

    /// The first time after a bucket, `None` if there is no such `i64`.
    pub(crate) fn end(self, bucket: i64) -> Option<i64> {
        let next = bucket.checked_add(1)?;
        self.edge(next).try_into().ok()
    }

    fn edge(self, bucket: i64) -> i128 {
        i128::from(self.origin) + i128::from(bucket) * i128::from(self.width)
    }
}

fn saturated(value: i128) -> i64 {
    value.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_positive_widths() {
        assert_eq!(Grid::new(0, 5), None);
        assert_eq!(Grid::new(-60, 5), None);
        let grid = Grid::new(60, 5).expect("a width above zero");
        assert_eq!((grid.width(), grid.origin()), (60, 5));
    }

    #[test]
    fn floors_on_both_sides_of_the_origin() {
        let grid = Grid::new(60, 5).expect("a width above zero");
        assert_eq!([4, 5, 64, 65].map(|time| grid.bucket(time)), [-1, 0, 0, 1]);
        assert_eq!([-1, 0, 1].map(|bucket| grid.start(bucket)), [-55, 5, 65]);
    }

    #[test]
    fn numbers_beyond_i64_saturate() {
        let grid = Grid::new(1, i64::MIN).expect("a width above zero");
        assert_eq!(grid.bucket(i64::MAX), i64::MAX);
        assert_eq!(grid.end(i64::MAX), None);
        let grid = Grid::new(1, i64::MAX).expect("a width above zero");
        assert_eq!(grid.bucket(i64::MIN), i64::MIN);
        assert_eq!(grid.bucket(-2), i64::MIN);
        assert_eq!(grid.end(i64::MIN), Some(0));
    }

    fn any_time() -> impl Strategy<Value = i64> {
        prop_oneof![any::<i64>(), -1000_i64..1000, Just(i64::MIN), Just(i64::MAX)]
    }

    proptest! {
        #[test]
        fn a_time_lies_in_its_bucket(time in any_time(), origin in any_time(), width in 2_i64..) {
            let grid = Grid::new(width, origin).expect("a width above zero");
            let bucket = grid.bucket(time);
            prop_assert!(grid.start(bucket) <= time);
            prop_assert!(grid.end(bucket).is_none_or(|end| time < end));
        }
    }
}
