//! What must hold of every commit of a table. Each invariant has a name and is a function over
//! files before and after; a commit that breaks one must not be made.
#![allow(dead_code, reason = "the store's commits ask next")]

use super::merge::{is_closed, merged_version, merged_writer, paths};
use crate::model::Position;
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
