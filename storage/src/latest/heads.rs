//! Which row is the newest of each series, found by looking at rows one by one.
//!
//! Promises: rows offered in the order of their writes leave, for each series, the greatest time
//! and every write of that time, in order. Nothing of a row is kept but its place.

use crate::model::Timestamp;
use hashbrown::HashMap;

/// A row that is kept elsewhere: a source by its number, and a row of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) source: u32,
    pub(crate) row: u32,
}

/// The heads of series that the caller has numbered; 24 bytes each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heads {
    by_series: Vec<Option<Head>>,
    /// The writes of a head's key before its last, where it is `rewritten`.
    earlier: HashMap<u32, Vec<Place>>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    time: Timestamp,
    last: Place,
    rewritten: bool,
}

impl Heads {
    /// Looks at a row, which was written after those looked at before.
    pub(crate) fn offer(&mut self, series: u32, time: Timestamp, place: Place) {
        let at = series as usize;
        if self.by_series.len() <= at {
            self.by_series.resize(at + 1, None);
        }
        match &mut self.by_series[at] {
            Some(head) if time < head.time => {}
            Some(head) if time == head.time => {
                self.earlier.entry(series).or_default().push(head.last);
                (head.last, head.rewritten) = (place, true);
            }
            head => {
                if head.is_some_and(|head| head.rewritten) {
                    self.earlier.remove(&series);
                }
                *head = Some(Head { time, last: place, rewritten: false });
            }
        }
    }

    /// One more than the greatest number of a series.
    pub(crate) fn len(&self) -> usize {
        self.by_series.len()
    }

    /// Series, greatest time and the last write of that time, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Timestamp, Place)> {
        let numbered = (0..).zip(&self.by_series);
        numbered.filter_map(|(series, head)| head.map(|head| (series, head.time, head.last)))
    }

    /// The writes of a series' greatest time, in their order.
    pub(crate) fn writes(&self, series: u32) -> impl Iterator<Item = Place> {
        let head = self.by_series[series as usize];
        let rewritten = head.filter(|head| head.rewritten);
        let earlier = rewritten.map(|_| self.earlier[&series].iter().copied());
        earlier.into_iter().flatten().chain(head.map(|head| head.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_time_stays_with_all_its_writes() {
        let mut heads = Heads::default();
        for (row, time) in [5, 7, 6, 7, 7].into_iter().enumerate() {
            heads.offer(2, time, Place { source: 0, row: row as u32 });
        }
        let rows = |heads: &Heads| heads.writes(2).map(|place| place.row).collect::<Vec<_>>();
        assert_eq!(rows(&heads), [1, 3, 4]);
        heads.offer(2, 8, Place { source: 1, row: 9 });
        assert_eq!(rows(&heads), [9]);
        let all: Vec<_> = heads.iter().map(|(series, time, _)| (series, time)).collect();
        assert_eq!((all, heads.writes(0).count()), (vec![(2, 8)], 0));
    }
}
