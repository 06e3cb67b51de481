//! Where in time two sources may hold the same key.

use crate::model::Timestamp;
use crate::snapshot::{DataFile, FileKind, Level, TimeRange};
use std::sync::Arc;
use uuid::Uuid;

/// The contested stretches inside `asked`: disjoint, not touching, ascending.
///
/// Two files contest the times they share where either is late or their writers differ; the
/// buffer contests what it shares with files within `buffer_late`.
pub fn contested(
    files: &[&DataFile],
    buffer_late: Option<TimeRange>,
    asked: TimeRange,
) -> Vec<TimeRange> {
    let mut found = shared(files, may_repeat);
    if let Some(late) = buffer_late {
        found.extend(files.iter().filter_map(|file| file.times.overlap(late)));
    }
    merged(found.into_iter().filter_map(|range| range.overlap(asked)).collect())
}

/// The times that pairs of files share, of pairs that `counts` says.
fn shared(files: &[&DataFile], counts: impl Fn(&DataFile, &DataFile) -> bool) -> Vec<TimeRange> {
    let mut found = Vec::new();
    let mut by_start: Vec<&DataFile> = files.to_vec();
    by_start.sort_unstable_by_key(|file| file.times.first);
    let mut open: Vec<&DataFile> = Vec::new();
    for file in by_start {
        open.retain(|earlier| earlier.times.last >= file.times.first);
        let rivals = open.iter().filter(|other| counts(file, other));
        found.extend(rivals.filter_map(|other| file.times.overlap(other.times)));
        open.push(file);
    }
    found
}

/// The times of files that a merge could make fewer of: contested ones, but for those of one
/// merge's files, which have no key in common and come out as they went in.
pub(crate) fn resolvable(files: &[&DataFile]) -> Vec<TimeRange> {
    let of_one_merge = |one: &DataFile, other: &DataFile| {
        let merged = one.level != Level::Flush && other.level != Level::Flush;
        merged && one.order.version == other.order.version && one.writer == other.writer
    };
    merged(shared(files, |one, other| may_repeat(one, other) && !of_one_merge(one, other)))
}

/// The last instant that is promised: the end of the year 9999, which every program can write.
const LAST_PROMISE: Timestamp = 253_402_300_799_999_999;

/// The time before which no two of the files may have a key in common: rows before it can be read
/// without resolution. 1970 where nothing can be promised.
pub(crate) fn deduplicated_until(files: &[Arc<DataFile>]) -> Timestamp {
    let bare: Vec<&DataFile> = files.iter().map(AsRef::as_ref).collect();
    let contested = contested(&bare, None, TimeRange::ALL);
    let end = || files.iter().map(|file| file.times.last.saturating_add(1)).max();
    let until = contested.first().map(|first| first.first).or_else(end).unwrap_or(0);
    until.clamp(0, LAST_PROMISE)
}

/// The times of files of other writers than `writer`: merged, ascending.
pub(crate) fn times_of_others(files: &[Arc<DataFile>], writer: Uuid) -> Vec<TimeRange> {
    merged(files.iter().filter(|file| file.writer != writer).map(|file| file.times).collect())
}

/// Where buffered rows may repeat keys of files: at late rows, which are at or before their
/// series' newest in the files that their writer knew, and wherever they meet files of `others`,
/// which may have come since.
pub(crate) fn buffer_repeats(
    others: &[TimeRange],
    times: Option<TimeRange>,
    late: Option<TimeRange>,
) -> Option<TimeRange> {
    let met = others.iter().filter_map(|range| times.and_then(|times| range.overlap(times)));
    met.chain(late).reduce(TimeRange::span)
}

/// Whether two files whose times meet may have a key in common.
pub(crate) fn may_repeat(one: &DataFile, other: &DataFile) -> bool {
    one.kind == FileKind::Late || other.kind == FileKind::Late || one.writer != other.writer
}

/// The same times in ranges that are disjoint, do not touch, and ascend.
pub fn merged(mut ranges: Vec<TimeRange>) -> Vec<TimeRange> {
    ranges.sort_unstable_by_key(|range| range.first);
    let mut merged: Vec<TimeRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.first <= last.last.saturating_add(1) => *last = last.span(range),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::FileOrder;

    fn file(kind: FileKind, writer: u128, first: i64, last: i64) -> DataFile {
        DataFile {
            path: "t/f.parquet".into(),
            bytes: 1,
            rows: 1,
            times: TimeRange { first, last },
            order: FileOrder { version: 1, kind },
            writer: Uuid::from_u128(writer),
            kind,
            level: Level::Flush,
            date: chrono::NaiveDate::default(),
        }
    }

    fn boxes(files: &[DataFile], late: Option<TimeRange>) -> Vec<(i64, i64)> {
        let files: Vec<_> = files.iter().collect();
        let found = contested(&files, late, TimeRange::ALL);
        found.into_iter().map(|b| (b.first, b.last)).collect()
    }

    #[test]
    fn monotone_files_of_one_writer_contest_nothing() {
        use FileKind::Monotone;
        assert_eq!(boxes(&[file(Monotone, 1, 0, 10), file(Monotone, 1, 5, 15)], None), []);
    }

    #[test]
    fn late_files_and_other_writers_contest_what_they_share() {
        use FileKind::{Late, Monotone};
        let late = [file(Monotone, 1, 0, 10), file(Late, 1, 8, 20), file(Monotone, 1, 30, 40)];
        assert_eq!(boxes(&late, None), [(8, 10)]);
        let writers = [file(Monotone, 1, 0, 10), file(Monotone, 2, 5, 7)];
        assert_eq!(boxes(&writers, None), [(5, 7)]);
        let buffer = Some(TimeRange { first: 9, last: 35 });
        assert_eq!(boxes(&late, buffer), [(8, 20), (30, 35)]);
    }

    #[test]
    fn a_buffer_contests_its_late_rows_and_the_files_of_others() {
        let range = |first, last| Some(TimeRange { first, last });
        let files = [file(FileKind::Monotone, 1, 0, 10), file(FileKind::Monotone, 2, 5, 20)];
        let others = times_of_others(&files.map(Arc::new), Uuid::from_u128(1));
        assert_eq!(buffer_repeats(&others, None, None), None);
        assert_eq!(buffer_repeats(&others, range(21, 30), None), None);
        assert_eq!(buffer_repeats(&others, range(15, 30), None), range(15, 20));
        assert_eq!(buffer_repeats(&others, range(15, 30), range(29, 30)), range(15, 30));
        assert_eq!(buffer_repeats(&[], range(0, 30), range(3, 4)), range(3, 4));
    }
}
