//! How far a rollup of a table has come, and which of its buckets it lacks.

use crate::model::Timestamp;
use crate::rollup::Tier;
use crate::rules::{dirty, merged, whole_buckets};
use crate::snapshot::{DataFile, TableSnapshot, TierSnapshot, TimeRange};
use std::sync::Arc;

/// One rollup of a table.
#[derive(Clone, Debug)]
pub(crate) struct Rolled {
    pub(crate) tier: Tier,
    /// The name of the tier's table.
    pub(crate) table: Arc<str>,
    /// The version of the raw table whose rows the tier has, in buckets that end at or before
    /// `until`. A tier over a tier has what the narrower one has, where `stale` does not say
    /// otherwise.
    version: u64,
    until: Timestamp,
    /// Times that the narrower tier has computed anew since.
    stale: Vec<TimeRange>,
    /// Times of raw files that came since.
    dirty: Vec<TimeRange>,
    /// The tier's own days before this were removed,
    kept_from: Timestamp,
    /// and the raw table's before this.
    raw_kept_from: Timestamp,
}

/// What a rollup's table says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// The version of the table it was made from.
    pub(crate) version: u64,
    /// It has the buckets that end at or before this.
    pub(crate) until: Timestamp,
}

impl Rolled {
    pub(crate) fn new(
        tier: Tier,
        table: Arc<str>,
        Reach { version, until }: Reach,
        stale: Vec<TimeRange>,
        kept_from: Timestamp,
    ) -> Self {
        let (dirty, raw_kept_from) = (Vec::new(), Timestamp::MIN);
        Self { tier, table, version, until, stale, dirty, kept_from, raw_kept_from }
    }

    /// Whether the tier has no rows that raw rows of this version do not have.
    pub(crate) fn is_within(&self, raw_version: u64) -> bool {
        self.version <= raw_version
    }

    pub(crate) fn until(&self) -> Timestamp {
        self.until
    }

    /// Takes notice of the raw table's files.
    pub(crate) fn see(&mut self, raw: &[Arc<DataFile>], kept_from: Timestamp) {
        self.raw_kept_from = kept_from;
        self.dirty = self.kept(&dirty(raw, self.version, self.until)).collect();
    }

    /// The parts of ranges that raw rows are kept of.
    fn kept<'a>(&self, ranges: &'a [TimeRange]) -> impl Iterator<Item = TimeRange> + use<'a> {
        let kept = TimeRange { first: self.raw_kept_from, last: Timestamp::MAX };
        ranges.iter().filter_map(move |range| range.overlap(kept))
    }

    /// The tier beside raw rows of which some are in a buffer, at `buffered` times.
    pub(crate) fn snapshot(
        &self,
        table: Arc<TableSnapshot>,
        buffered: &[TimeRange],
    ) -> TierSnapshot {
        let end = self.until.saturating_sub(1);
        let before = TimeRange { first: Timestamp::MIN, last: end };
        let gone = self.kept_from.checked_sub(1);
        let gone = gone.map(|last| TimeRange { first: Timestamp::MIN, last });
        let all =
            self.dirty.iter().chain(&self.stale).copied().chain(self.kept(buffered)).chain(gone);
        let lacking = merged(all.filter_map(|range| range.overlap(before)).collect());
        let dirty = whole_buckets(&lacking, self.tier.width);
        TierSnapshot { tier: self.tier, table, until: self.until, dirty }
    }
}
