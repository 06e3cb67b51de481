//! One field of a tier: what each run keeps of it, and the columns made of that.

use super::columns::{FieldColumns, Kept};
use super::cut::Cuts;
use super::lane::{Lane, Values, column};
use crate::model::{FieldType, Timestamp};
use arrow::array::{ArrayRef, Int32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use std::fmt::Debug;
use std::sync::Arc;
use warpline_kernel::{Reduced, bounds, increase, reduce};

/// What a run keeps of a field.
#[derive(Clone, Copy, Debug)]
struct Cell<T: Lane> {
    count: i64,
    min: T,
    max: T,
    /// Without a meaning where the count is zero.
    first: T,
    last: T,
    /// `None` where it is not known.
    sum: Option<T::Total>,
    increase: Option<T::Total>,
}

impl<T: Lane> Cell<T> {
    /// Goes on with what comes after it in the same run.
    fn follow(&mut self, later: Self) {
        if self.count == 0 {
            self.first = later.first;
        }
        if later.count > 0 {
            self.last = later.last;
        }
        self.count += later.count;
        self.min = self.min.lesser(later.min);
        self.max = self.max.greater(later.max);
        self.sum = plus::<T>(self.sum, later.sum);
        self.increase = plus::<T>(self.increase, later.increase);
    }

    /// The increase, if the steps to the runs beside it can be told: its first and last value are
    /// numbers, or there are none in between.
    fn joinable_increase(&self) -> Option<T::Total> {
        let joinable = !self.min.is_number() || (self.first.is_number() && self.last.is_number());
        self.increase.filter(|_| joinable)
    }
}

fn plus<T: Lane>(one: Option<T::Total>, other: Option<T::Total>) -> Option<T::Total> {
    let (mut total, other) = (one?, other?);
    total += other;
    Some(total)
}

/// A tier's columns of one field in a batch.
#[derive(Debug)]
pub(super) struct TierBatch<'a> {
    pub times: &'a [Timestamp],
    /// By `Kept`.
    pub columns: [ArrayRef; Kept::ALL.len()],
}

/// A field's `Cells`, whatever its type.
pub(super) trait FieldCells: Debug + Send {
    /// Adds the runs of a batch of raw rows.
    fn reduce(&mut self, values: &ArrayRef, cuts: &Cuts);
    /// Adds the runs of a batch of another tier's rows.
    fn combine(&mut self, rows: &TierBatch<'_>, cuts: &Cuts);
    /// Ends the last run.
    fn close(&mut self);
    /// Takes out the first runs, and puts each column in its place among the tier's fields.
    fn take(&mut self, runs: usize, fields: &mut [Option<ArrayRef>]);
}

/// Cells for a field of that type, kept in those columns.
pub(super) fn cells(field_type: FieldType, columns: FieldColumns) -> Box<dyn FieldCells> {
    match (field_type, field_type.width()) {
        (FieldType::Float64, _) => Box::new(Cells::<f64>::new(field_type, columns)),
        (_, 1 | 2) => Box::new(Cells::<i16>::new(field_type, columns)),
        (_, 4) => Box::new(Cells::<i32>::new(field_type, columns)),
        _ => Box::new(Cells::<i64>::new(field_type, columns)),
    }
}

/// The cells of runs, column by column; the last run is open until another begins.
#[derive(Debug)]
struct Cells<T: Lane> {
    field_type: FieldType,
    columns: FieldColumns,
    open: Option<Cell<T>>,
    count: Vec<i64>,
    min: Vec<T>,
    max: Vec<T>,
    first: Vec<T>,
    last: Vec<T>,
    sum: Totals<T>,
    increase: Totals<T>,
    /// The last number of the bucket so far.
    before: Option<T>,
    scratch: Scratch<T>,
}

/// Totals as they are stored.
#[derive(Debug)]
struct Totals<T: Lane> {
    /// The largest that is stored.
    magnitude: i64,
    values: Vec<T::Narrow>,
    present: Vec<bool>,
}

/// What the kernel says of a batch; kept for its memory.
#[derive(Debug, Default)]
struct Scratch<T: Lane> {
    reduced: Reduced<T>,
    first: Vec<u32>,
    last: Vec<u32>,
    grown: Vec<T::Wide>,
}

impl<T: Lane> Totals<T> {
    fn new(field_type: FieldType) -> Self {
        let magnitude = field_type.max_magnitude().unwrap_or(i64::MAX);
        Self { magnitude, values: Vec::new(), present: Vec::new() }
    }

    fn push(&mut self, total: Option<T::Total>) {
        let stored = total.and_then(|total| T::fit(total, self.magnitude));
        self.present.push(stored.is_some());
        self.values.push(stored.unwrap_or_default());
    }

    fn take(&mut self, runs: usize, field_type: FieldType) -> ArrayRef {
        let nulls = BooleanBuffer::from(front(&mut self.present, runs));
        column(front(&mut self.values, runs), Some(NullBuffer::new(nulls)), field_type)
    }
}

/// Takes out the first entries.
fn front<V>(values: &mut Vec<V>, entries: usize) -> Vec<V> {
    let rest = values.split_off(entries);
    std::mem::replace(values, rest)
}

impl<T: Lane> Cells<T> {
    fn new(field_type: FieldType, columns: FieldColumns) -> Self {
        Self {
            field_type,
            columns,
            open: None,
            count: Vec::new(),
            min: Vec::new(),
            max: Vec::new(),
            first: Vec::new(),
            last: Vec::new(),
            sum: Totals::new(Kept::Sum.field_type(field_type)),
            increase: Totals::new(Kept::Increase.field_type(field_type)),
            before: None,
            scratch: Scratch::default(),
        }
    }

    fn keeps(&self, kept: Kept) -> bool {
        self.columns.place(kept).is_some()
    }

    fn add(&mut self, cell: Cell<T>, continues: bool) {
        match &mut self.open {
            Some(open) if continues => open.follow(cell),
            open => {
                if let Some(ended) = open.replace(cell) {
                    self.push(&ended);
                }
            }
        }
    }

    fn push(&mut self, cell: &Cell<T>) {
        self.count.push(cell.count);
        self.min.push(cell.min);
        self.max.push(cell.max);
        self.first.push(cell.first);
        self.last.push(cell.last);
        let some = cell.count > 0;
        if self.keeps(Kept::Sum) {
            self.sum.push(cell.sum.filter(|_| some));
        }
        if self.keeps(Kept::Increase) {
            self.increase.push(cell.joinable_increase().filter(|_| some));
        }
    }

    /// How much each run grew, the steps within its bucket from earlier runs included.
    fn find_increases(&mut self, values: &Values<T>, cuts: &Cuts, grown: &mut Vec<T::Wide>) {
        let (mut run, mut start) = (0, 0);
        let mut ends = Vec::new();
        for (bucket, until) in cuts.buckets.iter().enumerate() {
            let runs = &cuts.ends[run..*until as usize];
            let end = runs.last().map_or(start, |end| *end as usize);
            ends.clear();
            ends.extend(runs.iter().map(|end| end - start as u32));
            let before = self.before.filter(|_| bucket == 0 && cuts.bucket_continues);
            let rows = &values.all()[start..end];
            self.before = increase(rows, values.validity(start), &ends, before, grown);
            (run, start) = (*until as usize, end);
        }
    }
}

impl<T: Lane> FieldCells for Cells<T> {
    fn reduce(&mut self, values: &ArrayRef, cuts: &Cuts) {
        let values = Values::<T>::of(values);
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        reduce(values.all(), values.validity(0), &cuts.ends, &mut scratch.reduced);
        bounds(values.validity(0), &cuts.ends, &mut scratch.first, &mut scratch.last);
        if self.keeps(Kept::Increase) {
            self.find_increases(&values, cuts, &mut scratch.grown);
        }
        let value = |row: u32| values.all().get(row as usize).copied().unwrap_or_default();
        for run in 0..cuts.ends.len() {
            let grown = scratch.grown.get(run).copied().unwrap_or_default();
            let cell = Cell {
                count: i64::from(scratch.reduced.count[run]),
                min: scratch.reduced.min[run],
                max: scratch.reduced.max[run],
                first: value(scratch.first[run]),
                last: value(scratch.last[run]),
                sum: Some(T::of_sum(scratch.reduced.sum[run])),
                increase: Some(T::of_increase(grown)),
            };
            self.add(cell, run == 0 && cuts.run_continues);
        }
        self.scratch = scratch;
    }

    fn combine(&mut self, rows: &TierBatch<'_>, cuts: &Cuts) {
        let column = |kept: Kept| &rows.columns[kept as usize];
        let of = |kept| Values::<T>::of(column(kept));
        let (min, max) = (of(Kept::Min), of(Kept::Max));
        let (first, last) = (of(Kept::First), of(Kept::Last));
        let counts = reduced(&Values::<i32>::of(column(Kept::Count)), cuts);
        let sums = reduced(&Values::<T::Narrow>::of(column(Kept::Sum)), cuts);
        let parts = Parts { first: &first, last: &last, min: &min, times: rows.times };
        let increases = parts.increases(&Values::of(column(Kept::Increase)), cuts);
        let (minima, maxima) = (reduced(&min, cuts), reduced(&max, cuts));
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        bounds(first.validity(0), &cuts.ends, &mut scratch.first, &mut Vec::new());
        bounds(last.validity(0), &cuts.ends, &mut Vec::new(), &mut scratch.last);
        let value = |of: &Values<T>, row: u32| of.all().get(row as usize).copied();
        for (run, grown) in increases.into_iter().enumerate() {
            let all_known = sums.count[run] == minima.count[run];
            let cell = Cell {
                count: counts.sum[run],
                min: minima.min[run],
                max: maxima.max[run],
                first: value(&first, scratch.first[run]).unwrap_or_default(),
                last: value(&last, scratch.last[run]).unwrap_or_default(),
                sum: all_known.then(|| T::Narrow::of_sum(sums.sum[run])),
                increase: grown,
            };
            self.add(cell, run == 0 && cuts.run_continues);
        }
        self.scratch = scratch;
    }

    fn close(&mut self) {
        if let Some(ended) = self.open.take() {
            self.push(&ended);
        }
    }

    fn take(&mut self, runs: usize, fields: &mut [Option<ArrayRef>]) {
        let counts = front(&mut self.count, runs);
        let some: BooleanBuffer = counts.iter().map(|count| *count > 0).collect();
        let some = Some(NullBuffer::new(some)).filter(|nulls| nulls.null_count() > 0);
        let field_type = self.field_type;
        let values = |values: &mut Vec<T>| column(front(values, runs), some.clone(), field_type);
        let mut all: Vec<(Kept, ArrayRef)> = vec![
            (Kept::Min, values(&mut self.min)),
            (Kept::Max, values(&mut self.max)),
            (Kept::First, values(&mut self.first)),
            (Kept::Last, values(&mut self.last)),
        ];
        // A field has no more values than its run has rows, which were checked.
        let counts = counts.into_iter().map(|count| count as i32);
        all.push((Kept::Count, Arc::new(Int32Array::from_iter_values(counts))));
        for (kept, totals) in [(Kept::Sum, &mut self.sum), (Kept::Increase, &mut self.increase)] {
            if self.columns.place(kept).is_some() {
                all.push((kept, totals.take(runs, kept.field_type(field_type))));
            }
        }
        for (kept, column) in all {
            if let Some(place) = self.columns.place(kept) {
                fields[place] = Some(column);
            }
        }
    }
}

impl<T: Lane> Scratch<T> {
    fn clear(&mut self) {
        self.reduced.clear();
        self.first.clear();
        self.last.clear();
        self.grown.clear();
    }
}

fn reduced<T: Lane>(values: &Values<T>, cuts: &Cuts) -> Reduced<T> {
    let mut reduced = Reduced::default();
    reduce(values.all(), values.validity(0), &cuts.ends, &mut reduced);
    reduced
}

/// Rows of a tier in time, about to become runs of a wider one.
struct Parts<'a, T: Lane> {
    first: &'a Values<T>,
    last: &'a Values<T>,
    min: &'a Values<T>,
    times: &'a [Timestamp],
}

impl<T: Lane> Parts<'_, T> {
    /// How much each run grew: what its parts grew by, and the steps from bucket to bucket of the
    /// narrower tier. A part knows the step from the parts before it in its own bucket.
    fn increases(&self, parts: &Values<T::Narrow>, cuts: &Cuts) -> Vec<Option<T::Total>> {
        let mut increases = Vec::with_capacity(cuts.ends.len());
        let (mut run, mut row) = (0, 0);
        for until in &cuts.buckets {
            let mut seen: Option<(Timestamp, Option<T>)> = None;
            for end in &cuts.ends[run..*until as usize] {
                let mut total = Some(T::Total::default());
                for row in row..*end as usize {
                    if !self.min.get(row).is_some_and(Lane::is_number) {
                        continue;
                    }
                    let step = self.step(seen, row);
                    let own = parts.get(row).map(Lane::total);
                    total = plus::<T>(total, plus::<T>(own, step));
                    let last = self.last.get(row).filter(|last| last.is_number());
                    seen = Some((self.times[row], last));
                }
                increases.push(total);
                row = *end as usize;
            }
            run = *until as usize;
        }
        increases
    }

    /// The step to a row from the one before that had numbers, `None` where it is not known.
    fn step(&self, seen: Option<(Timestamp, Option<T>)>, row: usize) -> Option<T::Total> {
        match seen {
            Some((time, last)) if time != self.times[row] => {
                let first = self.first.get(row).filter(|first| first.is_number());
                Some(first?.growth(last?))
            }
            _ => Some(T::Total::default()),
        }
    }
}
