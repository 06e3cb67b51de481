//! What a rollup holds of a bucket: runs of equal attributes, and how those of small buckets make
//! those of a large one.

use super::rows::{Row, Rows, rows_of};
use std::collections::BTreeMap;

/// By start of bucket and series, runs in the order of time.
pub(super) type Cells = BTreeMap<(i64, u8), Vec<Run>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    attribute: Option<i64>,
    rows: u64,
    first_time: i64,
    last_time: i64,
    fields: [Field; 2],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Field {
    count: u64,
    /// Of values that are there, as all that follows.
    stats: Option<Stats>,
    /// A step from one value of the bucket to the next counts where the later one is.
    increase: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stats {
    min: i64,
    max: i64,
    sum: i64,
    first: i64,
    last: i64,
}

pub(super) fn cells_of(rows: &Rows, width: i64) -> Cells {
    let mut cells = Cells::new();
    for row in rows_of(rows) {
        let (series, time) = row.key;
        let bucket = time.div_euclid(width) * width;
        take(cells.entry((bucket, series)).or_default(), &[run_of(row)]);
    }
    cells
}

/// The cells of buckets of `width` from those of smaller buckets, which fill them evenly.
pub(super) fn composed(cells: &Cells, width: i64) -> Cells {
    let mut large = Cells::new();
    for ((start, series), runs) in cells {
        let bucket = start.div_euclid(width) * width;
        take(large.entry((bucket, *series)).or_default(), runs);
    }
    large
}

fn run_of(row: Row) -> Run {
    let [attribute, fields @ ..] = row.values;
    let field = |value: Option<i64>| Field {
        count: u64::from(value.is_some()),
        stats: value.map(|v| Stats { min: v, max: v, sum: v, first: v, last: v }),
        increase: 0,
    };
    Run {
        attribute,
        rows: 1,
        first_time: row.key.1,
        last_time: row.key.1,
        fields: fields.map(field),
    }
}

/// Takes the runs of a small bucket after those of earlier ones. Steps within the small bucket are
/// in its increases; the step to its first value is not.
fn take(runs: &mut Vec<Run>, bucket: &[Run]) {
    let last = |at: usize| move |run: &Run| run.fields[at].stats.map(|stats| stats.last);
    let mut before = [0, 1].map(|at| runs.iter().rev().find_map(last(at)));
    for run in bucket {
        let mut run = run.clone();
        for (field, before) in run.fields.iter_mut().zip(&mut before) {
            if let Some(stats) = field.stats
                && let Some(before) = before.take()
            {
                field.increase += step(before, stats.first);
            }
        }
        match runs.last_mut().filter(|last| last.attribute == run.attribute) {
            Some(last) => last.extend(&run),
            None => runs.push(run),
        }
    }
}

/// A counter that is less than before has begun again.
fn step(from: i64, to: i64) -> i64 {
    if to >= from { to - from } else { to }
}

impl Run {
    fn extend(&mut self, next: &Self) {
        self.rows += next.rows;
        self.last_time = next.last_time;
        for (field, next) in self.fields.iter_mut().zip(next.fields) {
            field.count += next.count;
            field.increase += next.increase;
            field.stats = match (field.stats, next.stats) {
                (Some(a), Some(b)) => Some(Stats {
                    min: a.min.min(b.min),
                    max: a.max.max(b.max),
                    sum: a.sum + b.sum,
                    first: a.first,
                    last: b.last,
                }),
                (a, b) => a.or(b),
            };
        }
    }
}
