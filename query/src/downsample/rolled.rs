//! Rows of a rollup as partial buckets: each stands for the raw rows of one series in its bucket.

use super::aggregates::{Ask, Input};
use super::lane::{Lane, Values};
use super::partial::{InputTable, Joint, Partial, Point, Segment, Table, with_table};
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
    /// `None` where no increase is asked for.
    increase: Option<usize>,
}

/// What is read of a tier's rows.
#[derive(Debug)]
pub(super) struct RolledPlan {
    /// Of a bucket, in microseconds.
    width: i64,
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
        let (rows, first_time, last_time) =
            (named("rows")?, named("first_time")?, named("last_time")?);
        let inputs = question.inputs().into_iter().map(|input| match input {
            Input::Time => Some(RolledInput::times(rows, first_time, last_time)),
            Input::Field(number) => rolled_field(question, schema, number),
        });
        let inputs = inputs.collect::<Option<_>>()?;
        Some(Self { width: tier.tier.width, rows, first_time, last_time, inputs })
    }

    /// The tier's columns that are read, by number.
    pub(super) fn columns(&self) -> impl Iterator<Item = usize> {
        let ends = [self.rows, self.first_time, self.last_time];
        let inputs = self.inputs.iter().flat_map(|input| {
            let RolledInput { count, min, max, first, last, sum, increase } = *input;
            [count, min, max, first, last].into_iter().chain(sum).chain(increase)
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
            increase: input.increase.map(place),
        };
        Self {
            width: self.width,
            rows: place(self.rows),
            first_time: place(self.first_time),
            last_time: place(self.last_time),
            inputs: self.inputs.into_iter().map(input).collect(),
        }
    }
}

impl RolledInput {
    /// Every row has a time.
    fn times(rows: usize, first_time: usize, last_time: usize) -> Self {
        Self {
            count: rows,
            min: first_time,
            max: last_time,
            first: first_time,
            last: last_time,
            sum: None,
            increase: None,
        }
    }
}

fn rolled_field(question: &Question, tier: &TableSchema, number: usize) -> Option<RolledInput> {
    let input = Input::Field(number);
    let raw = &question.table.schema;
    let field = &raw.fields[number - raw.first_field()];
    let columns = FieldColumns::of(tier, field);
    let column = |kept| columns.place(kept).map(|place| place + tier.first_field());
    let asks = || question.asks.iter().filter(|ask| ask.input() == Some(input));
    let sums = asks().any(|ask| matches!(ask, Ask::Exact(..) | Ask::Sum(_) | Ask::Mean(_)));
    let grows = asks().any(|ask| matches!(ask, Ask::Increase(_)));
    let steps = grows || asks().any(|ask| matches!(ask, Ask::Delta(_)));
    let is_double = field.field_type == FieldType::Float64;
    // A sum of wide integers may have been too large for the tier's column; steps of doubles are
    // not told from ends, which may be NaN.
    if sums && !is_double && field.field_type.width() > 4 || steps && is_double {
        return None;
    }
    Some(RolledInput {
        count: column(Kept::Count)?,
        min: column(Kept::Min)?,
        max: column(Kept::Max)?,
        first: column(Kept::First)?,
        last: column(Kept::Last)?,
        sum: if sums { Some(column(Kept::Sum)?) } else { None },
        increase: if grows { Some(column(Kept::Increase)?) } else { None },
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
        let rows: Values<i32> = column(piece, plan.rows)?;
        let segments = &self.segments[before..];
        let buckets = Buckets { piece, segments, ends: &ends, base };
        buckets.each(|bucket, _, range| {
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
    /// Calls `each` with a row of the partial table, its series and the piece's rows in it.
    fn each(&self, mut each: impl FnMut(usize, u32, std::ops::Range<usize>)) {
        for (stretch, segment) in self.piece.stretches.iter().zip(self.segments) {
            let mut from = stretch.rows.start as usize;
            for bucket in segment.start as usize..segment.end as usize {
                let end = (stretch.rows.start + self.ends[bucket - self.base]) as usize;
                each(bucket, stretch.series, std::mem::replace(&mut from, end)..end);
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
    let piece = buckets.piece;
    let counts: Values<i32> = column(piece, input.count)?;
    let (min, max) = (column::<T>(piece, input.min)?, column::<T>(piece, input.max)?);
    let (first, last) = (column::<T>(piece, input.first)?, column::<T>(piece, input.last)?);
    let rolled =
        |place: Option<usize>| place.map(|place| column::<T::Rolled>(piece, place)).transpose();
    let (sums, increases) = (rolled(input.sum)?, rolled(input.increase)?);
    let starts: Values<i64> = column(piece, plan.first_time)?;
    let ends: Values<i64> = column(piece, plan.last_time)?;
    let needs = table.needs();
    let mut lacking = false;
    buckets.each(|bucket, series, rows| {
        let count_of = |row| counts.at(row).unwrap_or(0).cast_unsigned();
        let rows: Vec<usize> = rows.filter(|row| count_of(*row) > 0).collect();
        if needs.spread {
            let reduced = &mut table.reduced;
            reduced.count.push(rows.iter().map(|row| count_of(*row)).sum());
            reduced.min.push(best(&min, &rows, T::LARGEST, Ordering::Less));
            reduced.max.push(best(&max, &rows, T::SMALLEST, Ordering::Greater));
            reduced.sum.push(total::<T>(sums.as_ref(), &rows, &mut lacking));
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
        if needs.steps() {
            let joints = rows.iter().filter_map(|row| {
                Some(Joint {
                    series,
                    first_time: starts.at(*row)?,
                    first: first.at(*row)?,
                    row: bucket as u32,
                    last_time: ends.at(*row)?,
                    last: last.at(*row)?,
                    rolled: Some((plan.width, buckets.piece.times[*row])),
                })
            });
            let joints: Vec<_> = joints.collect();
            table.steps.any.push(rows.iter().any(|row| count_of(*row) > 1));
            if needs.increase {
                let grown = total::<T>(increases.as_ref(), &rows, &mut lacking);
                table.steps.increase.push(T::of_sum(grown));
            }
            if needs.delta {
                let mut delta = T::Total::default();
                for joint in &joints {
                    delta += joint.last.difference(joint.first);
                }
                table.steps.delta.push(delta);
            }
            table.steps.joints.extend(joints);
        }
    });
    if lacking {
        return exec_err!(
            "a rollup left out a sum or an increase that was too large for its column; \
             SET warpline.rollups = off reads raw rows"
        );
    }
    Ok(())
}

/// A column of the piece, row by row.
fn column<T: Lane>(piece: &Piece, place: usize) -> Result<Values<T>> {
    Values::of_rows(&piece.fields[place], piece.times.len())
}

/// The sum of what the tier keeps of some rows; `lacking` where it left one out.
fn total<T: Lane>(kept: Option<&Values<T::Rolled>>, rows: &[usize], lacking: &mut bool) -> T::Sum {
    let parts = || kept.iter().flat_map(|kept| rows.iter().map(|row| kept.at(*row)));
    *lacking |= parts().any(|part| part.is_none());
    T::sum_of(parts().flatten())
}

fn best<T: Lane>(values: &Values<T>, rows: &[usize], neutral: T, better: Ordering) -> T {
    let values = rows.iter().filter_map(|row| values.at(*row));
    values.fold(neutral, |best, value| if value.order(best) == better { value } else { best })
}
