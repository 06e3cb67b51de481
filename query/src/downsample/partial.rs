//! Buckets of stretches as the kernel reduced them, not combined yet: a table that grows by a few
//! rows a stretch, column by column.

use super::aggregates::{Ask, Input};
use super::lane::{Lane, Slice, Values};
use super::piece::{Piece, Stretch};
use super::quantile::Kept;
use crate::scan::FieldChunk;
use std::any::Any;
use std::sync::Arc;
use warpline_kernel::{Edges, Grid, NO_ROW, Reduced, bounds, increase, reduce};
use warpline_storage::model::FieldType;

/// What is asked of an input in all.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each asks for columns of its own")]
pub(super) struct Needs {
    /// Count, min, max, sum.
    pub spread: bool,
    /// Values in the first and last row.
    pub rows: bool,
    /// First and last value.
    pub ends: bool,
    pub increase: bool,
    pub delta: bool,
    /// Every value.
    pub values: bool,
}

impl Needs {
    pub(super) fn of(input: Input, asks: &[Ask]) -> Self {
        let own = asks.iter().filter(|ask| ask.input() == Some(input));
        own.fold(Self::default(), |needs, ask| match ask {
            Ask::FirstRow(_) | Ask::LastRow(_) => Self { rows: true, ..needs },
            Ask::First(_) | Ask::Last(_) => Self { ends: true, ..needs },
            Ask::Increase(_) => Self { increase: true, ..needs },
            Ask::Delta(_) => Self { delta: true, ..needs },
            Ask::Quantile(..) => Self { values: true, ..needs },
            _ => Self { spread: true, ..needs },
        })
    }

    pub(super) fn steps(self) -> bool {
        self.increase || self.delta
    }
}

/// A column to be reduced.
#[derive(Clone, Copy, Debug)]
pub(super) struct InputPlan {
    pub input: Input,
    pub needs: Needs,
    /// Its type in the table; time counts as a 64-bit integer.
    pub field_type: FieldType,
    /// Its place among a piece's fields; `None` for time.
    pub place: Option<usize>,
}

/// A value and when it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point<T> {
    pub time: i64,
    pub value: Option<T>,
}

/// What a stretch needs to be joined to the one before it in its series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joint<T> {
    pub series: u32,
    pub first_time: i64,
    pub first: T,
    /// The row of the partial table that the first value is in.
    pub row: u32,
    pub last_time: i64,
    pub last: T,
    /// The tier's bucket, width and start, that a row of a rollup is of. Its increase has the
    /// steps between rows of one bucket.
    pub rolled: Option<(i64, i64)>,
}

/// Steps within stretches, and what is needed to add those between them.
#[derive(Debug)]
pub(super) struct Steps<T: Lane> {
    pub increase: Vec<T::Total>,
    pub delta: Vec<T::Total>,
    /// Whether a step ends in the row.
    pub any: Vec<bool>,
    pub joints: Vec<Joint<T>>,
}

/// One input's columns of a partial table.
#[derive(Debug)]
pub(super) struct Table<T: Lane> {
    needs: Needs,
    pub reduced: Reduced<T>,
    pub first_row: Vec<Point<T>>,
    pub last_row: Vec<Point<T>>,
    pub first: Vec<Point<T>>,
    pub last: Vec<Point<T>>,
    pub steps: Steps<T>,
    pub kept: Kept<T>,
}

impl<T: Lane> Table<T> {
    fn new(needs: Needs) -> Self {
        Self {
            needs,
            reduced: Reduced::default(),
            first_row: Vec::new(),
            last_row: Vec::new(),
            first: Vec::new(),
            last: Vec::new(),
            steps: Steps {
                increase: Vec::new(),
                delta: Vec::new(),
                any: Vec::new(),
                joints: Vec::new(),
            },
            kept: Kept::default(),
        }
    }

    pub(super) fn needs(&self) -> Needs {
        self.needs
    }

    /// `base` is the row of the partial table that the first bucket gets.
    fn add(&mut self, slice: Slice<'_, T>, times: &[i64], ends: &[u32], base: u32, series: u32) {
        if self.needs.spread {
            reduce(slice.values, slice.validity, ends, &mut self.reduced);
        }
        if self.needs.rows {
            self.add_rows(slice, times, ends);
        }
        if self.needs.values {
            let mut start = 0;
            for end in ends {
                let rows = std::mem::replace(&mut start, *end)..*end;
                self.kept.add(rows.filter_map(|row| slice.get(row as usize)));
            }
        }
        let (mut first, mut last) = (Vec::new(), Vec::new());
        if self.needs.ends || self.needs.steps() && T::IS_EXACT {
            bounds(slice.validity, ends, &mut first, &mut last);
        }
        if self.needs.ends {
            let point = |row: &u32| point(slice, times, *row);
            self.first.extend(first.iter().map(point));
            self.last.extend(last.iter().map(point));
        }
        if self.needs.steps() {
            self.add_steps(slice, times, (ends, base), (&first, &last), series);
        }
    }

    fn add_rows(&mut self, slice: Slice<'_, T>, times: &[i64], ends: &[u32]) {
        let mut start = 0;
        for end in ends {
            self.first_row.push(point(slice, times, start));
            self.last_row.push(point(slice, times, end - 1));
            start = *end;
        }
    }

    /// `rows` are the first and the last row with a value of each bucket, `NO_ROW` without one;
    /// of no use where steps are not exact.
    fn add_steps(
        &mut self,
        slice: Slice<'_, T>,
        times: &[i64],
        (ends, base): (&[u32], u32),
        rows: (&[u32], &[u32]),
        series: u32,
    ) {
        if self.needs.increase {
            self.add_increase(slice, ends);
        }
        let joint = |bucket: usize, row: usize| {
            let (time, value) = (times[row], slice.values[row]);
            Joint {
                series,
                first_time: time,
                first: value,
                row: base + bucket as u32,
                last_time: time,
                last: value,
                rolled: None,
            }
        };
        let seen = if T::IS_EXACT {
            self.add_ends(slice, times, rows, joint)
        } else {
            self.add_each(slice, times, ends, joint)
        };
        self.steps.joints.extend(seen);
    }

    fn add_increase(&mut self, slice: Slice<'_, T>, ends: &[u32]) {
        let all = &mut self.steps.increase;
        if slice.is_level && T::IS_EXACT {
            all.resize(all.len() + ends.len(), T::Total::default());
            return;
        }
        let mut grown = Vec::with_capacity(ends.len());
        increase(slice.values, slice.validity, ends, None, &mut grown);
        all.extend(grown.into_iter().map(T::of_increase));
    }

    /// Exact steps are together what lies between their ends.
    fn add_ends(
        &mut self,
        slice: Slice<'_, T>,
        times: &[i64],
        (first, last): (&[u32], &[u32]),
        joint: impl Fn(usize, usize) -> Joint<T>,
    ) -> Option<Joint<T>> {
        let mut seen: Option<Joint<T>> = None;
        for (bucket, (first, last)) in first.iter().zip(last).enumerate() {
            let (mut any, mut delta) = (false, T::Total::default());
            if *first != NO_ROW {
                let (first, last) = (*first as usize, *last as usize);
                any = seen.is_some() || first < last;
                let seen = seen.get_or_insert_with(|| joint(bucket, first));
                delta = slice.values[last].difference(seen.last);
                (seen.last_time, seen.last) = (times[last], slice.values[last]);
            }
            self.push_steps(any, delta);
        }
        seen
    }

    fn add_each(
        &mut self,
        slice: Slice<'_, T>,
        times: &[i64],
        ends: &[u32],
        joint: impl Fn(usize, usize) -> Joint<T>,
    ) -> Option<Joint<T>> {
        let mut seen: Option<Joint<T>> = None;
        let mut start = 0;
        for (bucket, end) in ends.iter().enumerate() {
            let (mut any, mut delta) = (false, T::Total::default());
            for row in start..*end {
                let row = row as usize;
                let Some(value) = slice.get(row).filter(|value| value.is_number()) else {
                    continue;
                };
                let Some(seen) = &mut seen else {
                    seen = Some(joint(bucket, row));
                    continue;
                };
                any = true;
                delta += value.difference(seen.last);
                (seen.last_time, seen.last) = (times[row], value);
            }
            self.push_steps(any, delta);
            start = *end;
        }
        seen
    }

    fn push_steps(&mut self, any: bool, delta: T::Total) {
        self.steps.any.push(any);
        if self.needs.delta {
            self.steps.delta.push(delta);
        }
    }

    /// Adds the step from the stretch before to the row of a later stretch's first value.
    pub(super) fn join(&mut self, earlier: &Joint<T>, later: &Joint<T>) {
        let row = later.row as usize;
        let has_step = later.rolled.is_some() && later.rolled == earlier.rolled;
        self.steps.any[row] = true;
        if self.needs.increase && !has_step {
            self.steps.increase[row] += later.first.growth(earlier.last);
        }
        if self.needs.delta {
            self.steps.delta[row] += later.first.difference(earlier.last);
        }
    }

    fn joint_bytes(&self) -> usize {
        self.steps.joints.len() * size_of::<(usize, Joint<T>)>()
    }

    fn bytes(&self) -> usize {
        let reduced = &self.reduced;
        let spread = 4 + 2 * size_of::<T>() + size_of::<T::Sum>();
        let points = [&self.first_row, &self.last_row, &self.first, &self.last];
        let points: usize = points.iter().map(|points| points.capacity()).sum();
        let steps = &self.steps;
        reduced.count.capacity() * spread
            + points * size_of::<Point<T>>()
            + (steps.increase.capacity() + steps.delta.capacity()) * size_of::<T::Total>()
            + self.kept.bytes()
            + steps.any.capacity()
            + steps.joints.capacity() * size_of::<Joint<T>>()
    }
}

fn point<T: Lane>(slice: Slice<'_, T>, times: &[i64], row: u32) -> Point<T> {
    if row == NO_ROW {
        return Point { time: 0, value: None };
    }
    let row = row as usize;
    Point { time: times[row], value: slice.get(row) }
}

/// A `Table` of whichever type.
#[derive(Debug)]
pub(super) enum InputTable {
    Int16(Table<i16>),
    Int32(Table<i32>),
    Int64(Table<i64>),
    Float64(Table<f64>),
}

/// Evaluates an expression with the table inside, whatever its type.
macro_rules! with_table {
    ($input:expr, $table:ident => $body:expr) => {
        match $input {
            InputTable::Int16($table) => $body,
            InputTable::Int32($table) => $body,
            InputTable::Int64($table) => $body,
            InputTable::Float64($table) => $body,
        }
    };
}

pub(super) use with_table;

impl InputTable {
    fn new(plan: &InputPlan) -> Self {
        match (plan.field_type, plan.field_type.width()) {
            (FieldType::Float64, _) => Self::Float64(Table::new(plan.needs)),
            (_, 1 | 2) => Self::Int16(Table::new(plan.needs)),
            (_, 4) => Self::Int32(Table::new(plan.needs)),
            _ => Self::Int64(Table::new(plan.needs)),
        }
    }

    /// The table, which must be of this type.
    pub(super) fn of<T: Lane>(&self) -> &Table<T> {
        let table: &dyn Any = with_table!(self, table => table);
        table.downcast_ref().expect("all tables of an input have its type")
    }

    pub(super) fn of_mut<T: Lane>(&mut self) -> &mut Table<T> {
        let table: &mut dyn Any = with_table!(self, table => table);
        table.downcast_mut().expect("all tables of an input have its type")
    }
}

/// Buckets of one stretch: rows of the partial table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub group: u32,
    pub start: u32,
    pub end: u32,
}

/// The partial table of one thread.
#[derive(Debug)]
pub(super) struct Partial {
    grid: Option<Grid>,
    inputs: Arc<[InputPlan]>,
    pub segments: Vec<Segment>,
    /// By row: the bucket's number, and how many rows it has.
    pub numbers: Vec<i64>,
    pub rows: Vec<u32>,
    pub tables: Vec<InputTable>,
    /// Of the last stretch; kept for its memory.
    edges: Edges,
}

impl Partial {
    pub(super) fn new(grid: Option<Grid>, inputs: Arc<[InputPlan]>) -> Self {
        let tables = inputs.iter().map(InputTable::new).collect();
        Self {
            grid,
            inputs,
            segments: Vec::new(),
            numbers: Vec::new(),
            rows: Vec::new(),
            tables,
            edges: Edges::default(),
        }
    }

    /// Reduces every stretch of a piece, input by input, so that each column is read in one go.
    pub(super) fn add(&mut self, piece: &Piece) {
        let before = self.segments.len();
        let base = self.numbers.len();
        let mut ends = Vec::new();
        for stretch in &piece.stretches {
            self.add_buckets(piece, stretch, &mut ends);
        }
        let segments = &self.segments[before..];
        for (plan, table) in self.inputs.iter().zip(&mut self.tables) {
            let column = plan.place.map(|place| &piece.fields[place]);
            with_table!(table, table => add_column(table, column, piece, segments, (&ends, base)));
        }
    }

    /// Appends a stretch's buckets, and where each ends in the stretch to `ends`.
    pub(super) fn add_buckets(&mut self, piece: &Piece, stretch: &Stretch, ends: &mut Vec<u32>) {
        let times = &piece.times[stretch.rows.start as usize..stretch.rows.end as usize];
        let edges = &mut self.edges;
        match self.grid {
            Some(grid) => edges.find(times, grid),
            None => edges.whole(times.len(), 0),
        }
        let start = self.numbers.len() as u32;
        self.numbers.extend_from_slice(edges.numbers());
        let mut row = 0;
        self.rows.extend(edges.ends().iter().map(|end| end - std::mem::replace(&mut row, *end)));
        let end = self.numbers.len() as u32;
        self.segments.push(Segment { group: stretch.group, start, end });
        ends.extend_from_slice(edges.ends());
    }

    /// Bytes of the joints of all inputs, each with the number of its table.
    pub(super) fn joint_bytes(&self) -> usize {
        let bytes = |table: &InputTable| with_table!(table, table => table.joint_bytes());
        self.tables.iter().map(bytes).sum()
    }

    pub(super) fn bytes(&self) -> usize {
        let tables = self.tables.iter().map(|table| with_table!(table, table => table.bytes()));
        self.segments.capacity() * size_of::<Segment>()
            + self.numbers.capacity() * (size_of::<i64>() + size_of::<u32>())
            + tables.sum::<usize>()
    }
}

fn add_column<T: Lane>(
    table: &mut Table<T>,
    column: Option<&FieldChunk>,
    piece: &Piece,
    segments: &[Segment],
    (ends, base): (&[u32], usize),
) {
    let time = || Values::new(piece.times.inner().clone(), piece.times.len());
    let values: Values<T> = column.map_or_else(time, Values::of);
    let mut scratch = Vec::new();
    for (stretch, segment) in piece.stretches.iter().zip(segments) {
        let (start, rows) = (stretch.rows.start as usize, stretch.rows.len());
        let times = &piece.times[start..start + rows];
        let slice = values.slice(start, rows, &mut scratch);
        let ends = &ends[segment.start as usize - base..segment.end as usize - base];
        table.add(slice, times, ends, segment.start, stretch.series);
    }
}
