//! Tiers: tables of buckets that follow another table, their files replaced and never overlaid.

use super::rows::{DAY, day};
use super::runs::Cells;
use crate::rules::check::Broken;
use crate::rules::dirty::{dirty, whole_buckets};
use crate::rules::merged;
use crate::snapshot::{DataFile, FileKind, FileOrder, Level, TimeRange};
use chrono::DateTime;
use std::sync::Arc;
use uuid::Uuid;

/// Before every row.
pub(super) const BEGIN: i64 = -10 * DAY;

#[derive(Clone, Debug)]
struct CellFile {
    about: Arc<DataFile>,
    cells: Arc<Cells>,
}

/// One version of a tier: it has the buckets that end at or before `until`, of all rows of a
/// version of its source.
#[derive(Clone, Debug)]
pub(super) struct TierVersion {
    pub(super) number: u64,
    pub(super) source: u64,
    pub(super) until: i64,
    files: Vec<CellFile>,
    pub(super) log: Vec<Arc<DataFile>>,
    pub(super) cells: Cells,
}

#[derive(Debug)]
pub(super) struct Tier {
    pub(super) width: i64,
    /// By number; the first is empty.
    pub(super) versions: Vec<TierVersion>,
}

/// A version of what a tier follows.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) version: u64,
    pub(super) log: &'a [Arc<DataFile>],
    /// In buckets of the tier.
    pub(super) cells: &'a Cells,
    pub(super) kept_from: i64,
}

impl Tier {
    pub(super) fn new(width: i64) -> Self {
        let empty = TierVersion {
            number: 0,
            source: 0,
            until: BEGIN,
            files: Vec::new(),
            log: Vec::new(),
            cells: Cells::new(),
        };
        Self { width, versions: vec![empty] }
    }

    pub(super) fn newest(&self) -> &TierVersion {
        self.versions.last().expect("there is version 0")
    }

    /// Follows the source to a version and the buckets to `until`; neither is less than before.
    pub(super) fn advance(&mut self, source: &Source<'_>, until: i64, expired: bool) {
        let before = self.newest();
        assert!(source.version >= before.source && until >= before.until, "a tier goes forward");
        let kept_from = if expired { BEGIN } else { source.kept_from.saturating_mul(DAY) };
        let ranges = stale(before, source, until, self.width, kept_from);
        let meets = |file: &&CellFile| ranges.iter().any(|range| range.meets(file.about.times));
        let (removed, mut files): (Vec<_>, Vec<_>) =
            before.files.iter().cloned().partition(|file| meets(&file));
        let mut cells: Cells = Cells::new();
        for file in &removed {
            cells.extend(file.cells.iter().map(|(key, runs)| (*key, runs.clone())));
        }
        cells.retain(|(start, _), _| !is_in(&ranges, *start));
        let fresh = source.cells.iter().filter(|((start, _), _)| is_in(&ranges, *start));
        cells.extend(fresh.map(|(key, runs)| (*key, runs.clone())));
        let number = before.number + 1;
        while let Some(((start, _), _)) = cells.first_key_value() {
            let rest = cells.split_off(&((day(*start) + 1) * DAY, 0));
            files.push(CellFile::new(std::mem::replace(&mut cells, rest), number));
        }
        let log = files.iter().map(|file| file.about.clone()).collect();
        let all = files.iter().flat_map(|file| file.cells.iter());
        let cells = all.map(|(key, runs)| (*key, runs.clone())).collect();
        let version = source.version;
        self.versions.push(TierVersion { number, source: version, until, files, log, cells });
    }
}

/// What a tier has of days that its source no longer has stays as it was.
pub(super) fn check_expired(tier: &Tier, source: &Source<'_>) -> Result<(), Broken> {
    let [.., before, after] = tier.versions.as_slice() else { return Ok(()) };
    let first = source.kept_from.saturating_mul(DAY);
    let expired = |version: &TierVersion| {
        let cells = version.cells.iter().filter(|((start, _), _)| *start < first);
        cells.map(|(key, runs)| (*key, runs.clone())).collect::<Cells>()
    };
    if expired(before) == expired(after) {
        return Ok(());
    }
    Err(Broken::new(
        "expired_buckets_stay",
        format!("something before day {} changed", source.kept_from),
    ))
}

/// What a tier must compute to go forward: whole buckets.
fn stale(
    tier: &TierVersion,
    source: &Source<'_>,
    until: i64,
    width: i64,
    kept_from: i64,
) -> Vec<TimeRange> {
    let dirty = dirty(source.log, tier.source, tier.until);
    let new = (tier.until < until).then(|| TimeRange { first: tier.until, last: until - 1 });
    let ranges = merged(whole_buckets(&dirty, width).into_iter().chain(new).collect());
    let kept = TimeRange { first: kept_from, last: until - 1 };
    ranges.into_iter().filter_map(|range| range.overlap(kept)).collect()
}

pub(super) fn is_in(ranges: &[TimeRange], time: i64) -> bool {
    ranges.iter().any(|range| range.contains(time))
}

impl CellFile {
    fn new(cells: Cells, version: u64) -> Self {
        let starts = cells.keys().map(|(start, _)| TimeRange { first: *start, last: *start });
        let times = starts.reduce(TimeRange::span).expect("a file has rows");
        let date = DateTime::from_timestamp_micros(times.first).expect("a near time");
        let about = DataFile {
            path: format!("tier/{version}-{}", times.first).into(),
            bytes: 1,
            rows: cells.values().map(|runs| runs.len() as u64).sum(),
            times,
            order: FileOrder { version, kind: FileKind::Monotone },
            writer: Uuid::nil(),
            kind: FileKind::Monotone,
            level: Level::Flush,
            date: date.date_naive(),
        };
        Self { about: Arc::new(about), cells: Arc::new(cells) }
    }
}
