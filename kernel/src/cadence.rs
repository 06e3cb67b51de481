//! Finding edges without reading the times between them.
//!
//! Samples come at a cadence, so the edge of the k-th bucket from here lies near `k` times the rows
//! of a bucket. A window of times around that place, compared at once, tells the edge itself as
//! long as it lies inside: jitter costs nothing. The places do not depend on what was read, so that
//! the processor fetches many of them at a time. Where an edge is not in its window (a gap, another
//! cadence, drift) it is sought outwards from there, and the rows of a bucket are learnt anew.

use crate::lanes::{Instructions, WINDOW};
use crate::{Edges, Grid};

/// Binary digits after the point of rows that are counted in fractions: room is left for the sum
/// of two counts of 32 bits.
const FRACTION: u32 = 24;
const ONE: u64 = 1 << FRACTION;
/// Buckets between an edge and the one whose times are asked for while it is read.
const AHEAD: u64 = 16;
/// Rows that the first guess looks at.
const GUESS_ROWS: usize = 32;

#[inline(always)]
pub(crate) fn find<I: Instructions>(on: I, times: &[i64], grid: Grid, edges: &mut Edges) {
    let mut rows = guess(times, grid);
    let (mut row, mut steady) = (0, true);
    while row < times.len() {
        let number = grid.bucket(times[row]);
        let Some(bound) = grid.end(number) else {
            return edges.push(number, times.len() as u32);
        };
        let end = seek(times, row, row + (rows >> FRACTION) as usize, bound);
        edges.push(number, end as u32);
        if !steady {
            rows = ((end - row) as u64) << FRACTION;
        }
        let run = Run { times, grid, row: end, number, bound };
        let (reached, buckets) = if rows < ONE { (end, 0) } else { run.follow(on, rows, edges) };
        steady = buckets > 0;
        if steady {
            rows = (((reached - end) as u64) << FRACTION) / buckets;
        }
        row = reached;
    }
}

/// Rows of a bucket, in fractions, by the first times; 0 if they do not tell.
fn guess(times: &[i64], grid: Grid) -> u64 {
    let sample = &times[..times.len().min(GUESS_ROWS)];
    let [first, .., last] = sample else { return 0 };
    let span = last.saturating_sub(*first) as f64;
    if span <= 0.0 {
        return 0;
    }
    let rows = grid.width() as f64 * (sample.len() - 1) as f64 / span;
    (rows.min(times.len() as f64) * ONE as f64) as u64
}

/// Edges that follow one another from a bucket on.
struct Run<'a> {
    times: &'a [i64],
    grid: Grid,
    /// Where the bucket ends.
    row: usize,
    number: i64,
    bound: i64,
}

impl Run<'_> {
    /// Appends buckets as long as their edges lie near multiples of `rows`. Returns the row after
    /// the last of them, and how many grid steps that was.
    #[inline(always)]
    fn follow<I: Instructions>(mut self, on: I, rows: u64, edges: &mut Edges) -> (usize, u64) {
        let mut place = ((self.row as u64) << FRACTION) + ONE / 2;
        let mut buckets = 0;
        loop {
            place += rows;
            let Some(from) = ((place >> FRACTION) as usize).checked_sub(WINDOW / 2) else { break };
            let Some(window) = self.times.get(from..).and_then(<[i64]>::first_chunk) else { break };
            let Some(bound) = self.bound.checked_add(self.grid.width()) else { break };
            // The outermost number has no end.
            let Some(number) = self.number.checked_add(1).filter(|n| *n < i64::MAX) else { break };
            let later = (place + rows * AHEAD) >> FRACTION;
            on.fetch(self.times.as_ptr().wrapping_add(later as usize));
            let below = on.below(window, bound);
            let end = from + below;
            // With none below, the edge may lie before the window.
            if below % WINDOW == 0 || end < self.row {
                break;
            }
            (self.number, self.bound) = (number, bound);
            if end > self.row {
                edges.push(number, end as u32);
            }
            self.row = end;
            buckets += 1;
        }
        (self.row, buckets)
    }
}

/// The first row at or after a bound, sought from `hint` outwards; `row` lies below the bound.
fn seek(times: &[i64], row: usize, hint: usize, bound: i64) -> usize {
    let (mut low, mut high, mut step) = (row + 1, times.len(), 1);
    let hint = hint.clamp(low, high);
    if times[hint - 1] < bound {
        low = hint;
        while high - low > step {
            let probe = low + step;
            if times[probe - 1] >= bound {
                high = probe - 1;
                break;
            }
            (low, step) = (probe, step * 2);
        }
    } else {
        high = hint - 1;
        while high - low > step {
            let probe = high - step;
            if times[probe] < bound {
                low = probe + 1;
                break;
            }
            (high, step) = (probe, step * 2);
        }
    }
    low + times[low..high].partition_point(|time| *time < bound)
}
