//! Which files may be merged, and what may be said of the result.
//!
//! A merge resolves its inputs key by key, in their order, and writes at most two groups of rows:
//! new ones, which become monotone files, and late ones. Both take the greatest version of the
//! inputs, so that they stand where the inputs stood: newer writes still win, older still lose.
//! Files within a group have disjoint keys.
//!
//! What is decided here is decided again over the files of the version that the commit follows:
//! a file of another program may have come between the inputs since the merge was planned.

use super::contest::merged;
use crate::snapshot::{DataFile, FileKind, FileOrder, TimeRange};
use object_store::path::Path;
use std::collections::HashSet;
use std::sync::Arc;
use uuid::Uuid;

/// The version of files that other programs put into the table. When their rows came is unknown.
pub(crate) const FOREIGN: u64 = 0;

/// Whether the files of `all` may be replaced by a merge of `inputs`, some of them, in any order.
pub(crate) fn is_closed(inputs: &[Arc<DataFile>], all: &[Arc<DataFile>]) -> bool {
    are_consecutive(inputs, all) && is_alone_in_its_version(inputs, all) && has_one_origin(inputs)
}

/// One date, and no other file of that date lies between the inputs.
pub(super) fn are_consecutive(inputs: &[Arc<DataFile>], all: &[Arc<DataFile>]) -> bool {
    let Some(first) = inputs.first() else { return false };
    let mut day: Vec<_> = all.iter().filter(|file| file.date == first.date).collect();
    day.sort_by_key(|file| place(file));
    let wanted = paths(inputs);
    let is_input = |file: &&&Arc<DataFile>| wanted.contains(&file.path);
    let run = day.iter().skip_while(|file| !is_input(file)).take_while(is_input).count();
    run == inputs.len() && wanted.len() == inputs.len()
}

/// No file outside has the version that the outputs take: nothing would say which of the two is
/// the newer.
pub(super) fn is_alone_in_its_version(inputs: &[Arc<DataFile>], all: &[Arc<DataFile>]) -> bool {
    let (version, inside) = (merged_version(inputs), paths(inputs));
    let date = inputs.first().map(|file| file.date);
    let mut outside =
        all.iter().filter(|file| Some(file.date) == date && !inside.contains(&file.path));
    outside.all(|file| file.order.version != version)
}

/// Files of other programs are merged among themselves only: under a version of ours their rows
/// would pass for rows that came with it, and a rollup of that version for one that has them.
pub(super) fn has_one_origin(inputs: &[Arc<DataFile>]) -> bool {
    let foreign = inputs.iter().filter(|file| file.order.version == FOREIGN).count();
    foreign == 0 || foreign == inputs.len()
}

/// When a key that only late files of the inputs have may be one of an older file of the same
/// date outside them, and so stays late. At any other time it becomes new.
///
/// Disjoint, not touching, ascending.
pub(crate) fn late_stays(inputs: &[Arc<DataFile>], all: &[Arc<DataFile>]) -> Vec<TimeRange> {
    let Some(first) = inputs.iter().min_by_key(|file| place(file)) else { return Vec::new() };
    let inside = paths(inputs);
    let older = |file: &&Arc<DataFile>| {
        file.date == first.date && place(file) < place(first) && !inside.contains(&file.path)
    };
    let late: Vec<_> = inputs.iter().filter(|file| file.kind == FileKind::Late).collect();
    let shared = all
        .iter()
        .filter(older)
        .flat_map(|outside| late.iter().filter_map(|file| file.times.overlap(outside.times)));
    merged(shared.collect())
}

/// The log whose rows all inputs are; `None` where they differ: the outputs then have an id of
/// their merge.
pub(crate) fn merged_writer(inputs: &[Arc<DataFile>]) -> Option<Uuid> {
    let (first, rest) = inputs.split_first()?;
    rest.iter().all(|file| file.writer == first.writer).then_some(first.writer)
}

/// The version of the outputs.
pub(crate) fn merged_version(inputs: &[Arc<DataFile>]) -> u64 {
    inputs.iter().map(|file| file.order.version).max().unwrap_or(FOREIGN)
}

/// Where a file stands among those of its table: later files are newer. The path decides between
/// files whose keys are disjoint, and between those of other programs.
pub(super) fn place(file: &DataFile) -> (FileOrder, &Path) {
    (file.order, &file.path)
}

pub(super) fn paths(files: &[Arc<DataFile>]) -> HashSet<&Path> {
    files.iter().map(|file| &file.path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::model::fixture::file;
    use FileKind::{Late, Monotone};

    fn some(all: &[Arc<DataFile>], chosen: &[usize]) -> Vec<Arc<DataFile>> {
        chosen.iter().map(|number| all[*number].clone()).collect()
    }

    #[test]
    fn a_merge_takes_neighbours_of_one_day() {
        let all = [file(1, Monotone, 0, 9), file(2, Late, 0, 9), file(3, Monotone, 10, 19)];
        assert!(is_closed(&some(&all, &[0, 1]), &all));
        assert!(is_closed(&some(&all, &[2, 0, 1]), &all));
        assert!(!is_closed(&some(&all, &[0, 2]), &all), "passes over a late file");
        assert!(!is_closed(&[], &all));
        assert!(!is_closed(&some(&all, &[0, 0]), &all));
        assert!(!is_closed(&[file(4, Monotone, 0, 9)], &all), "is not there");
        let mut other = (*all[1]).clone();
        other.date = other.date.succ_opt().unwrap();
        let all = [all[0].clone(), Arc::new(other), all[2].clone()];
        assert!(is_closed(&some(&all, &[0, 2]), &all), "another day's file is not between");
        assert!(!is_closed(&some(&all, &[0, 1]), &all));
    }

    #[test]
    fn a_merge_ends_with_all_files_of_a_version() {
        let all = [
            file(1, Monotone, 0, 9),
            file(2, Monotone, 10, 19),
            file(2, Late, 0, 9),
            file(3, Monotone, 20, 29),
        ];
        assert!(!is_closed(&some(&all, &[0, 1]), &all));
        assert!(!is_closed(&some(&all, &[2]), &all));
        assert!(is_closed(&some(&all, &[0, 1, 2]), &all));
        assert!(is_closed(&some(&all, &[2, 3]), &all), "its beginning may split one");
    }

    #[test]
    fn files_of_other_programs_are_merged_among_themselves() {
        let all = [file(FOREIGN, Late, 0, 9), file(FOREIGN, Late, 0, 9), file(1, Monotone, 0, 9)];
        assert!(is_closed(&some(&all, &[0, 1]), &all));
        assert!(!is_closed(&some(&all, &[0, 1, 2]), &all));
        assert!(!is_closed(&some(&all, &[0]), &all));
    }

    #[test]
    fn rows_stay_late_where_older_files_are() {
        let all = [
            file(1, Monotone, 0, 9),
            file(2, Late, 20, 29),
            file(3, Late, 5, 24),
            file(4, Monotone, 0, 99),
        ];
        let stays = |chosen: &[usize]| {
            let stays = late_stays(&some(&all, chosen), &all);
            stays.into_iter().map(|range| (range.first, range.last)).collect::<Vec<_>>()
        };
        assert_eq!(stays(&[2]), [(5, 9), (20, 24)]);
        assert_eq!(stays(&[1, 2]), [(5, 9)]);
        assert_eq!(stays(&[0, 1, 2]), []);
        assert_eq!(stays(&[3]), [], "nothing is late");
    }
}
