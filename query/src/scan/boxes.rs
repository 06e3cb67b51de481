//! Where in time two sources may hold the same key.

use warpline_storage::{DataFile, FileKind, TimeRange};

/// The contested stretches inside `asked`: disjoint, not touching, ascending.
///
/// Two files contest the times they share where either is late or their writers differ; the
/// buffer contests what it shares with files within `buffer_late`.
pub(super) fn contested(
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
        found.extend(rivals.filter_map(|other| overlap(file.times, other.times)));
        open.push(file);
    }
    if let Some(late) = buffer_late {
        found.extend(files.iter().filter_map(|file| overlap(file.times, late)));
    }
    merged(found.into_iter().filter_map(|range| overlap(range, asked)).collect())
}

fn may_repeat(one: &DataFile, other: &DataFile) -> bool {
    one.kind == FileKind::Late || other.kind == FileKind::Late || one.writer != other.writer
}

/// The times in both ranges.
pub(super) fn overlap(one: TimeRange, other: TimeRange) -> Option<TimeRange> {
    let both = TimeRange { first: one.first.max(other.first), last: one.last.min(other.last) };
    (both.first <= both.last).then_some(both)
}

fn merged(mut ranges: Vec<TimeRange>) -> Vec<TimeRange> {
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

/// The times of `asked` outside `boxes`, which are disjoint and ascending.
pub(super) fn outside(boxes: &[TimeRange], asked: TimeRange) -> Vec<TimeRange> {
    let mut gaps = Vec::new();
    let mut next = Some(asked.first);
    for contested in boxes {
        let Some(first) = next else { break };
        if first < contested.first {
            gaps.push(TimeRange { first, last: (contested.first - 1).min(asked.last) });
        }
        next = contested.last.checked_add(1);
    }
    gaps.extend(
        next.filter(|first| *first <= asked.last)
            .map(|first| TimeRange { first, last: asked.last }),
    );
    gaps.retain(|gap| gap.first <= gap.last);
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use warpline_storage::FileOrder;

    fn file(kind: FileKind, writer: u128, first: i64, last: i64) -> DataFile {
        DataFile {
            path: "t/f.parquet".into(),
            bytes: 1,
            rows: 1,
            times: TimeRange { first, last },
            order: FileOrder { version: 1, kind },
            writer: uuid::Uuid::from_u128(writer),
            kind,
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

    proptest! {
        #[test]
        fn boxes_and_gaps_part_the_asked_times(
            cuts in prop::collection::vec((0_i64..60, 0_i64..10), 0..6),
            asked in (0_i64..30, 0_i64..40),
        ) {
            let asked = TimeRange { first: asked.0, last: asked.0 + asked.1 };
            let ranges: Vec<_> = cuts
                .iter()
                .filter_map(|(first, width)| {
                    overlap(TimeRange { first: *first, last: first + width }, asked)
                })
                .collect();
            let inside = merged(ranges.clone());
            let gaps = outside(&inside, asked);
            for time in asked.first..=asked.last {
                let contested = ranges.iter().any(|range| range.contains(time));
                let holders = inside.iter().chain(&gaps).filter(|r| r.contains(time)).count();
                prop_assert_eq!(holders, 1);
                prop_assert_eq!(inside.iter().any(|r| r.contains(time)), contested);
            }
        }
    }
}
