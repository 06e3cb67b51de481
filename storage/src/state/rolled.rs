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
    pub(crate) until: Timestamp,
    /// Times that the narrower tier has computed anew since.
    stale: Vec<TimeRange>,
    /// Times of raw files that came since.
    dirty: Vec<TimeRange>,
}

impl Rolled {
    pub(crate) fn new(
        tier: Tier,
        table: Arc<str>,
        (version, until): (u64, Timestamp),
        stale: Vec<TimeRange>,
        raw: &[Arc<DataFile>],
    ) -> Self {
        let mut rolled = Self { tier, table, version, until, stale, dirty: Vec::new() };
        rolled.see(raw);
        rolled
    }

    /// Takes notice of the raw table's files.
    pub(crate) fn see(&mut self, raw: &[Arc<DataFile>]) {
        self.dirty = dirty(raw, self.version, self.until);
    }

    /// The tier beside raw rows of which some are in a buffer, at `buffered` times.
    pub(crate) fn snapshot(
        &self,
        table: Arc<TableSnapshot>,
        buffered: Option<TimeRange>,
    ) -> TierSnapshot {
        let end = self.until.saturating_sub(1);
        let before = TimeRange { first: Timestamp::MIN, last: end };
        let all = self.dirty.iter().chain(&self.stale).copied().chain(buffered);
        let lacking = merged(all.filter_map(|range| range.overlap(before)).collect());
        let dirty = whole_buckets(&lacking, self.tier.width);
        TierSnapshot { tier: self.tier, table, until: self.until, dirty }
    }
}
