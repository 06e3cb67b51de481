//! Sorted rows cut where a tag changes.

use super::runs::TagRuns;
use std::ops::Range;
use std::sync::Arc;
use warpline_storage::TimeRange;

/// Where rows of one combination of tag values end, and its codes, tag by tag.
#[derive(Debug)]
pub(crate) struct Cuts {
    /// The first row.
    start: u32,
    ends: Vec<u32>,
    codes: Vec<u32>,
}

impl Cuts {
    pub(crate) fn of(tags: &[Arc<TagRuns>], rows: u32) -> Self {
        Self::of_part(tags, rows, (0, 1))
    }

    /// Those that end in one of several equal parts of the rows, the last of which has the rest.
    pub(crate) fn of_part(tags: &[Arc<TagRuns>], rows: u32, (part, parts): (u32, u32)) -> Self {
        let bound = |part| (u64::from(rows) * u64::from(part) / u64::from(parts)) as u32;
        let (from, until) = (bound(part), bound(part + 1));
        let mut runs: Vec<usize> =
            tags.iter().map(|tag| tag.ends().partition_point(|end| *end <= from)).collect();
        let starts = tags.iter().zip(&runs).filter_map(|(tag, run)| tag.ends()[..*run].last());
        let mut start = starts.copied().max().unwrap_or(0);
        let mut cuts = Self { start, ends: Vec::new(), codes: Vec::new() };
        while start < rows {
            let ends = tags.iter().zip(&runs).map(|(tag, run)| tag.ends()[*run]);
            let end = ends.min().unwrap_or(rows);
            if end > until {
                break;
            }
            cuts.codes.extend(tags.iter().zip(&runs).map(|(tag, run)| tag.codes()[*run]));
            cuts.ends.push(end);
            for (tag, run) in tags.iter().zip(&mut runs) {
                *run += usize::from(tag.ends()[*run] == end);
            }
            start = end;
        }
        cuts
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn codes(&self, cut: usize) -> &[u32] {
        let tags = self.codes.len() / self.ends.len();
        &self.codes[cut * tags..][..tags]
    }

    pub(crate) fn rows(&self, cut: usize) -> Range<u32> {
        let start = if cut == 0 { self.start } else { self.ends[cut - 1] };
        start..self.ends[cut]
    }
}

/// The rows of a sorted stretch whose times lie in `range`.
pub(crate) fn within(times: &[i64], rows: &Range<u32>, range: TimeRange) -> Range<u32> {
    let own = &times[rows.start as usize..rows.end as usize];
    let place = |found: usize| rows.start + found as u32;
    match own {
        [first, .., last] if range.first <= *first && *last <= range.last => rows.clone(),
        _ => {
            let start = own.partition_point(|time| *time < range.first);
            let end = own.partition_point(|time| *time <= range.last);
            place(start)..place(end.max(start))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, DictionaryArray};
    use arrow::datatypes::Int32Type;
    use proptest::prelude::*;

    fn runs(values: impl Iterator<Item = u8>) -> Arc<TagRuns> {
        let texts: Vec<String> = values.map(|value| value.to_string()).collect();
        let column: DictionaryArray<Int32Type> = texts.iter().map(String::as_str).collect();
        let column: ArrayRef = Arc::new(column);
        Arc::new(TagRuns::of(&column).unwrap())
    }

    fn listed(cuts: &Cuts) -> Vec<(Range<u32>, Vec<u32>)> {
        (0..cuts.len()).map(|cut| (cuts.rows(cut), cuts.codes(cut).to_vec())).collect()
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(
            rows in prop::collection::vec((0..3_u8, 0..3_u8), 0..80),
            parts in 1..6_u32,
        ) {
            let tags =
                [runs(rows.iter().map(|row| row.0)), runs(rows.iter().map(|row| row.1))];
            for tags in [&tags[..], &tags[..1], &[]] {
                let count = rows.len() as u32;
                let whole = listed(&Cuts::of(tags, count));
                let ends = whole.iter().flat_map(|(rows, _)| rows.clone());
                prop_assert!(ends.eq(0..count));
                let part = |part| listed(&Cuts::of_part(tags, count, (part, parts)));
                let each = (0..parts).map(part);
                prop_assert_eq!(each.collect::<Vec<_>>().concat(), whole);
            }
        }
    }
}
