//! Combined buckets as the columns of the answer.

use super::aggregates::{Ask, Input};
use super::combine::Combined;
use super::lane::{Lane, Totals};
use super::partial::{InputPlan, InputTable, Point, Table};
use super::quantile::quantiles;
use crate::exact::{Measure, Total, bigint};
use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use datafusion::error::Result;
use std::cmp::Ordering;
use std::sync::Arc;
use warpline_storage::model::FieldType;

impl Combined {
    /// The answer's column to one ask.
    pub(super) fn column(&self, ask: Ask, inputs: &[InputPlan]) -> Result<ArrayRef> {
        let Some(input) = ask.input() else {
            return Ok(whole(&self.counts()));
        };
        let at = inputs.iter().position(|plan| plan.input == input).expect("each input has a plan");
        let plan = &inputs[at];
        let column = match self.first_table(at) {
            InputTable::Int16(_) => self.answer::<i16>(ask, at, plan),
            InputTable::Int32(_) => self.answer::<i32>(ask, at, plan),
            InputTable::Int64(_) => self.answer::<i64>(ask, at, plan),
            InputTable::Float64(_) => self.answer::<f64>(ask, at, plan),
        }?;
        let is_time = input == Input::Time && *column.data_type() == DataType::Int64;
        Ok(if is_time && !matches!(ask, Ask::Count(_)) { as_time(&column) } else { column })
    }

    fn answer<T: Lane>(&self, ask: Ask, at: usize, plan: &InputPlan) -> Result<ArrayRef> {
        let fold = Fold { tables: self.tables::<T>(at), rows: self.rows() };
        let shown = |values, present| T::shown(values, present, plan.field_type);
        let points = |points: Vec<Option<Point<T>>>| {
            let value = |point: &Option<Point<T>>| point.and_then(|point| point.value);
            let present: NullBuffer = points.iter().map(|p| value(p).is_some()).collect();
            let values = points.iter().map(|point| value(point).unwrap_or_default()).collect();
            shown(values, Some(present).filter(|present| present.null_count() > 0))
        };
        Ok(match ask {
            Ask::Rows | Ask::Count(_) => whole(&fold.counts()),
            Ask::Min(_) => {
                let values = fold.best(|table| &table.reduced.min, T::LARGEST, Ordering::Less);
                shown(values, present(&fold.counts()))
            }
            Ask::Max(_) => {
                let values = fold.best(|table| &table.reduced.max, T::SMALLEST, Ordering::Greater);
                shown(values, present(&fold.counts()))
            }
            Ask::Exact(_, measure) => measured(fold.sums(), &fold.counts(), measure)?,
            Ask::Sum(_) => doubles(fold.sums(), &fold.counts(), |sum, _| sum),
            Ask::Mean(_) => doubles(fold.sums(), &fold.counts(), |sum, count| sum / count as f64),
            Ask::FirstRow(_) => points(fold.points(|t| &t.first_row, Ordering::Less, true)),
            Ask::LastRow(_) => points(fold.points(|t| &t.last_row, Ordering::Greater, true)),
            Ask::First(_) => points(fold.points(|t| &t.first, Ordering::Less, false)),
            Ask::Last(_) => points(fold.points(|t| &t.last, Ordering::Greater, false)),
            Ask::Quantile(_, share) => {
                let tables = fold.tables.iter().map(|(table, targets)| (&table.kept, *targets));
                let show = |value| T::double(value, plan.field_type);
                let answers = quantiles(tables, fold.rows, share, show);
                Arc::new(answers.into_iter().collect::<Float64Array>())
            }
            Ask::Increase(_) => steps(fold.steps(|t| &t.steps.increase), &fold, plan)?,
            Ask::Delta(_) => steps(fold.steps(|t| &t.steps.delta), &fold, plan)?,
        })
    }
}

/// One input's partial columns, to be folded into the rows of the answer.
struct Fold<'a, T: Lane> {
    tables: Vec<(&'a Table<T>, &'a [u32])>,
    rows: usize,
}

impl<T: Lane> Fold<'_, T> {
    fn each<'s, V: Copy + 's, F: Copy>(
        &'s self,
        column: impl Fn(&'s Table<T>) -> &'s Vec<V>,
        empty: F,
        mut fold: impl FnMut(&mut F, V),
    ) -> Vec<F> {
        let mut folded = vec![empty; self.rows];
        for (table, targets) in &self.tables {
            for (value, target) in column(table).iter().zip(*targets) {
                fold(&mut folded[*target as usize], *value);
            }
        }
        folded
    }

    fn counts(&self) -> Vec<u64> {
        self.each(|table| &table.reduced.count, 0, |sum, count| *sum += u64::from(count))
    }

    fn best(&self, column: impl Fn(&Table<T>) -> &Vec<T>, neutral: T, better: Ordering) -> Vec<T> {
        self.each(column, neutral, |best, value| {
            if value.order(*best) == better {
                *best = value;
            }
        })
    }

    fn sums(&self) -> Totals {
        let add = |sum: &mut T::Total, value| *sum += T::of_sum(value);
        T::totals(self.each(|table| &table.reduced.sum, T::Total::default(), add))
    }

    fn steps(&self, column: impl Fn(&Table<T>) -> &Vec<T::Total>) -> Totals {
        T::totals(self.each(column, T::Total::default(), |sum, value| *sum += value))
    }

    /// Of each row, how many partial rows have steps.
    fn places_with_steps(&self) -> Vec<u64> {
        self.each(|table| &table.steps.any, 0, |sum, any| *sum += u64::from(any))
    }

    /// The points of the smallest or largest time; of those the largest value. Absent values
    /// count where `absent` says so.
    fn points(
        &self,
        column: impl Fn(&Table<T>) -> &Vec<Point<T>>,
        better: Ordering,
        absent: bool,
    ) -> Vec<Option<Point<T>>> {
        self.each(column, None::<Point<T>>, |best, point| {
            if point.value.is_none() && !absent {
                return;
            }
            let wins = best.is_none_or(|best| match point.time.cmp(&best.time) {
                Ordering::Equal => larger(point.value, best.value),
                order => order == better,
            });
            if wins {
                *best = Some(point);
            }
        })
    }
}

fn larger<T: Lane>(one: Option<T>, other: Option<T>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.order(other) == Ordering::Greater,
        (one, other) => one.is_some() && other.is_none(),
    }
}

fn present(counts: &[u64]) -> Option<NullBuffer> {
    counts.contains(&0).then(|| counts.iter().map(|count| *count > 0).collect())
}

fn whole(counts: &[u64]) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(counts.iter().map(|count| *count as i64)))
}

fn as_time(column: &ArrayRef) -> ArrayRef {
    let times = column.as_primitive::<Int64Type>();
    Arc::new(times.reinterpret_cast::<TimestampMicrosecondType>().with_timezone("UTC"))
}

/// The exact sum or mean, rounded once.
fn measured(sums: Totals, counts: &[u64], measure: Measure) -> Result<ArrayRef> {
    let Totals::Integers(sums) = sums else { unreachable!("doubles have no exact sum") };
    let totals = sums.into_iter().zip(counts).map(|(sum, count)| Total { sum, count: *count });
    if measure.is_bigint() {
        return Ok(Arc::new(totals.map(bigint).collect::<Result<Int64Array>>()?));
    }
    Ok(Arc::new(totals.map(|total| measure.double(total)).collect::<Float64Array>()))
}

fn doubles(sums: Totals, counts: &[u64], show: impl Fn(f64, u64) -> f64) -> ArrayRef {
    let Totals::Doubles(sums) = sums else { unreachable!("integers have exact sums") };
    let values = sums.iter().zip(counts).map(|(sum, count)| show(*sum, *count)).collect();
    Arc::new(Float64Array::new(values, present(counts)))
}

/// Sums of steps, NULL without any.
fn steps<T: Lane>(sums: Totals, fold: &Fold<'_, T>, plan: &InputPlan) -> Result<ArrayRef> {
    let counts = fold.places_with_steps();
    match (sums, plan.field_type) {
        (sums @ Totals::Doubles(_), _) => Ok(doubles(sums, &counts, |sum, _| sum)),
        (sums @ Totals::Integers(_), FieldType::Decimal { decimals, .. }) => {
            measured(sums, &counts, Measure::sum(Some(decimals)))
        }
        (sums @ Totals::Integers(_), _) => measured(sums, &counts, Measure::sum(None)),
    }
}
