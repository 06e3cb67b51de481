//! Rollups of rows the slow way: one value after another in wide integers.

use super::{FieldType, Row, Tier, node};
use crate::model::TableSchema;
use std::collections::BTreeMap;

/// A row of a tier: values as stored, doubles by their bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NaiveRow {
    pub job: Option<String>,
    pub values: BTreeMap<String, Option<i64>>,
}

/// A value: an integer, or a double in halves; `None` is NaN.
type Number = Option<i128>;

pub(super) type Key = (String, String, String, i64);

pub(super) fn naive(raw: &TableSchema, tier: Tier, rows: &[Row]) -> BTreeMap<Key, NaiveRow> {
    let mut buckets: BTreeMap<(usize, i64), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let start = row.time.div_euclid(tier.width) * tier.width;
        buckets.entry((row.series, start)).or_default().push(row);
    }
    let mut all = BTreeMap::new();
    for ((series, start), rows) in buckets {
        let runs: Vec<&[&Row]> = rows.chunk_by(|one, other| one.job == other.job).collect();
        for (part, run) in runs.iter().enumerate() {
            let before: Vec<&Row> = runs[..part].concat();
            let key = (node(series), (series % 2).to_string(), format!("{part:04}"), start);
            all.insert(key, summed(raw, &before, run));
        }
    }
    all
}

/// A run, and the rows before it in its bucket.
fn summed(raw: &TableSchema, before: &[&Row], run: &[&Row]) -> NaiveRow {
    let mut values = BTreeMap::from([
        ("rows".to_owned(), Some(run.len() as i64)),
        ("first_time".to_owned(), Some(run[0].time)),
        ("last_time".to_owned(), Some(run[run.len() - 1].time)),
    ]);
    for (at, field) in raw.fields.iter().enumerate() {
        let kind = field.field_type;
        let read = |rows: &[&Row]| -> Vec<Number> {
            rows.iter().filter_map(|row| row.values[at]).map(|raw| number(raw, kind)).collect()
        };
        let (before, own) = (read(before), read(run));
        let mut keep = |what: &str, value: Option<i64>| {
            values.insert(format!("{}_{what}", field.name), value);
        };
        keep("count", Some(own.len() as i64));
        // None is the least of options, but NaN the largest of doubles.
        let order = |number: &&Number| number.unwrap_or(i128::MAX);
        let show = |number: Option<&Number>| number.map(|number| shown(*number, kind));
        keep("min", show(own.iter().min_by_key(order)));
        keep("max", show(own.iter().max_by_key(order)));
        keep("first", show(own.first()));
        keep("last", show(own.last()));
        let some = !own.is_empty();
        if &*field.name != "int32" {
            let sum = own.iter().copied().try_fold(0, |sum, number| Some(sum + number?));
            keep("sum", fitting(sum, kind).filter(|_| some));
        }
        if &*field.name != "int8" {
            let edges = own.first().zip(own.last());
            let ends_in_numbers = edges.is_some_and(|(one, last)| one.is_some() && last.is_some());
            let joinable = ends_in_numbers || own.iter().all(Option::is_none);
            let grown = fitting(Some(grown(&before, &own)), kind);
            keep("increase", grown.filter(|_| some && joinable));
        }
    }
    let job = run[0].job.map(|job| format!("job {job}"));
    NaiveRow { job, values }
}

fn grown(before: &[Number], own: &[Number]) -> i128 {
    let mut last = before.iter().copied().flatten().last();
    let mut grown = 0;
    for value in own.iter().copied().flatten() {
        grown += match last {
            None => 0,
            Some(last) if value < last => value,
            Some(last) => value - last,
        };
        last = Some(value);
    }
    grown
}

fn number(raw: i64, kind: FieldType) -> Number {
    if kind == FieldType::Float64 {
        let value = f64::from_bits(raw as u64);
        return (!value.is_nan()).then_some((value * 2.0) as i128);
    }
    Some(raw.into())
}

fn shown(number: Number, kind: FieldType) -> i64 {
    if kind == FieldType::Float64 {
        return number.map_or(f64::NAN, |halves| halves as f64 / 2.0).to_bits() as i64;
    }
    number.and_then(|number| number.try_into().ok()).unwrap()
}

/// A total, if its column can hold it.
fn fitting(total: Number, kind: FieldType) -> Option<i64> {
    let max = match kind {
        FieldType::Float64 => return Some(shown(total, kind)),
        FieldType::Decimal { .. } => 999_999_999_999_999,
        _ => i64::MAX,
    };
    total.filter(|total| total.abs() <= i128::from(max)).map(|total| total as i64)
}
