//! Rollups that can be checked by hand, and what is refused.

use super::*;
use crate::error::ErrorKind;
use crate::rollup::tier::part_text;
use crate::rollup::{FieldColumns, Kept, TIERS};

/// Rows of series 0 with these times, jobs and values of `int64`.
fn counted(rows: &[(i64, u8, Option<i64>)]) -> Vec<Row> {
    let row = |(time, job, value): &(i64, u8, Option<i64>)| {
        let mut values = vec![None; 7];
        values[3] = *value;
        Row { series: 0, time: *time, job: Some(*job), values }
    };
    rows.iter().map(row).collect()
}

fn columns(tier: Tier, batches: &[RecordBatch], names: &[&str]) -> Vec<Vec<Option<i64>>> {
    let rows = read(tier, batches);
    rows.values().map(|row| names.iter().map(|name| row.values[*name]).collect()).collect()
}

#[test]
fn runs_of_a_job_that_comes_back_are_three_parts() {
    let rows = [(1, 1, Some(5)), (2, 1, Some(9)), (4, 2, Some(2)), (6, 1, None), (8, 1, Some(3))];
    let got = reduced(FINE, vec![batch(&raw_schema(), &counted(&rows))]).unwrap();
    let names = ["first_time", "last_time", "rows", "int64_count", "int64_sum", "int64_increase"];
    // The counter began again at 4, in the second run; the step from there belongs to the third.
    let wanted = [[1, 2, 2, 2, 14, 4], [4, 4, 1, 1, 2, 2], [6, 8, 2, 1, 3, 1]];
    assert_eq!(columns(FINE, &got, &names), wanted.map(|row| row.map(Some).to_vec()));
    let parts: Vec<_> = read(FINE, &got).into_keys().map(|key| key.2).collect();
    assert_eq!(parts, ["0000", "0001", "0002"]);
}

#[test]
fn an_hour_numbers_its_own_runs() {
    // By minute: jobs 1, 2 | 2 | 2, 1. By hour: 1, 2, 1.
    let rows = [(1, 1, 5), (8, 2, 6), (15, 2, 8), (21, 2, 1), (29, 1, 4)];
    let rows = rows.map(|(time, job, value)| (time, job, Some(value)));
    let fine = reduced(FINE, vec![batch(&raw_schema(), &counted(&rows))]).unwrap();
    assert_eq!(read(FINE, &fine).len(), 5);
    let got = combined(fine).unwrap();
    let names = ["first_time", "rows", "int64_sum", "int64_first", "int64_last", "int64_increase"];
    let wanted = [[1, 1, 5, 5, 5, 0], [8, 3, 15, 6, 1, 4], [29, 1, 4, 4, 4, 3]];
    assert_eq!(columns(COARSE, &got, &names), wanted.map(|row| row.map(Some).to_vec()));
}

#[test]
fn a_sum_that_does_not_fit_is_null_beside_its_count() {
    let rows = counted(&[(1, 1, Some(i64::MAX)), (2, 1, Some(1)), (11, 1, Some(2))]);
    let fine = reduced(FINE, vec![batch(&raw_schema(), &rows)]).unwrap();
    let names = ["int64_count", "int64_sum"];
    assert_eq!(columns(FINE, &fine, &names), [[Some(2), None], [Some(1), Some(2)]]);
    assert_eq!(columns(COARSE, &combined(fine).unwrap(), &names), [[Some(3), None]]);
}

#[test]
fn a_tier_older_than_a_column_does_not_know_it() {
    let (raw, rows) = (raw_schema(), counted(&[(1, 1, Some(7)), (12, 1, Some(9))]));
    let fine = reduced(FINE, vec![batch(&raw, &rows)]).unwrap();
    let kept: Vec<usize> = (0..fine[0].num_columns())
        .filter(|at| fine[0].schema().field(*at).name() != "int64_increase")
        .collect();
    let older = fine[0].project(&kept).unwrap();
    let got = combined(vec![older]).unwrap();
    let names = ["int64_count", "int64_sum", "int64_increase"];
    assert_eq!(columns(COARSE, &got, &names), [[Some(2), Some(16), None]]);
}

#[test]
fn batches_may_lack_columns() {
    let (raw, rows) = (raw_schema(), counted(&[(1, 1, Some(7)), (2, 1, Some(9))]));
    let all = batch(&raw, &rows);
    let some = all.project(&[0, 1, 2, 7]).unwrap();
    let names = ["rows", "int64_count", "int64_sum", "power_count", "power_max"];
    let got = columns(FINE, &reduced(FINE, vec![some]).unwrap(), &names);
    assert_eq!(got, [[Some(2), Some(2), Some(16), Some(0), None]]);
}

#[test]
fn many_series_come_in_several_batches() {
    let raw = raw_schema();
    let rows = (0..18_000).map(|at| Row {
        series: at / 9_000,
        time: (at as i64 % 9_000) * 10,
        job: Some((at % 3 == 0).into()),
        values: vec![Some(at as i64 % 100); 7],
    });
    let rows: Vec<Row> = rows.collect();
    let got = reduced(FINE, batches(&raw, &rows, &[8_192])).unwrap();
    assert_eq!(got.len(), 2);
    assert_eq!(read(FINE, &got).len(), 18_000);
    let hours = read(COARSE, &combined(got).unwrap());
    assert_eq!(hours, read(COARSE, &reduced(COARSE, batches(&raw, &rows, &[999])).unwrap()));
}

#[test]
fn rows_out_of_order_are_an_internal_error() {
    let raw = raw_schema();
    let one = |series, time| Row { series, time, job: None, values: vec![None; 7] };
    for rows in [[one(1, 5), one(0, 6)], [one(0, 5), one(0, 5)]] {
        for size in [1, 2] {
            let error = reduced(FINE, batches(&raw, &rows, &[size])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
            assert!(error.to_string().contains("not in order"), "{error}");
        }
    }
}

#[test]
fn a_tier_has_the_raw_tags_and_columns_by_kind() {
    let (raw, kinds) = (raw_schema(), kinds());
    let minute = tier_schema(&raw, TIERS[0], &kinds).unwrap();
    assert_eq!((&*minute.table, TIERS[1].table("gpu").as_str()), ("gpu_1m", "gpu_1h"));
    assert_eq!(minute.identity, ["node", "gpu", "part"].map(Arc::from));
    assert_eq!(minute.attributes, raw.attributes);
    let kept = |name: &str| -> Vec<(Kept, String)> {
        let columns = FieldColumns::of(&minute, raw.field(name).unwrap());
        let kept = Kept::ALL.into_iter();
        kept.filter_map(|kept| Some((kept, columns.place(kept)?)))
            .map(|(kept, place)| (kept, minute.fields[place].field_type.to_string()))
            .collect()
    };
    let wanted = |types: &[(Kept, &str)]| -> Vec<(Kept, String)> {
        types.iter().map(|(kept, text)| (*kept, (*text).to_owned())).collect()
    };
    let four = |text| [Kept::Min, Kept::Max, Kept::First, Kept::Last].map(|kept| (kept, text));
    let count = [(Kept::Count, "int32")];
    let of = |own: &'static str, totals: &[(Kept, &'static str)]| {
        wanted(&[&count[..], &four(own), totals].concat())
    };
    assert_eq!(kept("int8"), of("int8", &[(Kept::Sum, "int64")]));
    assert_eq!(kept("int32"), of("int32", &[(Kept::Increase, "int64")]));
    let totals = [(Kept::Sum, "decimal(15,3)"), (Kept::Increase, "decimal(15,3)")];
    assert_eq!(kept("power"), of("decimal(9,3)", &totals));
    let columns = FieldColumns::of(&minute, raw.field("power").unwrap());
    assert_eq!(columns.name(&minute, Kept::Max).map(|name| &**name), Some("power_max"));
}

#[test]
fn names_that_meet_are_refused() {
    for tag in ["part", "Rows", "power_MAX", "last_time"] {
        let mut raw = raw_schema();
        raw.attributes.push(tag.into());
        let error = tier_schema(&raw, FINE, &kinds()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.to_string().to_lowercase().contains(&tag.to_lowercase()), "{error}");
    }
    let mut raw = raw_schema();
    raw.fields[0].name = "power_max".into();
    assert!(tier_schema(&raw, FINE, &kinds()).is_ok(), "raw fields are not columns of a tier");
}

#[test]
fn a_tier_of_something_else_is_refused() {
    let raw = raw_schema();
    let schema = tier_schema(&raw, FINE, &kinds()).unwrap();
    let mut strange = schema.clone();
    strange.fields.push(Field { name: "x".into(), field_type: FieldType::Int64 });
    let mut other = schema.clone();
    other.attributes.clear();
    for schema in [strange, other] {
        let none = std::iter::empty::<Result<RecordBatch, StorageError>>();
        assert!(Reduce::new(&raw, FINE, &schema, none).is_err());
    }
}

#[test]
fn parts_sort_as_texts() {
    let numbers = [0, 1, 9, 10, 9_999, 10_000, 10_001, 99_999, u32::MAX];
    assert!(numbers.map(part_text).is_sorted());
}
