//! Which times of a table a rollup of an older version does not have.
#![allow(dead_code, reason = "the store's rollups come next")]

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
