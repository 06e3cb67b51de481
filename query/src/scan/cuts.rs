//! Sorted rows cut where a tag changes.

use super::runs::TagRuns;
use std::ops::Range;
use std::sync::Arc;
use warpline_storage::TimeRange;

/// Where rows of one combination of tag values end, and its codes, tag by tag.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    ends: Vec<u32>,
    codes: Vec<u32>,
}

impl Cuts {
    pub(crate) fn of(tags: &[Arc<TagRuns>], rows: u32) -> Self {
        let mut cuts = Self::default();
        let mut runs = vec![0; tags.len()];
        let mut start = 0;
        while start < rows {
            let ends = tags.iter().zip(&runs).map(|(tag, run): (_, &usize)| tag.ends()[*run]);
            let end = ends.min().unwrap_or(rows);
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
        let start = if cut == 0 { 0 } else { self.ends[cut - 1] };
        start..self.ends[cut]
    }

    /// The cuts that one of several equal parts of the rows begins and ends with.
    pub(crate) fn part(&self, part: usize, parts: usize) -> Range<usize> {
        let rows = self.ends.last().map_or(0, |end| *end as usize);
        let before =
            |part: usize| self.ends.partition_point(|end| (*end as usize) <= rows * part / parts);
        before(part)..if part + 1 == parts { self.len() } else { before(part + 1) }
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
