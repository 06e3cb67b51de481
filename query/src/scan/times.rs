//! The stretch of time that a statement's filters leave.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use warpline_storage::TimeRange;

/// A range that holds every time the filters can pass; it may hold more.
pub(super) fn asked_times(filters: &[Expr]) -> TimeRange {
    let mut asked = TimeRange::ALL;
    for filter in filters {
        narrow(&mut asked, filter);
    }
    asked
}

fn narrow(asked: &mut TimeRange, filter: &Expr) {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else {
        return;
    };
    if *op == Operator::And {
        narrow(asked, left);
        narrow(asked, right);
        return;
    }
    let (bound, op) = match (is_time(left), literal(right), literal(left), is_time(right)) {
        (true, Some(bound), ..) => (bound, *op),
        (.., Some(bound), true) => match op.swap() {
            Some(op) => (bound, op),
            None => return,
        },
        _ => return,
    };
    let (floor, ceiling) = bound;
    if matches!(op, Operator::Eq | Operator::Gt | Operator::GtEq) {
        asked.first = asked.first.max(floor);
    }
    if matches!(op, Operator::Eq | Operator::Lt | Operator::LtEq) {
        asked.last = asked.last.min(ceiling);
    }
}

/// The time column itself, or it in another unit.
fn is_time(expr: &Expr) -> bool {
    match expr {
        Expr::Column(column) => column.name == "time",
        Expr::Cast(cast) if cast.field.data_type().is_temporal() => {
            is_time(&cast.expr)
                && matches!(cast.field.data_type(), arrow::datatypes::DataType::Timestamp(..))
        }
        _ => false,
    }
}

/// The microseconds at and around a literal time.
fn literal(expr: &Expr) -> Option<(i64, i64)> {
    let Expr::Literal(value, _) = expr else {
        return None;
    };
    match value {
        ScalarValue::TimestampSecond(Some(s), _) => {
            let micros = s.saturating_mul(1_000_000);
            Some((micros, micros.saturating_add(999_999)))
        }
        ScalarValue::TimestampMillisecond(Some(ms), _) => {
            let micros = ms.saturating_mul(1_000);
            Some((micros, micros.saturating_add(999)))
        }
        ScalarValue::TimestampMicrosecond(Some(us), _) => Some((*us, *us)),
        ScalarValue::TimestampNanosecond(Some(ns), _) => {
            let floor = ns.div_euclid(1_000);
            Some((floor, floor + i64::from(ns.rem_euclid(1_000) != 0)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::{cast, col, lit};

    fn micros(value: i64) -> Expr {
        lit(ScalarValue::TimestampMicrosecond(Some(value), Some("UTC".into())))
    }

    #[test]
    fn comparisons_with_time_narrow_the_range() {
        let asked = |filters: &[Expr]| {
            let range = asked_times(filters);
            (range.first, range.last)
        };
        let all = (TimeRange::ALL.first, TimeRange::ALL.last);
        assert_eq!(asked(&[]), all);
        assert_eq!(asked(&[col("time").gt_eq(micros(5)), col("time").lt(micros(9))]), (5, 9));
        assert_eq!(asked(&[micros(5).lt_eq(col("time")).and(col("time").eq(micros(7)))]), (7, 7));
        let nanos = lit(ScalarValue::TimestampNanosecond(Some(1_500), Some("UTC".into())));
        let kind = nanos.clone();
        let Expr::Literal(value, _) = kind else { unreachable!("a literal") };
        let time = cast(col("time"), value.data_type());
        assert_eq!(asked(&[time.clone().gt(nanos.clone()), time.lt(nanos)]), (1, 2));
        assert_eq!(asked(&[col("gpu_util").gt(lit(5)), col("time").not_eq(micros(3))]), all);
    }
}
