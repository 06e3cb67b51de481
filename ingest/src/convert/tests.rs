//! Values change type exactly or are refused; no block bytes make it panic.

use super::{Plan, convert};
use proptest::prelude::*;
use std::sync::Arc;
use warpline_storage::model::{
    BlockBuilder, Column, FieldType, Layout, Series, Value, ValueRefusal,
};

const ANY_TIME: std::ops::RangeInclusive<i64> = i64::MIN..=i64::MAX;

fn decimal(digits: u8, decimals: u8) -> FieldType {
    FieldType::decimal(digits, decimals).unwrap()
}

fn layout(columns: &[(&str, FieldType)]) -> Layout {
    let columns = columns
        .iter()
        .map(|(name, field_type)| Column { name: (*name).into(), field_type: *field_type })
        .collect();
    let series =
        ["0", "1"].map(|gpu| Series { identity: vec![gpu.into()], attributes: vec![] }).to_vec();
    Layout::new("gpu", vec!["gpu".into()], vec![], columns, series).unwrap()
}

#[test]
fn values_change_type_exactly_or_are_refused() {
    let milli = decimal(9, 3);
    assert_eq!(convert(FieldType::Int32, 7, milli), Ok(7_000));
    assert_eq!(convert(milli, 7_000, FieldType::Int8), Ok(7));
    assert_eq!(convert(milli, 1_005, decimal(9, 2)), Ok(101));
    assert_eq!(convert(milli, -1_005, decimal(9, 2)), Ok(-101));
    assert_eq!(convert(milli, 1_004, decimal(9, 2)), Ok(100));
    assert_eq!(convert(FieldType::Int64, 300, FieldType::Int16), Ok(300));
    let float = |v: f64| v.to_bits().cast_signed();
    assert_eq!(convert(milli, 699_123, FieldType::Float64), Ok(float(699.123)));
    assert_eq!(convert(FieldType::Float64, float(699.123), milli), Ok(699_123));
    assert!(matches!(convert(milli, 7_001, FieldType::Int32), Err(ValueRefusal::Fraction { .. })));
    assert!(matches!(
        convert(FieldType::Int32, 300, FieldType::Int8),
        Err(ValueRefusal::OutOfRange { .. })
    ));
    assert!(convert(FieldType::Int64, i64::MAX, milli).is_err());
    assert!(convert(FieldType::Float64, float(f64::NAN), milli).is_err());
    assert!(convert(milli, 1_000_000_000, milli).is_err(), "ten digits in a field of nine");
}

#[test]
fn a_clean_block_passes_through_uncopied() {
    let admitted = Arc::new(layout(&[("util", FieldType::Int8)]));
    let plan = Plan::new((*admitted).clone(), admitted.clone()).unwrap();
    let mut builder = BlockBuilder::new(admitted.clone());
    for series in 0..2 {
        builder.row(series, 1_000);
        builder.set(0, Value::Int(55)).unwrap();
    }
    let bytes = builder.finish();
    let (block, losses) = plan.apply(bytes.clone(), &ANY_TIME).unwrap();
    let block = block.unwrap();
    assert_eq!(block.bytes().as_ptr(), bytes.as_ptr());
    assert!(Arc::ptr_eq(block.layout(), &admitted));
    assert!(losses.values.is_empty() && losses.rows == 0);
}

#[test]
fn columns_are_dropped_and_retyped_and_misfits_become_null() {
    let sent =
        layout(&[("a", FieldType::Int32), ("role", FieldType::Int8), ("b", FieldType::Float64)]);
    let admitted = Arc::new(layout(&[("a", FieldType::Int8), ("b", decimal(9, 3))]));
    let mut builder = BlockBuilder::new(Arc::new(sent.clone()));
    for (series, a, b) in [(0, 1, 1.5), (1, 1_000, f64::INFINITY)] {
        builder.row(series, 5);
        builder.set(0, Value::Int(a)).unwrap();
        builder.set(1, Value::Int(9)).unwrap();
        builder.set(2, Value::Float(b)).unwrap();
    }
    let plan = Plan::new(sent, admitted.clone()).unwrap();
    let (block, losses) = plan.apply(builder.finish(), &ANY_TIME).unwrap();
    let block = block.unwrap();
    assert!(Arc::ptr_eq(block.layout(), &admitted));
    assert_eq!((block.rows(), block.raw(0, 0), block.raw(1, 0)), (2, 1, 1_500));
    assert!(!block.is_present(0, 1) && !block.is_present(1, 1));
    let lost: Vec<_> = losses.values.iter().map(|loss| (loss.column, loss.count)).collect();
    assert_eq!(lost, [(0, 1), (2, 1)]);
}

#[test]
fn rows_out_of_time_are_dropped() {
    let admitted = Arc::new(layout(&[("util", FieldType::Int8)]));
    let plan = Plan::new((*admitted).clone(), admitted.clone()).unwrap();
    let mut builder = BlockBuilder::new(admitted);
    for time in [10, 99, 11] {
        builder.row(1, time);
        builder.set(0, Value::Int(time)).unwrap();
    }
    let (block, losses) = plan.apply(builder.finish(), &(0..=20)).unwrap();
    let block = block.unwrap();
    assert_eq!((block.rows(), block.raw(0, 1), block.series_index(1)), (2, 11, 1));
    assert_eq!((losses.rows, losses.time), (1, 99));
}

#[test]
fn an_unrelated_layout_is_no_plan() {
    let sent = layout(&[("a", FieldType::Int8)]);
    assert!(Plan::new(sent, Arc::new(layout(&[("b", FieldType::Int8)]))).is_none());
}

proptest! {
    #[test]
    fn widening_and_back_is_exact(raw in -999_999_999_i64..=999_999_999, more in 0_u8..=3) {
        let (narrow, wide) = (decimal(9, 3), decimal(15, 3 + more));
        let there = convert(narrow, raw, wide).unwrap();
        prop_assert_eq!(convert(wide, there, narrow).unwrap(), raw);
        let float = convert(narrow, raw, FieldType::Float64).unwrap();
        prop_assert_eq!(convert(FieldType::Float64, float, narrow).unwrap(), raw);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mutated_blocks_never_panic(
        same in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        truncate in any::<bool>(),
    ) {
        let sent = layout(&[("a", FieldType::Int32), ("b", decimal(9, 3)), ("c", FieldType::Float64)]);
        let other = layout(&[("a", FieldType::Int8), ("b", decimal(12, 1))]);
        let admitted = Arc::new(if same { sent.clone() } else { other });
        let mut builder = BlockBuilder::new(Arc::new(sent.clone()));
        for (series, time) in [(1, 5), (0, 6), (1, 7)] {
            builder.row(series, time);
            builder.set(1, Value::Int(time)).unwrap();
        }
        let mut bytes = builder.finish().to_vec();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if truncate {
            bytes.truncate(cut.index(bytes.len()));
        }
        let plan = Plan::new(sent, admitted).unwrap();
        if let Ok((Some(block), _)) = plan.apply(bytes.into(), &(0..=1_000)) {
            for (row, column) in (0..block.rows()).flat_map(|r| [(r, 0), (r, 1)]) {
                block.raw(column, row);
            }
            prop_assert!(block.out_of_digits().is_empty());
        }
    }
}
