//! What must hold of every commit of a table. Each invariant has a name and is a function over
//! files before and after; a commit that breaks one must not be made.

use super::contest::deduplicated_until;
use super::merge::{FOREIGN, is_closed, merged_version, merged_writer, paths};
use crate::model::{Position, Timestamp};
use crate::snapshot::{DataFile, FileKind, Level, TimeRange};
use chrono::{DateTime, NaiveDate};
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) invariant: &'static str,
    /// A sentence: what was found instead.
    pub(crate) found: String,
}

impl Broken {
    pub(crate) fn new(invariant: &'static str, found: impl Into<String>) -> Self {
        Self { invariant, found: found.into() }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not hold: {}", self.invariant, self.found)
    }
}

impl std::error::Error for Broken {}

type Check = Result<(), Broken>;

fn hold(holds: bool, invariant: &'static str, found: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(Broken::new(invariant, found())) }
}

/// A commit of `version` that replaces `inputs` by `outputs` in a table that has `before`.
pub(crate) fn check_merge(
    before: &[Arc<DataFile>],
    inputs: &[Arc<DataFile>],
    outputs: &[Arc<DataFile>],
    version: u64,
) -> Check {
    inputs_are_there(before, inputs)?;
    paths_are_new(before, outputs)?;
    a_merge_is_closed(before, inputs)?;
    versions_are_kept(inputs, outputs, version)?;
    writers_are_kept(before, inputs, outputs)?;
    kinds_are_kept(inputs, outputs)?;
    rows_are_not_lost(inputs, outputs)?;
    times_stay_within(inputs, outputs)
}

/// A commit of `version` that adds `files` of one log, whose rows the table then has up to
/// `covered`.
pub(crate) fn check_flush(
    before: &[Arc<DataFile>],
    files: &[Arc<DataFile>],
    version: u64,
    (covered_before, covered): (Option<Position>, Position),
) -> Check {
    paths_are_new(before, files)?;
    a_flush_comes_last(before, files, version)?;
    a_flush_is_one_writers(files)?;
    times_are_on_their_date(files)?;
    coverage_rises(covered_before, covered)
}

/// The files of a table at `version`, which says that those before `promised` need no resolution:
/// all that is broken.
pub(crate) fn check_table(
    files: &[Arc<DataFile>],
    version: u64,
    promised: Timestamp,
) -> Vec<Broken> {
    // What other programs say of their files is not bound to be so.
    let ours: Vec<_> = files.iter().filter(|file| file.order.version != FOREIGN).cloned().collect();
    let checks = [
        paths_are_new(&[], files),
        times_are_on_their_date(&ours),
        versions_are_past(files, version),
        resolution_is_promised(files, promised),
    ];
    checks.into_iter().filter_map(Result::err).collect()
}

/// No row came in a version that is yet to be.
pub(crate) fn versions_are_past(files: &[Arc<DataFile>], version: u64) -> Check {
    let wrong = files.iter().find(|file| file.order.version > version);
    hold(wrong.is_none(), "versions_are_past", || {
        let found = wrong.map(|file| (&file.path, file.order.version));
        format!("version {version} has a file of a later one: {found:?}")
    })
}

/// No two files may have a key in common before the time that the table promises.
pub(crate) fn resolution_is_promised(files: &[Arc<DataFile>], promised: Timestamp) -> Check {
    let until = deduplicated_until(files);
    hold(promised <= until, "resolution_is_promised", || {
        format!("files need none before {promised}, it is said, and may from {until} on")
    })
}

pub(crate) fn inputs_are_there(before: &[Arc<DataFile>], inputs: &[Arc<DataFile>]) -> Check {
    let there = paths(before);
    let missing = inputs.iter().find(|file| !there.contains(&file.path));
    hold(missing.is_none(), "inputs_are_there", || {
        missing.map_or_else(String::new, |file| format!("{} is not in the table", file.path))
    })
}

/// No two files of a table ever have the same path.
pub(crate) fn paths_are_new(before: &[Arc<DataFile>], files: &[Arc<DataFile>]) -> Check {
    let there = paths(before);
    let known = files.iter().find(|file| there.contains(&file.path));
    let distinct = paths(files).len() == files.len();
    hold(known.is_none() && distinct, "paths_are_new", || match known {
        Some(file) => format!("{} is in the table already", file.path),
        None => "two new files have one path".to_owned(),
    })
}

/// Nothing lies between the inputs that could have a key of theirs.
pub(crate) fn a_merge_is_closed(before: &[Arc<DataFile>], inputs: &[Arc<DataFile>]) -> Check {
    hold(is_closed(inputs, before), "a_merge_is_closed", || {
        let names: Vec<_> = inputs.iter().map(|file| file.path.as_ref()).collect();
        format!("{} are not all files of a stretch of versions of one day", names.join(", "))
    })
}

/// Outputs stand where the newest input stood.
pub(crate) fn versions_are_kept(
    inputs: &[Arc<DataFile>],
    outputs: &[Arc<DataFile>],
    version: u64,
) -> Check {
    let kept = merged_version(inputs);
    let wrong = outputs
        .iter()
        .find(|file| file.order.version != kept || file.order.kind != file.kind || kept >= version);
    hold(wrong.is_none(), "versions_are_kept", || {
        let found = wrong.map(|file| (file.order, &file.path));
        format!("version {version} merges files up to {kept} into {found:?}")
    })
}

/// Outputs are the inputs' writer's, or of an id that no file has.
pub(crate) fn writers_are_kept(
    before: &[Arc<DataFile>],
    inputs: &[Arc<DataFile>],
    outputs: &[Arc<DataFile>],
) -> Check {
    let writers: HashSet<Uuid> = outputs.iter().map(|file| file.writer).collect();
    let known: HashSet<Uuid> = before.iter().map(|file| file.writer).collect();
    let right = match (merged_writer(inputs), writers.iter().next()) {
        (_, None) => true,
        (Some(common), Some(writer)) => *writer == common,
        (None, Some(writer)) => !known.contains(writer),
    };
    hold(right && writers.len() <= 1, "writers_are_kept", || {
        format!("files of {:?} became files of {writers:?}", merged_writer(inputs))
    })
}

/// Keys of monotone files are new: a merge of such files alone leaves nothing late.
pub(crate) fn kinds_are_kept(inputs: &[Arc<DataFile>], outputs: &[Arc<DataFile>]) -> Check {
    let late = |files: &[Arc<DataFile>]| files.iter().any(|file| file.kind == FileKind::Late);
    hold(late(inputs) || !late(outputs), "kinds_are_kept", || {
        "monotone files were merged into a late one".to_owned()
    })
}

/// Each key is in the outputs once, so they have as many rows as the largest input, or more, and
/// no more than all.
pub(crate) fn rows_are_not_lost(inputs: &[Arc<DataFile>], outputs: &[Arc<DataFile>]) -> Check {
    let most: u64 = inputs.iter().map(|file| file.rows).sum();
    let least = inputs.iter().map(|file| file.rows).max().unwrap_or(0).max(1);
    let rows: u64 = outputs.iter().map(|file| file.rows).sum();
    let empty = outputs.iter().any(|file| file.rows == 0);
    hold((least..=most).contains(&rows) && !empty, "rows_are_not_lost", || {
        format!("{least} to {most} rows became {rows}")
    })
}

/// A merge makes no times.
pub(crate) fn times_stay_within(inputs: &[Arc<DataFile>], outputs: &[Arc<DataFile>]) -> Check {
    times_are_on_their_date(outputs)?;
    let span = inputs.iter().map(|file| file.times).reduce(TimeRange::span);
    let date = inputs.first().map(|file| file.date);
    let wrong = outputs.iter().find(|file| {
        Some(file.date) != date || span.and_then(|s| s.overlap(file.times)) != Some(file.times)
    });
    hold(wrong.is_none(), "times_stay_within", || {
        let found = wrong.map(|file| (&file.path, file.times, file.date));
        format!("files of {date:?}, {span:?} were merged into {found:?}")
    })
}

/// All rows of a file are of its partition.
pub(crate) fn times_are_on_their_date(files: &[Arc<DataFile>]) -> Check {
    let wrong = files.iter().find(|file| {
        day_of(file.times.first) != Some(file.date)
            || day_of(file.times.last) != Some(file.date)
            || file.times.first > file.times.last
    });
    hold(wrong.is_none(), "times_are_on_their_date", || {
        let found = wrong.map(|file| (&file.path, file.times, file.date));
        format!("a file does not lie within its day: {found:?}")
    })
}

fn day_of(time: i64) -> Option<NaiveDate> {
    DateTime::from_timestamp_micros(time).map(|time| time.date_naive())
}

/// What is written now is newer than all that was.
pub(crate) fn a_flush_comes_last(
    before: &[Arc<DataFile>],
    files: &[Arc<DataFile>],
    version: u64,
) -> Check {
    let newest = before.iter().map(|file| file.order.version).max().unwrap_or(0);
    let right =
        files.iter().all(|file| file.order.version == version && file.order.kind == file.kind);
    hold(right && newest < version, "a_flush_comes_last", || {
        let orders: Vec<_> = files.iter().map(|file| file.order).collect();
        format!("version {version}, after files of version {newest}, adds {orders:?}")
    })
}

/// One log's rows, per day at most one file of either kind.
pub(crate) fn a_flush_is_one_writers(files: &[Arc<DataFile>]) -> Check {
    let writers: HashSet<Uuid> = files.iter().map(|file| file.writer).collect();
    let places: BTreeSet<_> = files.iter().map(|file| (file.date, file.kind)).collect();
    let as_written = files.iter().all(|file| file.level == Level::Flush && file.rows > 0);
    let right = writers.len() <= 1
        && !writers.contains(&Uuid::nil())
        && places.len() == files.len()
        && as_written;
    hold(right, "a_flush_is_one_writers", || {
        format!("{} files of {writers:?} for {places:?}", files.len())
    })
}

/// A commit covers more of its log than any before it.
pub(crate) fn coverage_rises(before: Option<Position>, covered: Position) -> Check {
    hold(before.is_none_or(|before| before < covered), "coverage_rises", || {
        format!("position {covered} is to follow {before:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::model::fixture::{file, written_by};
    use FileKind::{Late, Monotone};

    struct Merge {
        before: Vec<Arc<DataFile>>,
        inputs: Vec<Arc<DataFile>>,
        outputs: Vec<Arc<DataFile>>,
    }

    impl Merge {
        fn right() -> Self {
            let before = vec![
                file(1, Monotone, 0, 9),
                file(2, Monotone, 10, 19),
                file(2, Late, 0, 12),
                file(3, Monotone, 20, 29),
            ];
            let inputs = before[1..3].to_vec();
            let outputs = vec![file(2, Monotone, 10, 19), file(2, Late, 0, 9)];
            Self { before, inputs, outputs }
        }

        fn changed(mut self, change: impl FnOnce(&mut DataFile)) -> Self {
            change(Arc::make_mut(&mut self.outputs[0]));
            self
        }

        fn broken(&self) -> Option<&'static str> {
            let found = check_merge(&self.before, &self.inputs, &self.outputs, 4);
            found.err().map(|broken| broken.invariant)
        }
    }

    #[test]
    fn a_merge_that_is_right_is_let_through() {
        assert_eq!(Merge::right().broken(), None);
    }

    #[test]
    fn a_merge_of_what_is_not_there_or_not_closed_is_found() {
        let mut gone = Merge::right();
        gone.before.remove(1);
        assert_eq!(gone.broken(), Some("inputs_are_there"));
        let mut passing = Merge::right();
        passing.inputs = vec![passing.before[1].clone(), passing.before[3].clone()];
        assert_eq!(passing.broken(), Some("a_merge_is_closed"), "a late file is between");
        let mut again = Merge::right();
        again.outputs[0] = again.inputs[0].clone();
        assert_eq!(again.broken(), Some("paths_are_new"));
    }

    #[test]
    fn outputs_that_say_something_else_than_their_inputs_are_found() {
        let of = |change: fn(&mut DataFile)| Merge::right().changed(change).broken();
        assert_eq!(of(|file| file.order.version = 0), Some("versions_are_kept"));
        assert_eq!(of(|file| file.order.version = 4), Some("versions_are_kept"));
        assert_eq!(of(|file| file.order.kind = Late), Some("versions_are_kept"));
        assert_eq!(of(|file| file.writer = Uuid::from_u128(7)), Some("writers_are_kept"));
        assert_eq!(of(|file| file.times.last = 20), Some("times_stay_within"));
        assert_eq!(of(|file| file.times.last = i64::MAX), Some("times_are_on_their_date"));
        assert_eq!(of(|file| file.rows = 100), Some("rows_are_not_lost"));
        assert_eq!(of(|file| file.rows = 0), Some("rows_are_not_lost"));
        let mut none = Merge::right();
        none.outputs.clear();
        assert_eq!(none.broken(), Some("rows_are_not_lost"));
        let mut late = Merge::right();
        late.inputs = vec![late.before[0].clone()];
        late.outputs = vec![file(1, Late, 0, 9)];
        assert_eq!(late.broken(), Some("kinds_are_kept"));
        let foreign = check_merge(&[file(1, Monotone, 0, 9)], &[], &[], 4);
        assert_eq!(foreign.unwrap_err().invariant, "a_merge_is_closed");
    }

    #[test]
    fn files_of_several_writers_become_a_new_ones() {
        let before = vec![file(1, Monotone, 0, 9), written_by(2, 2)];
        let with = |writer: u128| {
            let mut output = (*file(2, Monotone, 0, 9)).clone();
            output.writer = Uuid::from_u128(writer);
            check_merge(&before, &before, &[Arc::new(output)], 3).err().map(|b| b.invariant)
        };
        assert_eq!(with(1), Some("writers_are_kept"));
        assert_eq!(with(3), None);
    }

    #[test]
    fn a_flush_that_breaks_a_rule_is_found() {
        let before = [file(1, Monotone, 0, 9), file(3, Late, 0, 9)];
        let flush = |change: fn(&mut DataFile), version, covered| {
            let mut new = file(4, Monotone, 10, 19);
            change(Arc::make_mut(&mut new));
            let found = check_flush(&before, &[new], version, covered);
            found.err().map(|broken| broken.invariant)
        };
        assert_eq!(flush(|_| (), 4, (None, 1)), None);
        assert_eq!(flush(|_| (), 4, (Some(1), 2)), None);
        assert_eq!(flush(|_| (), 4, (Some(2), 2)), Some("coverage_rises"));
        assert_eq!(flush(|_| (), 5, (None, 1)), Some("a_flush_comes_last"));
        assert_eq!(flush(|file| file.order.version = 3, 3, (None, 1)), Some("a_flush_comes_last"));
        assert_eq!(
            flush(|file| file.level = Level::Hour, 4, (None, 1)),
            Some("a_flush_is_one_writers")
        );
        assert_eq!(
            flush(|file| file.times.first = -1, 4, (None, 1)),
            Some("times_are_on_their_date")
        );
        let error = coverage_rises(Some(2), 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "coverage_rises does not hold: position 1 is to follow Some(2)"
        );
    }
}
