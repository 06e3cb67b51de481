//! Readers: what files, buffer and tiers answer, compared with what is true.

use super::Flaw;
use super::rollup::{TierVersion, is_in};
use super::rows::{DAY, Row, Rows, day, rows_of, write, write_all};
use super::runs::{Cells, cells_of};
use super::table::{File, LARGE, SMALL, Version};
use super::writer::Writer;
use crate::rules::check::Broken;
use crate::rules::dirty::{dirty, whole_buckets};
use crate::rules::{buffer_repeats, contested, merged, times_of_others};
use crate::snapshot::{DataFile, FileKind, TimeRange};
use std::collections::HashSet;

/// Buffered rows, each key once, and when they may repeat keys of files.
struct Buffer {
    rows: Rows,
    repeats: Option<TimeRange>,
}

/// A version's files answer what is true, and its monotone files have no key twice.
pub(super) fn check_version(version: &Version) -> Result<(), Broken> {
    let answer = resolve(&version.files, None, version.kept_from)?;
    same("files_answer_the_truth", &version.truth, &answer)?;
    let mut keys = HashSet::new();
    for file in version.files.iter().filter(|file| file.about.kind == FileKind::Monotone) {
        for key in file.rows.keys() {
            if !keys.insert((file.about.writer, *key)) {
                return Err(Broken::new(
                    "monotone_files_are_disjoint",
                    format!("{key:?} is twice"),
                ));
            }
        }
    }
    Ok(())
}

/// The files that a writer has published and its buffer answer what is true.
pub(super) fn check_view(
    writer: &Writer,
    version: &Version,
    tiers: (&TierVersion, &TierVersion),
    flaw: Option<Flaw>,
) -> Result<(), Broken> {
    let generations = || writer.generations();
    let mut rows = Rows::new();
    generations().for_each(|one| write_all(&mut rows, one.rows.iter().copied()));
    let times = generations().filter_map(|one| one.times).reduce(TimeRange::span);
    let late = generations().filter_map(|one| one.late).reduce(TimeRange::span);
    let repeats = match flaw {
        Some(Flaw::TrustsBuffer) => late,
        _ => buffer_repeats(&times_of_others(&version.log, writer.id), times, late),
    };
    let answer = resolve(&version.files, Some(&Buffer { rows, repeats }), version.kept_from)?;
    let covered = version.covered.get(&writer.id).copied().unwrap_or(0);
    let fresh = writer.log[covered as usize..].iter().flat_map(|batch| &batch.rows);
    let mut truth = version.truth.clone();
    write_all(&mut truth, fresh.filter(|row| day(row.key.1) >= version.kept_from).copied());
    same("files_and_buffer_answer_the_truth", &truth, &answer)?;
    let buffered = if flaw == Some(Flaw::BufferIsClean) { None } else { times };
    let (small, large) = (cells_of(&truth, SMALL), cells_of(&truth, LARGE));
    Raw { version, small: &small, large: &large, buffered }.check(tiers, flaw)
}

/// A version of raw, perhaps with a buffer beside it.
pub(super) struct Raw<'a> {
    version: &'a Version,
    small: &'a Cells,
    large: &'a Cells,
    buffered: Option<TimeRange>,
}

impl<'a> Raw<'a> {
    pub(super) fn of(version: &'a Version) -> Self {
        Self { version, small: &version.small, large: &version.large, buffered: None }
    }

    /// What may be read of the tiers is what raw says.
    pub(super) fn check(
        &self,
        (small, large): (&TierVersion, &TierVersion),
        flaw: Option<Flaw>,
    ) -> Result<(), Broken> {
        if small.source > self.version.number && flaw != Some(Flaw::ReadsTierAhead) {
            return Ok(());
        }
        let stale = self.stale(small, flaw);
        let first = self.version.kept_from.saturating_mul(DAY);
        let clean = |stale: Vec<TimeRange>, until: i64, width: i64| {
            move |start: i64| start >= first && start + width <= until && !is_in(&stale, start)
        };
        let use_small = clean(whole_buckets(&stale, SMALL), small.until, SMALL);
        same_cells("small_buckets_are_raw", self.small, &small.cells, use_small)?;
        if large.source > small.number {
            return Ok(());
        }
        let newer = dirty(&small.log, large.source, large.until);
        let stale = whole_buckets(&merged([stale, newer].concat()), LARGE);
        let use_large = clean(stale, large.until, LARGE);
        same_cells("large_buckets_are_raw", self.large, &large.cells, use_large)
    }

    fn stale(&self, tier: &TierVersion, flaw: Option<Flaw>) -> Vec<TimeRange> {
        let mut log = self.version.log.clone();
        if flaw == Some(Flaw::ForeignIsClean) {
            log.retain(|file| file.order.version > 0);
        }
        let mut stale = dirty(&log, tier.source, tier.until);
        stale.extend(self.buffered);
        merged(stale)
    }
}

/// What a scan answers: outside contested times rows as they are, inside by order.
fn resolve(files: &[File], buffer: Option<&Buffer>, kept_from: i64) -> Result<Rows, Broken> {
    let log: Vec<&DataFile> = files.iter().map(|file| file.about.as_ref()).collect();
    let boxes = contested(&log, buffer.and_then(|buffer| buffer.repeats), TimeRange::ALL);
    let sources = files.iter().map(|file| &*file.rows).chain(buffer.map(|buffer| &buffer.rows));
    let mut answer = Rows::new();
    for row in sources.flat_map(rows_of).filter(|row| day(row.key.1) >= kept_from) {
        let Row { key, values } = row;
        if is_in(&boxes, key.1) {
            write(&mut answer, row);
        } else if answer.insert(key, values).is_some() {
            let found = format!("{key:?} is in two sources and contested by none");
            return Err(Broken::new("uncontested_keys_are_unique", found));
        }
    }
    Ok(answer)
}

fn same(invariant: &'static str, truth: &Rows, answer: &Rows) -> Result<(), Broken> {
    if truth == answer {
        return Ok(());
    }
    let keys = truth.keys().chain(answer.keys());
    let differs = keys.map(|key| (key, truth.get(key), answer.get(key))).find(|(_, a, b)| a != b);
    Err(Broken::new(invariant, format!("key, truth and answer: {differs:?}")))
}

fn same_cells(
    invariant: &'static str,
    truth: &Cells,
    answer: &Cells,
    usable: impl Fn(i64) -> bool,
) -> Result<(), Broken> {
    let keys = truth.keys().chain(answer.keys()).filter(|(start, _)| usable(*start));
    for key in keys {
        let (raw, tier) = (truth.get(key), answer.get(key));
        if raw != tier {
            let found = format!("bucket {key:?} of raw is {raw:?}, of the tier {tier:?}");
            return Err(Broken::new(invariant, found));
        }
    }
    Ok(())
}
