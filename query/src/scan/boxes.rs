//! The times around those that two sources contest.

use warpline_storage::TimeRange;

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
    use warpline_storage::merged;

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
                    TimeRange { first: *first, last: first + width }.overlap(asked)
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
