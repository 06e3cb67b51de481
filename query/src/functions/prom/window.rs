//! One window's answer, as Prometheus' `increase`, `rate` and `delta` extrapolate it.

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::functions) enum Kind {
    Increase,
    Rate,
    Delta,
}

/// A time in microseconds and a value.
pub(super) type Sample = (i64, f64);

const MICROS: f64 = 1e6;

/// The answer over `samples`, which ascend in time and lie in `start..end`; `None` for fewer than
/// two. What the samples show is stretched to the window's ends where the series seems to go on
/// there: to an end that is less than 1.1 mean steps away, and otherwise half a mean step on; and
/// for counters not before the time at which the line through them would have been zero.
pub(super) fn extrapolated(kind: Kind, samples: &[Sample], start: i64, end: i64) -> Option<f64> {
    let [(first_time, first), .., (last_time, last)] = samples else {
        return None;
    };
    let counts = kind != Kind::Delta;
    let mut change = last - first;
    if counts {
        let steps = samples.windows(2).map(|step| (step[0].1, step[1].1));
        change = steps.filter(|(p, v)| v < p).fold(change, |change, (p, _)| change + p);
    }
    let seconds = |micros: i64| micros as f64 / MICROS;
    let covered = seconds(last_time - first_time);
    let step = covered / (samples.len() - 1) as f64;
    let near = step * 1.1;
    let stretch = |distance: f64| if distance >= near { step / 2.0 } else { distance };
    let mut to_start = stretch(seconds(first_time - start));
    if counts && change > 0.0 && *first >= 0.0 {
        to_start = to_start.min(covered * (first / change));
    }
    let to_end = stretch(seconds(end - last_time));
    let mut factor = (covered + to_start + to_end) / covered;
    if kind == Kind::Rate {
        factor /= seconds(end - start);
    }
    Some(change * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn samples(start: i64, step: i64, values: &[f64]) -> Vec<Sample> {
        let times = (0..).map(|index| (start + index * step) * SECOND);
        times.zip(values.iter().copied()).collect()
    }

    fn over(kind: Kind, samples: &[Sample], start: i64, end: i64) -> Option<f64> {
        extrapolated(kind, samples, start * SECOND, end * SECOND)
    }

    /// 10 a step of 10 s. Both ends lie within 1.1 steps: 50 in 50 s becomes 60 in 60 s.
    #[test]
    fn a_full_window_is_stretched_to_its_ends() {
        let full = samples(5, 10, &[100.0, 110.0, 120.0, 130.0, 140.0, 150.0]);
        assert_eq!(over(Kind::Increase, &full, 0, 60), Some(60.0));
        assert_eq!(over(Kind::Rate, &full, 0, 60), Some(1.0));
        assert_eq!(over(Kind::Delta, &full, 0, 60), Some(60.0));
    }

    /// 20 in 20 s, and the ends are 20 s away, more than 11: half a step on each side.
    #[test]
    fn far_ends_are_approached_by_half_a_step() {
        let middle = samples(20, 10, &[100.0, 110.0, 120.0]);
        assert_eq!(over(Kind::Increase, &middle, 0, 60), Some(30.0));
    }

    /// The counter was zero 2 s before its first sample: the line is not drawn further back.
    #[test]
    fn counters_do_not_begin_below_zero() {
        let young = samples(5, 10, &[2.0, 12.0, 22.0, 32.0, 42.0, 52.0]);
        assert_eq!(over(Kind::Increase, &young, 0, 60), Some(50.0 * (57.0 / 50.0)));
        assert_eq!(over(Kind::Delta, &young, 0, 60), Some(60.0));
    }

    /// 30 and 40 were lost at resets: 5 - 10 + 30 + 40 = 65 in 50 s.
    #[test]
    fn resets_are_added_back_for_counters_alone() {
        let reset = samples(5, 10, &[10.0, 30.0, 0.0, 20.0, 40.0, 5.0]);
        let factor = (50.0 + 5.0 + 5.0) / 50.0;
        assert_eq!(over(Kind::Increase, &reset, 0, 60), Some(65.0 * factor));
        assert_eq!(over(Kind::Delta, &reset, 0, 60), Some(-5.0 * factor));
    }

    #[test]
    fn fewer_than_two_samples_have_no_answer() {
        assert_eq!(over(Kind::Increase, &[], 0, 60), None);
        assert_eq!(over(Kind::Rate, &samples(5, 10, &[1.0]), 0, 60), None);
    }
}
