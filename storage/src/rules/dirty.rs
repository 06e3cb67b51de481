//! Which times of a table a rollup of an older version does not have.

use super::contest::merged;
use super::merge::FOREIGN;
use crate::model::Timestamp;
use crate::snapshot::{DataFile, TimeRange};
use std::sync::Arc;

/// The times before `until` of files whose rows came after `version`, or nobody knows when:
/// disjoint, not touching, ascending.
///
/// Merges keep versions and so dirty nothing. Rows of other programs are always dirty.
pub(crate) fn dirty(files: &[Arc<DataFile>], version: u64, until: Timestamp) -> Vec<TimeRange> {
    let Some(last) = until.checked_sub(1) else { return Vec::new() };
    let before = TimeRange { first: Timestamp::MIN, last };
    let unknown =
        |file: &&Arc<DataFile>| file.order.version > version || file.order.version == FOREIGN;
    merged(files.iter().filter(unknown).filter_map(|file| file.times.overlap(before)).collect())
}

/// The ranges, drawn out to whole buckets of `width` microseconds since the epoch: disjoint, not
/// touching, ascending.
pub(crate) fn whole_buckets(ranges: &[TimeRange], width: i64) -> Vec<TimeRange> {
    let start = |time: Timestamp| time.div_euclid(width).saturating_mul(width);
    let whole = |range: &TimeRange| TimeRange {
        first: start(range.first),
        last: start(range.last).saturating_add(width - 1),
    };
    merged(ranges.iter().map(whole).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::model::fixture::file;
    use crate::snapshot::FileKind::{Late, Monotone};

    fn pairs(ranges: &[TimeRange]) -> Vec<(i64, i64)> {
        ranges.iter().map(|range| (range.first, range.last)).collect()
    }

    #[test]
    fn newer_files_dirty_what_is_before_the_end() {
        let files = [file(3, Monotone, 0, 9), file(4, Late, 5, 14), file(5, Monotone, 20, 29)];
        assert_eq!(pairs(&dirty(&files, 3, 25)), [(5, 14), (20, 24)]);
        assert_eq!(pairs(&dirty(&files, 3, 5)), []);
        assert_eq!(pairs(&dirty(&files, 5, 100)), []);
        assert_eq!(pairs(&dirty(&files, 0, i64::MIN)), []);
    }

    #[test]
    fn files_of_other_programs_are_always_dirty() {
        assert_eq!(pairs(&dirty(&[file(FOREIGN, Late, 5, 14)], 9, 100)), [(5, 14)]);
    }

    #[test]
    fn buckets_are_whole() {
        let ranges = [TimeRange { first: -1, last: 0 }, TimeRange { first: 25, last: 25 }];
        assert_eq!(pairs(&whole_buckets(&ranges, 10)), [(-10, 9), (20, 29)]);
        assert_eq!(pairs(&whole_buckets(&[TimeRange::ALL], 10)), [(i64::MIN, i64::MAX)]);
    }
}
