//! Buckets of equal number in equal groups become one row of the answer.
//!
//! Most partial rows stand alone: a group that is one series has its stretches one after another
//! in time. So each partial row is first given the row of the answer that it goes to; then every
//! column is folded on its own.

use super::groups::Groups;
use super::lane::Lane;
use super::partial::{InputTable, Partial, Table};
use arrow::array::ArrayRef;

/// Where every partial row goes.
#[derive(Debug)]
pub(super) struct Combined {
    partials: Vec<Partial>,
    /// By partial table and row: the row of the answer.
    targets: Vec<Vec<u32>>,
    /// By row of the answer.
    groups: Vec<u32>,
    numbers: Vec<i64>,
}

/// A segment of one of the partial tables.
#[derive(Clone, Copy)]
struct Place {
    group: u32,
    first: i64,
    last: i64,
    partial: usize,
    start: usize,
    end: usize,
}

impl Combined {
    /// Of the partial tables of all threads, at least one.
    pub(super) fn of(partials: Vec<Partial>) -> Self {
        assert!(!partials.is_empty(), "somebody worked on the statement");
        let mut places = places(&partials);
        places.sort_unstable_by_key(|place| (place.group, place.first, place.partial, place.start));
        let targets = partials.iter().map(|partial| vec![0; partial.numbers.len()]).collect();
        let mut combined = Self { partials, targets, groups: Vec::new(), numbers: Vec::new() };
        for group in places.chunk_by(|one, other| one.group == other.group) {
            combined.take_group(group);
        }
        combined.join_steps();
        combined
    }

    /// Bytes that joining the steps of these tables takes for a while, at most.
    pub(super) fn scratch(partials: &[Partial]) -> usize {
        partials.iter().map(Partial::joint_bytes).sum()
    }

    /// One row of nothing: what an aggregate without keys answers where there are no rows.
    pub(super) fn or_one_row(mut self) -> Self {
        if self.numbers.is_empty() {
            self.groups.push(0);
            self.numbers.push(0);
        }
        self
    }

    pub(super) fn rows(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn numbers(&self) -> &[i64] {
        &self.numbers
    }

    pub(super) fn tag(&self, groups: &Groups, tag: usize) -> ArrayRef {
        groups.column(&self.groups, tag)
    }

    fn take_group(&mut self, places: &[Place]) {
        let base = self.numbers.len();
        if places.windows(2).all(|pair| pair[0].last < pair[1].first) {
            for place in places {
                let numbers = &self.partials[place.partial].numbers[place.start..place.end];
                let targets = &mut self.targets[place.partial][place.start..place.end];
                for (target, row) in targets.iter_mut().zip(self.numbers.len() as u32..) {
                    *target = row;
                }
                self.numbers.extend_from_slice(numbers);
            }
        } else {
            let all = self.numbers_of(places);
            for place in places {
                let numbers = &self.partials[place.partial].numbers[place.start..place.end];
                let targets = &mut self.targets[place.partial][place.start..place.end];
                let mut at = all.partition_point(|number| *number < numbers[0]);
                for (target, number) in targets.iter_mut().zip(numbers) {
                    while all[at] < *number {
                        at += 1;
                    }
                    *target = (base + at) as u32;
                }
            }
            self.numbers.extend(all);
        }
        self.groups.resize(self.numbers.len(), places[0].group);
    }

    /// The numbers of all buckets of some places, ascending, each once.
    fn numbers_of(&self, places: &[Place]) -> Vec<i64> {
        let mut all: Vec<i64> = Vec::new();
        let mut others = Vec::new();
        for place in places {
            let more = &self.partials[place.partial].numbers[place.start..place.end];
            let from = all.partition_point(|number| *number < more[0]);
            if from == all.len() {
                all.extend_from_slice(more);
            } else if !all[from..].starts_with(more) {
                others.extend_from_slice(more);
            }
        }
        if !others.is_empty() {
            all.extend(others);
            all.sort_unstable();
            all.dedup();
        }
        all
    }

    /// Adds the steps from each stretch of a series to the next, which belong to the later value.
    fn join_steps(&mut self) {
        let inputs = self.partials.first().map_or(0, |partial| partial.tables.len());
        for input in 0..inputs {
            let tables: Vec<_> =
                self.partials.iter_mut().map(|partial| &mut partial.tables[input]).collect();
            join_input(tables);
        }
    }

    /// Each partial table's columns of input number `at`, and where its rows go.
    pub(super) fn tables<T: Lane>(&self, at: usize) -> Vec<(&Table<T>, &[u32])> {
        let tables = self.partials.iter().map(|partial| partial.tables[at].of());
        tables.zip(self.targets.iter().map(Vec::as_slice)).collect()
    }

    /// How many rows each row of the answer stands for.
    pub(super) fn counts(&self) -> Vec<u64> {
        let mut folded = vec![0; self.rows()];
        for (partial, targets) in self.partials.iter().zip(&self.targets) {
            for (rows, target) in partial.rows.iter().zip(targets) {
                folded[*target as usize] += u64::from(*rows);
            }
        }
        folded
    }

    pub(super) fn first_table(&self, at: usize) -> &InputTable {
        &self.partials[0].tables[at]
    }
}

fn places(partials: &[Partial]) -> Vec<Place> {
    let mut places = Vec::new();
    for (number, partial) in partials.iter().enumerate() {
        places.extend(partial.segments.iter().map(|segment| {
            let (start, end) = (segment.start as usize, segment.end as usize);
            let (first, last) = (partial.numbers[start], partial.numbers[end - 1]);
            Place { group: segment.group, first, last, partial: number, start, end }
        }));
    }
    places
}

fn join_input(mut tables: Vec<&mut InputTable>) {
    let Some(first) = tables.first() else { return };
    match first {
        InputTable::Int16(_) => join::<i16>(&mut tables),
        InputTable::Int32(_) => join::<i32>(&mut tables),
        InputTable::Int64(_) => join::<i64>(&mut tables),
        InputTable::Float64(_) => join::<f64>(&mut tables),
    }
}

fn join<T: Lane>(tables: &mut [&mut InputTable]) {
    let mut tables: Vec<&mut Table<T>> = tables.iter_mut().map(|table| table.of_mut()).collect();
    let mut joints: Vec<_> = tables
        .iter()
        .enumerate()
        .flat_map(|(number, table)| table.steps.joints.iter().map(move |joint| (number, *joint)))
        .collect();
    joints.sort_unstable_by_key(|(_, joint)| (joint.series, joint.first_time));
    for pair in joints.windows(2) {
        let [(_, earlier), (number, later)] = pair else { unreachable!("windows of two") };
        if earlier.series == later.series {
            tables[*number].join(earlier, later);
        }
    }
}
