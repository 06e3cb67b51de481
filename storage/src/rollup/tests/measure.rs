//! What a reduction costs. Not a test: `cargo nextest run --run-ignored only -E 'test(cost)'`.

use super::*;
use crate::rollup::TIERS;
use std::time::{Duration, Instant};

const FIELDS: usize = 60;

/// The fields of a GPU: gauges of every width, a few counters, a few that nobody knows.
fn gpu() -> (TableSchema, FieldKinds) {
    let types = (0..FIELDS).map(|at| match at % 10 {
        0..4 => "decimal(9,3)",
        4 | 5 => "int16",
        6 | 7 => "int32",
        8 => "int64",
        _ => "float64",
    });
    let fields = types.enumerate().map(|(at, text)| Field {
        name: format!("f{at}").into(),
        field_type: text.parse().unwrap(),
    });
    let schema = TableSchema { fields: fields.collect(), ..raw_schema() };
    let names: Vec<String> = (0..FIELDS).map(|at| format!("f{at}")).collect();
    let with = |wanted: fn(usize) -> bool| {
        names.iter().enumerate().filter(move |(at, _)| wanted(*at)).map(|(_, name)| name.as_str())
    };
    let kinds = FieldKinds::new(with(|at| at % 10 == 8), with(|at| at % 10 < 8));
    (schema, kinds)
}

fn cost(series: usize, seconds: usize, sparse: bool) -> (f64, f64) {
    let (raw, kinds) = gpu();
    let rows = (0..series * seconds).map(|at| {
        let (series, second) = (at / seconds, at % seconds);
        let value = |field: usize| {
            let noise = (at * 7_919 + field * 104_729) % 100;
            let value = (second + noise) as i64;
            let double = raw.fields[field].field_type == FieldType::Float64;
            let stored = if double { (value as f64).to_bits() as i64 } else { value };
            (!sparse || !noise.is_multiple_of(10)).then_some(stored)
        };
        let values = (0..FIELDS).map(value).collect();
        Row { series, time: second as i64 * 1_000_000, job: Some(1), values }
    });
    let rows: Vec<Row> = rows.collect();
    let batches = batches(&raw, &rows, &[32_768]);
    let [minute, hour] = TIERS.map(|tier| tier_schema(&raw, tier, &kinds).unwrap());
    let mut best = [Duration::MAX; 2];
    for _ in 0..5 {
        let start = Instant::now();
        let input = batches.iter().cloned().map(Ok);
        let fine = Reduce::new(&raw, TIERS[0], &minute, input).unwrap();
        let fine: Vec<RecordBatch> = fine.map(Result::unwrap).collect();
        best[0] = best[0].min(start.elapsed());
        let start = Instant::now();
        let input = fine.into_iter().map(Ok);
        let coarse = Combine::new(&raw, &minute, TIERS[1], &hour, input).unwrap();
        assert!(coarse.map(Result::unwrap).count() > 0);
        best[1] = best[1].min(start.elapsed());
    }
    let millions = (series * seconds * FIELDS) as f64 / 1e6;
    let [reduce, combine] = best.map(|took| took.as_secs_f64() * 1e3 / millions);
    (reduce, combine)
}

#[test]
#[ignore = "measures, checks nothing"]
fn cost_of_a_million_values() {
    for (series, seconds, sparse) in
        [(64, 3_600, false), (64, 3_600, true), (9, 28_800, false), (3_840, 60, false)]
    {
        let (reduce, combine) = cost(series, seconds, sparse);
        println!(
            "{series} series x {seconds} s{}: reduce {reduce:.2} ms, combine {combine:.2} ms \
             per million raw values",
            if sparse { ", one in ten NULL" } else { "" }
        );
    }
}
