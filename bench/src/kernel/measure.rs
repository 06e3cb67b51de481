//! Our kernel over arrays that fit no cache.

use super::data::{self, Sample};
use super::{Case, WIDTHS};
use serde::Serialize;
use std::hint::black_box;
use std::time::Instant;
use warpline_kernel::{Edges, Reduced, Validity, read, reduce};

/// Rows of one series in one piece: a day.
const STRETCH: usize = 86_400;

/// What one case came to; values per second.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    #[serde(flatten)]
    pub(crate) case: Case,
    value_bytes: usize,
    /// With edges found in the times.
    pub(crate) whole: f64,
    /// With edges known before.
    pub(crate) reduced: f64,
    /// What one core read around that time.
    pub(crate) read_gb_per_second: f64,
}

impl Measured {
    /// Bytes of values a second, in GB.
    pub(crate) fn gb_per_second(&self, values_per_second: f64) -> f64 {
        values_per_second * self.value_bytes as f64 / 1e9
    }
}

pub(crate) fn all(memory_mib: u32, rounds: u32) -> Vec<Measured> {
    let bytes = memory_mib as usize * (1 << 20);
    let words: Vec<u64> = (0..bytes as u64 / 8).collect();
    let bench = Bench { words, bytes, rounds };
    let mut measured = bench.of::<i16>();
    measured.extend(bench.of::<i32>());
    measured.extend(bench.of::<i64>());
    measured.extend(bench.of::<f64>());
    measured
}

struct Bench {
    /// Memory for the read loop.
    words: Vec<u64>,
    /// Of values.
    bytes: usize,
    rounds: u32,
}

/// Columns of equal length.
struct Columns<'a, T> {
    times: &'a [i64],
    values: &'a [T],
    bitmap: &'a [u8],
}

impl Bench {
    fn of<T: Sample>(&self) -> Vec<Measured> {
        let kind = T::KIND;
        let series = (self.bytes / size_of::<T>()).div_ceil(STRETCH);
        let rows = series * STRETCH;
        let (values, bitmap) = (data::values::<T>(rows), data::bitmap(rows));
        let mut measured = Vec::new();
        for jittered in [false, true] {
            eprintln!(
                "measuring {}, {}",
                kind.name(),
                if jittered { "jittered" } else { "regular" }
            );
            let day: Vec<i64> = data::times(STRETCH, jittered).collect();
            let times = day.repeat(series);
            let columns = Columns { times: &times, values: &values, bitmap: &bitmap };
            for width in WIDTHS {
                for nulls in [false, true] {
                    let case = Case { kind, width, jittered, nulls };
                    measured.push(self.case(case, &columns));
                }
            }
        }
        measured
    }

    fn case<T: Sample>(&self, case: Case, columns: &Columns<'_, T>) -> Measured {
        let rows = columns.values.len() as f64;
        let read_seconds = best(self.rounds, || {
            black_box(read(black_box(&self.words)));
        });
        let mut out = Reduced::default();
        let mut edges = Edges::default();
        let grid = data::grid(case.width);
        let whole = best(self.rounds, || {
            columns.each_stretch(case.nulls, |times, values, validity| {
                edges.find(times, grid);
                reduce_into(&mut out, values, validity, edges.ends());
            });
        });
        let known = columns.edges(case.width);
        let reduced = best(self.rounds, || {
            let mut known = known.iter();
            columns.each_stretch(case.nulls, |_, values, validity| {
                let edges = known.next().expect("every stretch has its edges");
                reduce_into(&mut out, values, validity, edges.ends());
            });
        });
        Measured {
            case,
            value_bytes: size_of::<T>(),
            whole: rows / whole,
            reduced: rows / reduced,
            read_gb_per_second: size_of_val(self.words.as_slice()) as f64 / read_seconds / 1e9,
        }
    }
}

/// Seconds of the best round.
pub(crate) fn best(rounds: u32, mut round: impl FnMut()) -> f64 {
    let seconds = (0..rounds).map(|_| {
        let begun = Instant::now();
        round();
        begun.elapsed().as_secs_f64()
    });
    seconds.fold(f64::INFINITY, f64::min)
}

impl<T: Sample> Columns<'_, T> {
    fn each_stretch(
        &self,
        nulls: bool,
        mut reduce: impl FnMut(&[i64], &[T], Option<Validity<'_>>),
    ) {
        let stretches = self.times.chunks(STRETCH).zip(self.values.chunks(STRETCH));
        for (at, (times, values)) in stretches.enumerate() {
            let validity = nulls.then(|| Validity::new(self.bitmap, at * STRETCH));
            reduce(times, values, validity);
        }
    }

    fn edges(&self, width: u32) -> Vec<Edges> {
        let grid = data::grid(width);
        let one = |times| {
            let mut edges = Edges::default();
            edges.find(times, grid);
            edges
        };
        self.times.chunks(STRETCH).map(one).collect()
    }
}

/// A stretch's buckets, in place of those of the stretch before.
pub(crate) fn reduce_into<T: Sample>(
    out: &mut Reduced<T>,
    values: &[T],
    validity: Option<Validity<'_>>,
    ends: &[u32],
) {
    out.clear();
    reduce(values, validity, ends, out);
    black_box(&*out);
}
