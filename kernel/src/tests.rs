//! Every path that this machine can take, against the definitions read row by row.

use crate::dispatch::paths;
use crate::naive::{self, Naive};
use crate::{Edges, Grid, NO_ROW, Reduced, Validity, Value, bounds};
use proptest::prelude::*;
use std::fmt::Debug;

/// A column with a place in memory that is no multiple of anything, and its buckets.
#[derive(Clone, Debug)]
struct Case<T> {
    column: Vec<T>,
    skip: usize,
    bitmap: Vec<u8>,
    offset: usize,
    ends: Vec<u32>,
    before: Option<T>,
}

impl<T> Case<T> {
    fn values(&self) -> &[T] {
        &self.column[self.skip..]
    }

    fn validities(&self) -> [Option<Validity<'_>>; 2] {
        [None, Some(Validity::new(&self.bitmap, self.offset))]
    }
}

/// Lengths of buckets: many short ones, some empty, some long.
fn lengths() -> impl Strategy<Value = Vec<u32>> {
    let length = prop_oneof![4 => 0_u32..20, 2 => 0_u32..80, 1 => 0_u32..700, 1 => Just(0_u32)];
    prop::collection::vec(length, 0..40)
}

/// Bits that are mixed, nearly all set, nearly none, or all one way.
fn bitmap(bits: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), Just(0xff_u8), Just(0xfe_u8), Just(0_u8), Just(1_u8)];
    let bytes = bits.div_ceil(8);
    prop_oneof![
        prop::collection::vec(any::<u8>(), bytes),
        prop::collection::vec(byte, bytes),
        Just(vec![0xff; bytes]),
        Just(vec![0; bytes]),
    ]
}

fn case<T: Clone + Debug>(
    value: impl Strategy<Value = T> + Clone + 'static,
) -> impl Strategy<Value = Case<T>> {
    (lengths(), 0_usize..9, 0_usize..70, 0_usize..3).prop_flat_map(
        move |(lengths, skip, offset, rest)| {
            let ends = lengths.iter().scan(0, |end, length| {
                *end += length;
                Some(*end)
            });
            let ends: Vec<u32> = ends.collect();
            let rows = ends.last().map_or(0, |end| *end as usize) + rest;
            let column = prop::collection::vec(value.clone(), skip + rows);
            (column, bitmap(offset + rows), prop::option::of(value.clone())).prop_map(
                move |(column, bitmap, before)| Case {
                    column,
                    skip,
                    bitmap,
                    offset,
                    ends: ends.clone(),
                    before,
                },
            )
        },
    )
}

/// Debug text tells -0.0 from 0.0; NaN is told by its bits elsewhere.
fn text(value: &impl Debug) -> String {
    format!("{value:?}")
}

/// Reductions that make bits, compared as bits.
trait Bits {
    fn bits(&self) -> Vec<i128>;
}

macro_rules! integer_bits {
    ($($type:ty),*) => {$(
        impl Bits for [$type] {
            fn bits(&self) -> Vec<i128> {
                self.iter().map(|value| i128::from(*value)).collect()
            }
        }
    )*};
}

integer_bits!(i16, i32, i64, i128);

impl Bits for [f64] {
    fn bits(&self) -> Vec<i128> {
        self.iter().map(|value| i128::from(value.to_bits())).collect()
    }
}

fn all_bits<T: Value>(out: &Reduced<T>) -> [Vec<i128>; 4]
where
    [T]: Bits,
    [T::Sum]: Bits,
{
    let count = out.count.iter().map(|count| i128::from(*count)).collect();
    [count, out.min.bits(), out.max.bits(), out.sum.bits()]
}

fn agree<T: Naive>(case: &Case<T>) -> Result<(), TestCaseError>
where
    [T]: Bits,
    [T::Sum]: Bits,
    [T::Wide]: Bits,
{
    let (values, ends) = (case.values(), case.ends.as_slice());
    for validity in case.validities() {
        let (mut reduced, mut grown) = (Reduced::default(), Vec::new());
        naive::reduce(values, validity, ends, &mut reduced);
        let last = naive::increase(values, validity, ends, case.before, &mut grown);
        let drawn = naive::m4(values, validity, ends);
        for path in paths() {
            let on = T::reductions(&path);
            let mut out = Reduced::default();
            on.reduce(values, validity, ends, &mut out);
            prop_assert_eq!(all_bits(&out), all_bits(&reduced), "reduce, {}", path.name);
            let mut out = Vec::new();
            let end = on.increase(values, validity, ends, case.before, &mut out);
            prop_assert_eq!(out.bits(), grown.bits(), "increase, {}", path.name);
            prop_assert_eq!(text(&end), text(&last), "the last value, {}", path.name);
            let mut out = Vec::new();
            on.m4(values, validity, ends, &mut out);
            prop_assert_eq!(&out, &drawn, "M4, {}", path.name);
        }
    }
    Ok(())
}

fn float() -> impl Strategy<Value = f64> + Clone {
    let odd = [0x7ff8_0000_0000_0000_u64, 0xfff8_0000_0000_0001, 0x7ff0_0000_0000_0001, u64::MAX];
    let special = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 5e-324];
    prop_oneof![
        30 => -1e3..1e3,
        3 => any::<f64>(),
        1 => prop::sample::select(special.to_vec()),
        1 => prop::sample::select(odd.map(f64::from_bits).to_vec()),
    ]
}

/// Cadences steady, irregular, with gaps and repeats, from anywhere.
fn times() -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![
        6 => Just((1_000_i64, 0_i64)),
        6 => Just((1_000, 300)),
        2 => Just((0, 2)),
        1 => Just((700, 900)),
        1 => Just((3, 100_000)),
    ];
    let gap = prop_oneof![60 => Just(0_i64), 1 => 0_i64..1_000_000, 1 => Just(i64::MAX / 4)];
    let start = prop_oneof![-100_000_i64..100_000, any::<i64>(), Just(i64::MIN)];
    (start, step).prop_flat_map(move |(start, (step, jitter))| {
        let rows = prop::collection::vec((0..=jitter, gap.clone()), 0..900);
        rows.prop_map(move |rows| {
            let mut at = start;
            let mut next = |(jitter, gap): (i64, i64)| {
                at = at.saturating_add(step).saturating_add(gap);
                at.saturating_add(jitter)
            };
            let mut times: Vec<i64> = rows.into_iter().map(&mut next).collect();
            times.sort_unstable();
            times
        })
    })
}

fn grid() -> impl Strategy<Value = Grid> {
    let width = prop_oneof![
        prop::sample::select(vec![1_i64, 2, 6_000, 10_000, 10_007, 60_000, 300_000, i64::MAX]),
        1_i64..1_000_000,
        1_i64..,
    ];
    let origin = prop_oneof![Just(0_i64), -70_000_i64..70_000, any::<i64>()];
    (width, origin).prop_map(|(width, origin)| Grid::new(width, origin).expect("above zero"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn small_integers(case in case(prop_oneof![any::<i16>(), -3_i16..3, Just(i16::MIN)])) {
        agree(&case)?;
    }

    #[test]
    fn integers(case in case(prop_oneof![any::<i32>(), -3_i32..3, Just(i32::MIN)])) {
        agree(&case)?;
    }

    #[test]
    fn large_integers(
        case in case(prop_oneof![any::<i64>(), -3_i64..3, Just(i64::MIN), Just(i64::MAX)]),
    ) {
        agree(&case)?;
    }

    #[test]
    fn floats(case in case(float())) {
        agree(&case)?;
    }

    #[test]
    fn counters_that_mostly_rise(mut case in case(prop_oneof![9 => 0_i64..50, 1 => Just(-5000)])) {
        let mut total = 0_i64;
        for value in &mut case.column {
            total = (total + *value).max(0);
            *value = total;
        }
        agree(&case)?;
    }

    #[test]
    fn first_and_last_rows(case in case(Just(0_i16))) {
        for validity in case.validities() {
            let (mut first, mut last) = (Vec::new(), Vec::new());
            bounds(validity, &case.ends, &mut first, &mut last);
            let rows: Vec<Vec<usize>> = naive::buckets(validity, &case.ends).collect();
            let row = |row: Option<&usize>| row.map_or(NO_ROW, |row| *row as u32);
            prop_assert_eq!(first, rows.iter().map(|rows| row(rows.first())).collect::<Vec<_>>());
            prop_assert_eq!(last, rows.iter().map(|rows| row(rows.last())).collect::<Vec<_>>());
        }
    }

    #[test]
    fn edges(times in times(), grid in grid()) {
        let (numbers, ends) = naive::edges(&times, grid);
        for path in paths() {
            let mut found = Edges::default();
            path.find(&times, grid, &mut found);
            prop_assert_eq!(found.ends(), &ends, "{}", path.name);
            prop_assert_eq!(found.numbers(), &numbers, "{}", path.name);
        }
    }

    #[test]
    fn edges_of_any_times_ascend(times in prop::collection::vec(-9_i64..99, 0..200), width in 1_i64..50) {
        let grid = Grid::new(width, 0).expect("above zero");
        for path in paths() {
            let mut found = Edges::default();
            path.find(&times, grid, &mut found);
            prop_assert!(found.ends().is_sorted_by(|a, b| a < b));
            prop_assert_eq!(found.ends().last().map_or(0, |end| *end as usize), times.len());
        }
    }
}

#[test]
fn numbers_saturate_in_mid_cadence() {
    let times: Vec<i64> = (-100..100).collect();
    let grid = Grid::new(1, i64::MIN).expect("above zero");
    let (numbers, ends) = naive::edges(&times, grid);
    assert_eq!(numbers.last(), Some(&i64::MAX));
    for path in paths() {
        let mut found = Edges::default();
        path.find(&times, grid, &mut found);
        assert_eq!((found.numbers(), found.ends()), (numbers.as_slice(), ends.as_slice()));
    }
}

#[test]
fn sums_of_extremes_are_exact() {
    for path in paths() {
        for value in [i64::MIN, i64::MAX, -1] {
            let values = vec![value; 100_003];
            let mut out = Reduced::default();
            path.i64.reduce(&values, None, &[100_003], &mut out);
            assert_eq!(out.sum, [i128::from(value) * 100_003], "{}", path.name);
        }
        for value in [i16::MIN, i16::MAX] {
            let values = vec![value; 3_000_001];
            let mut out = Reduced::default();
            path.i16.reduce(&values, None, &[3_000_001], &mut out);
            assert_eq!(out.sum, [i64::from(value) * 3_000_001], "{}", path.name);
        }
    }
}

#[test]
fn reading_reads_every_word() {
    let words: Vec<u64> = (0..1000).map(|i| i * i).collect();
    for path in paths() {
        assert_eq!(path.read(&words), words.iter().sum(), "{}", path.name);
    }
}

#[test]
fn one_bucket_of_everything() {
    let mut edges = Edges::default();
    edges.whole(7, -3);
    assert_eq!((edges.numbers(), edges.ends()), ([-3].as_slice(), [7].as_slice()));
    edges.whole(0, -3);
    assert_eq!((edges.numbers().len(), edges.ends().len()), (0, 0));
}
