//! Where in time two sources may hold the same key.

use crate::snapshot::{DataFile, FileKind, TimeRange};
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
    let mut found = Vec::new();
    let mut by_start: Vec<&DataFile> = files.to_vec();
    by_start.sort_unstable_by_key(|file| file.times.first);
    let mut open: Vec<&DataFile> = Vec::new();
    for file in by_start {
        open.retain(|earlier| earlier.times.last >= file.times.first);
        let rivals = open.iter().filter(|other| may_repeat(file, other));
        found.extend(rivals.filter_map(|other| file.times.overlap(other.times)));
        open.push(file);
    }
    if let Some(late) = buffer_late {
        found.extend(files.iter().filter_map(|file| file.times.overlap(late)));
    }
    merged(found.into_iter().filter_map(|range| range.overlap(asked)).collect())
}

/// Where a buffer of rows of `writer` may repeat keys of files: at its late rows, which are at or
/// before their series' newest in the files that the writer knew, and wherever it meets files of
/// others, which may have come since.
#[allow(dead_code, reason = "snapshots ask next")]
pub(crate) fn buffer_repeats(
    files: &[Arc<DataFile>],
    writer: Uuid,
    times: Option<TimeRange>,
    late: Option<TimeRange>,
) -> Option<TimeRange> {
    let others = files.iter().filter(|file| file.writer != writer);
    let met = others.filter_map(|file| times.and_then(|times| file.times.overlap(times)));
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
    use crate::snapshot::{FileOrder, Level};

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
}
