//! Which stretches of time rollups answer for, and which are left to raw rows.
//!
//! Promises: a stretch of a tier is made of whole buckets of it that lie within the asked times,
//! that the tier has complete, and that are parts of the question's own buckets; stretches are
//! disjoint and are the asked times together. A question that a tier cannot answer to the bit has
//! none (sums of doubles are the same up to the order of additions).

use super::aggregates::{Ask, Input};
use super::question::Question;
use super::rolled::RolledPlan;
use datafusion::common::Column;
use datafusion::logical_expr::Expr;
use std::fmt;
use warpline_storage::{TierSnapshot, TimeRange};

/// Whether rollups are used: a setting, for comparing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UseRollups(pub bool);

/// Stretches of time by what answers for them.
#[derive(Debug)]
pub(super) struct Route {
    /// Places among the table's tiers, and stretches: disjoint, ascending.
    pub tiers: Vec<(usize, Vec<TimeRange>)>,
    pub raw: Vec<TimeRange>,
}

impl Route {
    /// The wider tiers first, raw rows for what is left.
    pub(super) fn of(question: &Question, wanted: bool) -> Self {
        let mut left = vec![question.asked];
        let mut tiers = Vec::new();
        let routable = wanted && over_tags(question) && is_kept(question);
        for (place, tier) in question.table.tiers.iter().enumerate().rev() {
            if !routable || !answers(tier, question) {
                continue;
            }
            let (own, rest) = split(&left, tier);
            left = rest;
            if !own.is_empty() {
                tiers.push((place, own));
            }
        }
        Self { tiers, raw: left }
    }
}

fn answers(tier: &TierSnapshot, question: &Question) -> bool {
    fits(question, tier) && has_tags(tier, question) && RolledPlan::of(question, tier).is_some()
}

/// The places of the columns that filters look at; `None` where a name is unknown.
fn filtered(question: &Question) -> impl Iterator<Item = Option<usize>> {
    let names =
        |column: &Column| question.table.schema.column_names().position(|name| name == column.name);
    question.filters.iter().flat_map(Expr::column_refs).map(names)
}

/// Filters over tags alone leave whole rows of a tier or none.
fn over_tags(question: &Question) -> bool {
    let tags = 1..question.table.schema.first_field();
    filtered(question).all(|place| place.is_some_and(|place| tags.contains(&place)))
}

/// Whether a tier knows every tag of the question; it may be older than one.
fn has_tags(tier: &TierSnapshot, question: &Question) -> bool {
    let names: Vec<&str> = question.table.schema.column_names().collect();
    let known = |place: usize| tier.table.schema.column_names().any(|name| name == names[place]);
    question.group_tags().chain(filtered(question).flatten()).all(known)
}

/// Whether a tier keeps what is asked, wherever its columns are.
fn is_kept(question: &Question) -> bool {
    question.asks.iter().all(|ask| match ask {
        Ask::Rows | Ask::Count(_) | Ask::Min(_) | Ask::Max(_) => true,
        Ask::Exact(input, _) | Ask::Sum(input) | Ask::Mean(input) => *input != Input::Time,
        // A tier has the times of a series' rows, not those of its values.
        Ask::First(input) | Ask::Last(input) => *input != Input::Time && is_one_series(question),
        // Without some of a series' runs its steps are others.
        Ask::Increase(input) | Ask::Delta(input) => *input != Input::Time && keeps_series(question),
        Ask::FirstRow(_) | Ask::LastRow(_) | Ask::Quantile(..) => false,
    })
}

/// Whether filters leave whole series.
fn keeps_series(question: &Question) -> bool {
    let identity = 1..=question.table.schema.identity.len();
    filtered(question).all(|place| place.is_some_and(|place| identity.contains(&place)))
}

/// Whether every group is of one series.
fn is_one_series(question: &Question) -> bool {
    let identity = 1..=question.table.schema.identity.len();
    let grouped: Vec<usize> = question.group_tags().collect();
    identity.into_iter().all(|tag| grouped.contains(&tag))
}

/// Whether each of the question's buckets is made of whole buckets of the tier.
fn fits(question: &Question, tier: &TierSnapshot) -> bool {
    let width = tier.tier.width;
    question
        .bucket()
        .is_none_or(|(_, grid)| grid.width() % width == 0 && grid.origin() % width == 0)
}

/// The stretches of `asked` that the tier has, and the others.
fn split(asked: &[TimeRange], tier: &TierSnapshot) -> (Vec<TimeRange>, Vec<TimeRange>) {
    let (mut own, mut rest) = (Vec::new(), Vec::new());
    let complete = complete(tier);
    for range in asked {
        let mut next = Some(range.first);
        for stretch in &complete {
            let Some(stretch) = stretch.overlap(*range).and_then(|s| inward(s, tier.tier.width))
            else {
                continue;
            };
            let from = next.expect("stretches lie within the range");
            if from < stretch.first {
                rest.push(TimeRange { first: from, last: stretch.first - 1 });
            }
            own.push(stretch);
            next = stretch.last.checked_add(1);
        }
        rest.extend(
            next.filter(|first| *first <= range.last)
                .map(|first| TimeRange { first, last: range.last }),
        );
    }
    (own, rest)
}

/// The times of the tier's files without those that it lacks rows of.
fn complete(tier: &TierSnapshot) -> Vec<TimeRange> {
    let files = tier.table.files.iter().map(|file| file.times);
    let Some(span) = files.reduce(TimeRange::span) else { return Vec::new() };
    let end = span.last.saturating_add(tier.tier.width).min(tier.until);
    let (mut found, mut next) = (Vec::new(), span.first);
    for gap in &tier.dirty {
        if next < gap.first.min(end) {
            found.push(TimeRange { first: next, last: gap.first.min(end) - 1 });
        }
        next = next.max(gap.last.saturating_add(1));
    }
    if next < end {
        found.push(TimeRange { first: next, last: end - 1 });
    }
    found
}

/// The whole buckets within a range.
fn inward(range: TimeRange, width: i64) -> Option<TimeRange> {
    let first = range.first.checked_add(width - 1)?.div_euclid(width) * width;
    let last = range.last.checked_add(1)?.div_euclid(width) * width - 1;
    (first <= last).then_some(TimeRange { first, last })
}

/// Ranges that lie in both lists, which are disjoint and ascending.
pub(super) fn common(one: &[TimeRange], other: &[TimeRange]) -> Vec<TimeRange> {
    one.iter().flat_map(|range| other.iter().filter_map(|o| range.overlap(*o))).collect()
}

/// What `EXPLAIN` says of stretches.
pub(super) struct Shown<'a>(pub &'a [TimeRange]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.iter().map(|range| format!("{}..={}", range.first, range.last));
        f.write_str(&shown.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range((first, last): (i64, i64)) -> TimeRange {
        TimeRange { first, last }
    }

    #[test]
    fn only_whole_buckets_are_taken() {
        assert_eq!(inward(range((0, 59)), 60), Some(range((0, 59))));
        assert_eq!(inward(range((1, 120)), 60), Some(range((60, 119))));
        assert_eq!(inward(range((-61, 60)), 60), Some(range((-60, 59))));
        assert_eq!(inward(range((1, 118)), 60), None);
        assert_eq!(inward(TimeRange::ALL, 60), None, "ends that cannot be rounded are none");
    }

    #[test]
    fn common_ranges_are_in_both() {
        let one = [range((0, 9)), range((20, 29))];
        assert_eq!(common(&one, &[range((5, 24))]), [range((5, 9)), range((20, 24))]);
    }
}
