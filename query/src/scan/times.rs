//! The stretch of time that a statement's filters leave.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use warpline_storage::TimeRange;

/// A range that holds every time the filters can pass; it may hold more. It is empty, with
/// `first` after `last`, where no time can.
pub(super) fn asked_times(filters: &[Expr]) -> TimeRange {
    let bounds = filters.iter().flat_map(split_conjunction).filter_map(bound);
    bounds.fold(TimeRange::ALL, |asked, Bound { inside, .. }| TimeRange {
        first: asked.first.max(inside.first),
        last: asked.last.min(inside.last),
    })
}

/// The same range, and the filters that say more than it does.
pub(crate) fn times_apart(filters: &[Expr]) -> (TimeRange, Vec<Expr>) {
    let parts = filters.iter().flat_map(split_conjunction);
    let rest = parts.filter(|part| !bound(part).is_some_and(|bound| bound.exact));
    (asked_times(filters), rest.cloned().collect())
}

/// What a comparison of time with a literal leaves.
struct Bound {
    inside: TimeRange,
    /// Every time inside passes.
    exact: bool,
}

fn bound(filter: &Expr) -> Option<Bound> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else {
        return None;
    };
    let (time, instant, op) = match (literal(left), literal(right)) {
        (None, Some(instant)) => (left, instant, *op),
        (Some(instant), None) => (right, instant, op.swap()?),
        _ => return None,
    };
    if !is_time(time) {
        return None;
    }
    let Instant { floor, ceiling, exact } = instant;
    let mut inside = TimeRange::ALL;
    let (after, before) = if exact { (floor + 1, ceiling - 1) } else { (floor, ceiling) };
    let (from, until) = if exact { (ceiling, floor) } else { (floor, ceiling) };
    match op {
        Operator::Eq => inside = TimeRange { first: from, last: until },
        Operator::Gt => inside.first = after,
        Operator::GtEq => inside.first = from,
        Operator::Lt => inside.last = before,
        Operator::LtEq => inside.last = until,
        _ => return None,
    }
    Some(Bound { inside, exact })
}

/// The time column itself, or it in one other unit: a second cast could cut it off or move it.
fn is_time(expr: &Expr) -> bool {
    match expr {
        Expr::Column(column) => column.name == "time",
        Expr::Cast(cast) => {
            matches!(&*cast.expr, Expr::Column(column) if column.name == "time")
                && matches!(cast.field.data_type(), DataType::Timestamp(..))
        }
        _ => false,
    }
}

/// A literal time in microseconds.
struct Instant {
    /// The last microsecond not after it, and the first not before it.
    floor: i64,
    ceiling: i64,
    /// Whether comparing with it compares with time itself: a coarser unit cuts time off first.
    exact: bool,
}

fn literal(expr: &Expr) -> Option<Instant> {
    let Expr::Literal(value, _) = expr else {
        return None;
    };
    let span = |floor: i64, width: i64| Instant {
        floor,
        ceiling: floor.saturating_add(width - 1),
        exact: false,
    };
    Some(match value {
        ScalarValue::TimestampSecond(Some(s), _) => span(s.saturating_mul(1_000_000), 1_000_000),
        ScalarValue::TimestampMillisecond(Some(ms), _) => span(ms.saturating_mul(1_000), 1_000),
        ScalarValue::TimestampMicrosecond(Some(us), _) => {
            let inside = *us != i64::MIN && *us != i64::MAX;
            Instant { floor: *us, ceiling: *us, exact: inside }
        }
        ScalarValue::TimestampNanosecond(Some(ns), _) => {
            let floor = ns.div_euclid(1_000);
            let ceiling = floor + i64::from(ns.rem_euclid(1_000) != 0);
            Instant { floor, ceiling, exact: true }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::{cast, col, lit};

    fn micros(value: i64) -> Expr {
        lit(ScalarValue::TimestampMicrosecond(Some(value), Some("UTC".into())))
    }

    fn nanos(value: i64) -> Expr {
        lit(ScalarValue::TimestampNanosecond(Some(value), Some("UTC".into())))
    }

    fn time_in(literal: &Expr) -> Expr {
        let Expr::Literal(value, _) = literal else { unreachable!("a literal") };
        cast(col("time"), value.data_type())
    }

    fn asked(filters: &[Expr]) -> (i64, i64) {
        let range = asked_times(filters);
        (range.first, range.last)
    }

    const ALL: (i64, i64) = (TimeRange::ALL.first, TimeRange::ALL.last);

    #[test]
    fn comparisons_with_time_narrow_the_range() {
        assert_eq!(asked(&[]), ALL);
        assert_eq!(asked(&[col("time").gt_eq(micros(5)), col("time").lt(micros(9))]), (5, 8));
        assert_eq!(asked(&[micros(5).lt_eq(col("time")).and(col("time").eq(micros(7)))]), (7, 7));
        assert_eq!(asked(&[col("gpu_util").gt(lit(5)), col("time").not_eq(micros(3))]), ALL);
    }

    #[test]
    fn nanoseconds_fall_between_microseconds() {
        let (literal, time) = (nanos(1_500), time_in(&nanos(1_500)));
        assert_eq!(asked(&[time.clone().gt(literal.clone())]), (2, ALL.1));
        assert_eq!(asked(&[time.clone().gt_eq(literal.clone())]), (2, ALL.1));
        assert_eq!(asked(&[time.clone().lt(literal.clone())]), (ALL.0, 1));
        assert_eq!(asked(&[time.clone().lt_eq(literal.clone())]), (ALL.0, 1));
        assert_eq!(asked(&[time.eq(literal)]), (2, 1));
    }

    #[test]
    fn a_second_cast_is_no_bound() {
        let Expr::Literal(second, _) = lit(ScalarValue::TimestampSecond(Some(1), None)) else {
            unreachable!("a literal")
        };
        let cut = cast(col("time"), second.data_type());
        let Expr::Literal(value, _) = nanos(1_500) else { unreachable!("a literal") };
        assert_eq!(asked(&[cast(cut, value.data_type()).lt(nanos(1_500))]), ALL);
    }

    #[test]
    fn filters_that_a_range_says_exactly_are_told_apart() {
        let second = lit(ScalarValue::TimestampSecond(Some(1), Some("UTC".into())));
        let coarse = time_in(&second).gt(second);
        let other = col("gpu_util").gt(lit(5));
        let fine = col("time").gt_eq(micros(5));
        let (range, rest) = times_apart(&[fine.and(other.clone()), coarse.clone()]);
        assert_eq!((range.first, range.last), (1_000_000, ALL.1));
        assert_eq!(rest, [other, coarse]);
    }
}
