//! Which files to merge next: a pure choice from what the log says of a table.
//!
//! Promises: the files of a merge are neighbours in the order of writes on one day, at least two
//! of them; to choose and merge again and again comes to an end, and then no day that is over has
//! more files than its size asks for.

use super::options::MergeLimits;
use crate::buffer::MICROSECONDS_PER_DAY;
use crate::model::Timestamp;
use crate::rules::{FOREIGN, resolvable};
use crate::snapshot::{DataFile, Level};
#[cfg(test)]
use crate::snapshot::{FileKind, TimeRange};
use chrono::NaiveDate;
use std::collections::BTreeMap;
use std::sync::Arc;

/// So many small files of one day are merged even where each came from a merge of its day.
const SMALL_FILES: usize = 8;

const MICROSECONDS_PER_HOUR: i64 = MICROSECONDS_PER_DAY / 24;

/// Files that are to become one, or as few as their size allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// In the order of writes.
    pub(crate) inputs: Vec<Arc<DataFile>>,
    pub(crate) level: Level,
}

/// What of a day may be merged now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    /// Hours that end at or before this are over: no flush will bring more of them, but late rows.
    Hours(Timestamp),
    /// The day is over and quiet.
    Day,
    /// Only what would otherwise grow without bound.
    Overflow,
}

/// The next merge of a table, `None` where nothing is due. `files` in the order of writes.
pub(crate) fn next_merge(
    files: &[Arc<DataFile>],
    due: impl Fn(NaiveDate) -> Due,
    limits: &MergeLimits,
) -> Option<Choice> {
    let mut days: BTreeMap<NaiveDate, Vec<Arc<DataFile>>> = BTreeMap::new();
    // Files of other programs stay as they are: when their rows came is unknown.
    for file in files.iter().filter(|file| file.order.version != FOREIGN) {
        days.entry(file.date).or_default().push(file.clone());
    }
    days.iter().rev().find_map(|(date, files)| match due(*date) {
        Due::Hours(before) => hour_merge(files, before, limits),
        Due::Day => day_merge(files, limits),
        Due::Overflow => hour_merge(files, Timestamp::MIN, limits),
    })
}

/// Flushes of hours that are over, or as many as one merge may have.
fn hour_merge(files: &[Arc<DataFile>], before: Timestamp, limits: &MergeLimits) -> Option<Choice> {
    let over = |file: &DataFile| {
        let hour = file.times.last.div_euclid(MICROSECONDS_PER_HOUR);
        (hour + 1).saturating_mul(MICROSECONDS_PER_HOUR) <= before
    };
    let runs = files.chunk_by(|a, b| a.level == b.level);
    runs.filter(|run| run[0].level == Level::Flush).find_map(|run| {
        let many = limits.files(run);
        let over = run.iter().position(|file| !over(file)).unwrap_or(run.len());
        choice(run, if run.len() >= many { many } else { over }, Level::Hour)
    })
}

/// The files of a day that is over, but for those that are as they should be: from the first that
/// is not to the last.
fn day_merge(files: &[Arc<DataFile>], limits: &MergeLimits) -> Option<Choice> {
    let bare: Vec<&DataFile> = files.iter().map(AsRef::as_ref).collect();
    let boxes = resolvable(&bare);
    let free = |file: &DataFile| !boxes.iter().any(|contested| contested.meets(file.times));
    let small = |file: &DataFile| file.bytes < limits.target_bytes / 2;
    let many_small = files.iter().filter(|file| small(file)).count() >= SMALL_FILES;
    let settled =
        |file: &DataFile| free(file) && !(small(file) && (many_small || file.level != Level::Day));
    let first = files.iter().position(|file| !settled(file))?;
    let last = files.iter().rposition(|file| !settled(file))?;
    let span = &files[first..=last];
    if span.len() <= limits.files(span) {
        return choice(&files[first..], span.len(), Level::Day);
    }
    // Too many for one merge: fewer and larger ones first.
    let runs = span.chunk_by(|a, b| small(a) == small(b));
    runs.filter(|run| small(&run[0])).find_map(|run| {
        let chosen = choice(run, run.len().min(limits.files(run)), Level::Hour);
        // Two files come out where late rows stay late: more must go in.
        chosen.filter(|chosen| chosen.inputs.len() > 2)
    })
}

/// The first files, and those after them that came in the same version as the last: a merge's
/// output takes that version for itself.
fn choice(files: &[Arc<DataFile>], first: usize, level: Level) -> Option<Choice> {
    let last = files.get(first.checked_sub(1)?)?.order.version;
    let same = files[first..].iter().take_while(|file| file.order.version == last).count();
    let inputs = files[..first + same].to_vec();
    (inputs.len() > 1).then_some(Choice { inputs, level })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::FileOrder;
    use proptest::prelude::*;
    use uuid::Uuid;

    const TARGET: u64 = 1_000;
    const MINUTE: i64 = 60_000_000;
    const LIMITS: MergeLimits = MergeLimits { memory: 0, target_bytes: TARGET, row_bytes: 1 };

    fn file(version: u64, kind: FileKind, minutes: (i64, i64), bytes: u64) -> Arc<DataFile> {
        Arc::new(DataFile {
            path: format!("t/{version}-{kind:?}").into(),
            bytes,
            rows: bytes,
            times: TimeRange { first: minutes.0 * MINUTE, last: minutes.1 * MINUTE },
            order: FileOrder { version, kind },
            writer: Uuid::nil(),
            kind,
            level: Level::Flush,
            date: NaiveDate::default(),
        })
    }

    fn flushes(minutes: impl Iterator<Item = i64>) -> Vec<Arc<DataFile>> {
        let flush = |m: i64| file(m as u64 + 1, FileKind::Monotone, (m, m + 9), 10);
        minutes.step_by(10).map(flush).collect()
    }

    /// What a merge leaves: rows of late files alone stay late where an older file may have them.
    fn merge(files: &mut Vec<Arc<DataFile>>, chosen: &Choice) {
        let at = files.iter().position(|f| *f == chosen.inputs[0]).unwrap();
        assert_eq!(files[at..at + chosen.inputs.len()], chosen.inputs[..]);
        let stays = crate::rules::late_stays(&chosen.inputs, files);
        let (mut new, mut late) = (chosen.inputs[0].as_ref().clone(), None);
        new.bytes = chosen.inputs.iter().map(|f| f.bytes).sum();
        new.kind = FileKind::Monotone;
        new.level = chosen.level;
        new.times = chosen.inputs.iter().map(|f| f.times).reduce(TimeRange::span).unwrap();
        new.order = chosen.inputs.iter().map(|f| f.order).max().unwrap();
        new.order.kind = FileKind::Monotone;
        if let Some(box_of) = stays.first() {
            let kind = FileKind::Late;
            let order = FileOrder { kind, ..new.order };
            late = Some(DataFile { kind, order, times: *box_of, bytes: 1, ..new.clone() });
        }
        files.drain(at..at + chosen.inputs.len());
        files.extend([Some(new), late].into_iter().flatten().map(Arc::new));
        files.sort_by_key(|file| file.order);
    }

    #[test]
    fn hours_wait_until_they_are_over() {
        let files = flushes(0..80);
        let due = |_| Due::Hours(59 * MINUTE);
        let limits = MergeLimits { memory: 1 << 40, ..LIMITS };
        assert_eq!(next_merge(&files, due, &limits), None);
        let chosen = next_merge(&files, |_| Due::Hours(60 * MINUTE), &limits).unwrap();
        assert_eq!((chosen.inputs.len(), chosen.level), (6, Level::Hour));
        let chosen = next_merge(&files, due, &LIMITS).unwrap();
        assert_eq!(chosen.inputs.len(), 4, "a merge takes no more than its memory allows");
    }

    proptest! {
        /// Whatever a day holds, merging ends; then it has few small files, and nothing that is
        /// resolved unless that would take more than one merge may.
        #[test]
        fn merging_a_day_comes_to_an_end(
            shapes in prop::collection::vec(
                (0..8_u8, 0..1_000_i64, 0..300_i64, 1..2 * TARGET), 1..40),
        ) {
            let mut files: Vec<_> = shapes.iter().zip(1..).map(|((what, at, wide, bytes), v)| {
                let (version, kind) = match what {
                    0 => (FOREIGN, FileKind::Late),
                    1..4 => (v, FileKind::Late),
                    _ => (v, FileKind::Monotone),
                };
                file(version, kind, (*at, at + wide), *bytes)
            }).collect();
            files.sort_by_key(|file| file.order);
            let mut merges = 0;
            while let Some(chosen) = next_merge(&files, |_| Due::Day, &LIMITS) {
                merge(&mut files, &chosen);
                merges += 1;
                prop_assert!(merges < 200, "{} files are left", files.len());
            }
            files.retain(|file| file.order.version != FOREIGN);
            let small = files.iter().filter(|f| f.bytes < TARGET / 2).count();
            prop_assert!(small <= files.len() / 2 + SMALL_FILES, "{small} of {}", files.len());
        }
    }
}
