//! Rows of a rollup as partial buckets: each stands for the raw rows of one series in its bucket.

use super::aggregates::{Ask, Input};
use super::lane::{Lane, Values};
use super::partial::{InputTable, Partial, Point, Segment, Table, with_table};
use super::piece::Piece;
use super::question::Question;
use datafusion::common::exec_err;
use datafusion::error::Result;
use std::cmp::Ordering;
use warpline_storage::TierSnapshot;
use warpline_storage::model::{FieldType, TableSchema};
use warpline_storage::rollup::{FieldColumns, Kept};

/// Where a tier keeps what is asked of one input: numbers of the tier's columns.
#[derive(Clone, Copy, Debug)]
struct RolledInput {
    count: usize,
    min: usize,
    max: usize,
    first: usize,
    last: usize,
    /// `None` where no sum is asked for.
    sum: Option<usize>,
}

/// What is read of a tier's rows.
#[derive(Debug)]
pub(super) struct RolledPlan {
    rows: usize,
    first_time: usize,
    last_time: usize,
    /// As the question's inputs.
    inputs: Vec<RolledInput>,
}

impl RolledPlan {
    /// `None` where the tier does not keep what is asked, or may have had to leave it out.
    pub(super) fn of(question: &Question, tier: &TierSnapshot) -> Option<Self> {
        let schema = &tier.table.schema;
        let named = |name: &str| schema.column_names().position(|own| own == name);
        let inputs = question.inputs().into_iter();
        Some(Self {
            rows: named("rows")?,
            first_time: named("first_time")?,
            last_time: named("last_time")?,
            inputs: inputs
                .map(|input| rolled_input(question, schema, input))
                .collect::<Option<_>>()?,
        })
    }

    /// The tier's columns that are read, by number.
    pub(super) fn columns(&self) -> impl Iterator<Item = usize> {
        let ends = [self.rows, self.first_time, self.last_time];
        let inputs = self.inputs.iter().flat_map(|input| {
            let RolledInput { count, min, max, first, last, sum } = *input;
            [count, min, max, first, last].into_iter().chain(sum)
        });
        ends.into_iter().chain(inputs)
    }

    /// The same with places among the fields that a piece has.
    pub(super) fn placed(self, fields: &[usize]) -> Self {
        let place = |column| fields.iter().position(|own| *own == column).expect("it is read");
        let input = |input: RolledInput| RolledInput {
            count: place(input.count),
            min: place(input.min),
            max: place(input.max),
            first: place(input.first),
            last: place(input.last),
            sum: input.sum.map(place),
        };
        Self {
            rows: place(self.rows),
            first_time: place(self.first_time),
            last_time: place(self.last_time),
            inputs: self.inputs.into_iter().map(input).collect(),
        }
    }
}

fn rolled_input(question: &Question, tier: &TableSchema, input: Input) -> Option<RolledInput> {
    let Input::Field(number) = input else { return None };
    let raw = &question.table.schema;
    let field = &raw.fields[number - raw.first_field()];
    let columns = FieldColumns::of(tier, field);
    let column = |kept| columns.place(kept).map(|place| place + tier.first_field());
    let sums = question.asks.iter().any(|ask| match ask {
        Ask::Exact(own, _) | Ask::Sum(own) | Ask::Mean(own) => *own == input,
        _ => false,
    });
    // A sum of wide integers may have been too large for the tier's column.
    let is_narrow = field.field_type == FieldType::Float64 || field.field_type.width() <= 4;
    if sums && !is_narrow {
        return None;
    }
    Some(RolledInput {
        count: column(Kept::Count)?,
        min: column(Kept::Min)?,
        max: column(Kept::Max)?,
        first: column(Kept::First)?,
        last: column(Kept::Last)?,
        sum: if sums { Some(column(Kept::Sum)?) } else { None },
    })
}

impl Partial {
    /// Takes rows of a tier, whose times are their buckets' starts; fails at a sum that the tier
    /// had to leave out.
    pub(super) fn add_rolled(&mut self, piece: &Piece, plan: &RolledPlan) -> Result<()> {
        let (before, base) = (self.segments.len(), self.numbers.len());
        let mut ends = Vec::new();
        for stretch in &piece.stretches {
            self.add_buckets(piece, stretch, &mut ends);
        }
        let rows: Values<i32> = Values::of(&piece.fields[plan.rows]);
        let segments = &self.segments[before..];
        let buckets = Buckets { piece, segments, ends: &ends, base };
        buckets.each(|bucket, range| {
            let rows = range.map(|row| rows.at(row).unwrap_or(0).cast_unsigned());
            self.rows[bucket] = rows.sum();
        });
        for (input, table) in plan.inputs.iter().zip(&mut self.tables) {
            with_table!(table, table => add_column(table, &buckets, input, plan))?;
        }
        Ok(())
    }
}

/// Where buckets lie in a piece.
struct Buckets<'a> {
    piece: &'a Piece,
    segments: &'a [Segment],
    ends: &'a [u32],
    base: usize,
}

impl Buckets<'_> {
    /// Calls `each` with a row of the partial table and the piece's rows in it.
    fn each(&self, mut each: impl FnMut(usize, std::ops::Range<usize>)) {
        for (stretch, segment) in self.piece.stretches.iter().zip(self.segments) {
            let mut from = stretch.rows.start as usize;
            for bucket in segment.start as usize..segment.end as usize {
                let end = (stretch.rows.start + self.ends[bucket - self.base]) as usize;
                each(bucket, std::mem::replace(&mut from, end)..end);
            }
        }
    }
}

fn add_column<T: Lane>(
    table: &mut Table<T>,
    buckets: &Buckets,
    input: &RolledInput,
    plan: &RolledPlan,
) -> Result<()> {
    let fields = &buckets.piece.fields;
    let counts: Values<i32> = Values::of(&fields[input.count]);
    let [min, max, first, last] = [input.min, input.max, input.first, input.last]
        .map(|place| Values::<T>::of(&fields[place]));
    let sums = input.sum.map(|place| Values::<T::Rolled>::of(&fields[place]));
    let [starts, ends] =
        [plan.first_time, plan.last_time].map(|place| Values::<i64>::of(&fields[place]));
    let needs = table.needs();
    let mut lacking = false;
    buckets.each(|_, rows| {
        let present = |row: &usize| counts.at(*row).is_some_and(|count| count > 0);
        let rows: Vec<usize> = rows.filter(present).collect();
        if needs.spread {
            let reduced = &mut table.reduced;
            let count: i64 = rows.iter().filter_map(|row| counts.at(*row)).map(i64::from).sum();
            reduced.count.push(count as u32);
            reduced.min.push(best(&min, &rows, T::LARGEST, Ordering::Less));
            reduced.max.push(best(&max, &rows, T::SMALLEST, Ordering::Greater));
            let parts = || sums.iter().flat_map(|sums| rows.iter().map(|row| sums.at(*row)));
            lacking |= parts().any(|part| part.is_none());
            reduced.sum.push(T::sum_of(parts().flatten()));
        }
        if needs.ends {
            let point = |row: Option<&usize>, times: &Values<i64>, values: &Values<T>| {
                let point = row.map(|row| Point {
                    time: times.at(*row).unwrap_or_default(),
                    value: values.at(*row),
                });
                point.unwrap_or(Point { time: 0, value: None })
            };
            table.first.push(point(rows.first(), &starts, &first));
            table.last.push(point(rows.last(), &ends, &last));
        }
    });
    if lacking {
        return exec_err!(
            "a rollup left out a sum that was too large for its column; ask for a shorter range of \
             times, or set query.rollups = false to read raw rows"
        );
    }
    Ok(())
}

fn best<T: Lane>(values: &Values<T>, rows: &[usize], neutral: T, better: Ordering) -> T {
    let values = rows.iter().filter_map(|row| values.at(*row));
    values.fold(neutral, |best, value| if value.order(best) == better { value } else { best })
}
