//! The grid behind the ways people write a bucket of time.
//!
//! A shape that is recognised only suggests a grid. That the expression has one value within each
//! bucket, and rises or falls from bucket to bucket, is then checked by evaluating it at every edge in use, unless
//! it is so by construction (`date_bin`, `date_trunc`). The expression itself gives the answer's
//! bucket column, evaluated at the buckets' starts, so it looks as the plan's own would.

use crate::functions::ROUND_TO_EVEN;
use arrow::array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::kernels::cmp::{gt, lt, not_distinct};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_expr::PhysicalExpr;
use std::sync::Arc;
use warpline_kernel::Grid;
use warpline_storage::TimeRange;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// A Monday: `date_trunc` begins weeks there. In days since 1970.
const MONDAY: i64 = -3;

/// Edges that are checked at most; a statement with more keeps its own plan.
const MAX_EDGES: i64 = 1 << 17;

/// `time` as nanoseconds has to fit 64 bits.
const NANOSECOND_TIMES: TimeRange =
    TimeRange { first: i64::MIN / 1_000 + 1, last: i64::MAX / 1_000 - 1 };

/// What an expression over `time` suggests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suggestion {
    pub grid: Grid,
    /// Whether the grid holds by construction.
    pub certain: bool,
}

/// The grid that an expression's values follow, if it depends on time through one bucket alone.
pub(super) fn suggested(expr: &Expr) -> Option<Suggestion> {
    if let Some(found) = shape(expr) {
        return Some(found);
    }
    let mut found: Option<Suggestion> = None;
    let mut sound = true;
    let walked = expr.apply(|part| {
        if let Some(part) = shape(part) {
            let part = Suggestion { certain: false, ..part };
            sound &= found.is_none_or(|before| before.grid == part.grid);
            found = Some(part);
            return Ok(TreeNodeRecursion::Jump);
        }
        sound &= !matches!(part, Expr::Column(_));
        Ok(TreeNodeRecursion::Continue)
    });
    walked.ok()?;
    found.filter(|_| sound)
}

fn shape(expr: &Expr) -> Option<Suggestion> {
    match expr {
        Expr::ScalarFunction(call) => match (call.func.name(), call.args.as_slice()) {
            ("date_bin", [stride, time]) if is_time(time) => binned(stride, 0),
            ("date_bin", [stride, time, Expr::Literal(origin, _)]) if is_time(time) => {
                binned(stride, micros(origin)?)
            }
            ("date_trunc", [Expr::Literal(unit, _), time]) if is_time(time) => {
                truncated(unit.try_as_str()??)
            }
            ("floor", [quotient]) => divided(quotient),
            _ => None,
        },
        // The seconds as whole numbers: integer division floors what is not negative.
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, .. })
            if matches!(&**left, Expr::Cast(_)) =>
        {
            divided(expr)
        }
        _ => None,
    }
}

/// `time`, or it in nanoseconds.
fn is_time(expr: &Expr) -> bool {
    match expr {
        Expr::Column(column) => column.name == "time",
        Expr::Cast(cast) => {
            matches!(&*cast.expr, Expr::Column(column) if column.name == "time")
                && matches!(
                    cast.field.data_type(),
                    DataType::Timestamp(
                        arrow::datatypes::TimeUnit::Nanosecond
                            | arrow::datatypes::TimeUnit::Microsecond,
                        _
                    )
                )
        }
        _ => false,
    }
}

fn binned(stride: &Expr, origin: i64) -> Option<Suggestion> {
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(stride)), _) = stride else {
        return None;
    };
    if stride.months != 0 || stride.nanoseconds % 1_000 != 0 {
        return None;
    }
    let days = i64::from(stride.days).checked_mul(MICROS_PER_DAY)?;
    let width = days.checked_add(stride.nanoseconds / 1_000)?;
    Some(Suggestion { grid: Grid::new(width, origin)?, certain: true })
}

fn micros(time: &ScalarValue) -> Option<i64> {
    match time {
        ScalarValue::TimestampMicrosecond(Some(us), _) => Some(*us),
        ScalarValue::TimestampNanosecond(Some(ns), _) if ns % 1_000 == 0 => Some(ns / 1_000),
        _ => None,
    }
}

fn truncated(unit: &str) -> Option<Suggestion> {
    let (width, origin) = match unit.to_ascii_lowercase().as_str() {
        "millisecond" => (1_000, 0),
        "second" => (MICROS_PER_SECOND, 0),
        "minute" => (60 * MICROS_PER_SECOND, 0),
        "hour" => (3_600 * MICROS_PER_SECOND, 0),
        "day" => (MICROS_PER_DAY, 0),
        "week" => (7 * MICROS_PER_DAY, MONDAY * MICROS_PER_DAY),
        _ => return None,
    };
    Some(Suggestion { grid: Grid::new(width, origin)?, certain: false })
}

/// `date_part('epoch', time) / n`, the numerator possibly rounded to whole seconds.
fn divided(quotient: &Expr) -> Option<Suggestion> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right }) = quotient else {
        return None;
    };
    let Expr::Literal(seconds, _) = &**right else {
        return None;
    };
    let seconds = match seconds {
        ScalarValue::Float64(Some(seconds)) => *seconds,
        ScalarValue::Int64(Some(seconds)) => *seconds as f64,
        _ => return None,
    };
    let width = seconds * MICROS_PER_SECOND as f64;
    let whole = (1.0..=1e17).contains(&width) && width.fract() == 0.0;
    let (seconds, origin) = match &**left {
        Expr::Cast(cast) if cast.field.data_type() == &DataType::Int64 => rounded(&cast.expr),
        Expr::Cast(cast) if cast.field.data_type() == &DataType::Float64 => (&*cast.expr, 0),
        _ => (&**left, 0),
    };
    (whole && is_epoch(seconds))
        .then(|| Some(Suggestion { grid: Grid::new(width as i64, origin)?, certain: false }))?
}

/// Seconds that are rounded to whole ones, which begin half a second earlier.
fn rounded(seconds: &Expr) -> (&Expr, i64) {
    match seconds {
        Expr::ScalarFunction(call) if call.name() == ROUND_TO_EVEN => {
            (&call.args[0], -MICROS_PER_SECOND / 2)
        }
        _ => (seconds, 0),
    }
}

fn is_epoch(expr: &Expr) -> bool {
    let Expr::ScalarFunction(call) = expr else { return false };
    match call.args.as_slice() {
        [Expr::Literal(part, _), Expr::Column(time)] => {
            let part = part.try_as_str().flatten().unwrap_or_default();
            call.func.name() == "date_part"
                && part.eq_ignore_ascii_case("epoch")
                && time.name == "time"
        }
        _ => false,
    }
}

/// Buckets of a statement: their grid and how they are written.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub grid: Grid,
    /// Over a schema of `time` alone.
    pub expr: Arc<dyn PhysicalExpr>,
    pub schema: SchemaRef,
}

impl Bucket {
    /// Whether the expression follows the grid for all times of `span`.
    pub(super) fn holds(&self, span: TimeRange, certain: bool) -> Result<bool> {
        let (first, last) = (self.grid.bucket(span.first), self.grid.bucket(span.last));
        let starts = (self.grid.start(first), self.grid.start(last));
        if !NANOSECOND_TIMES.contains(starts.0) || !NANOSECOND_TIMES.contains(span.last) {
            return Ok(false);
        }
        if certain {
            return Ok(true);
        }
        if last - first > MAX_EDGES {
            return Ok(false);
        }
        let starts: Vec<i64> = (first..=last).map(|number| self.grid.start(number)).collect();
        let ends: Vec<i64> = starts.iter().map(|start| start + self.grid.width() - 1).collect();
        let (starts, ends) = (self.evaluate(starts)?, self.evaluate(ends)?);
        let edges = starts.len().saturating_sub(1);
        let constant = not_distinct(&starts, &ends)?;
        let (before, after) = (starts.slice(0, edges), starts.slice(1.min(starts.len()), edges));
        let rising = lt(&before, &after)?.true_count() == edges;
        let falling = gt(&before, &after)?.true_count() == edges;
        Ok(constant.true_count() == constant.len() && (rising || falling))
    }

    /// The bucket column of buckets that begin at `starts`.
    pub(super) fn evaluate(&self, starts: Vec<i64>) -> Result<ArrayRef> {
        let rows = starts.len();
        let zone = match self.schema.field(0).data_type() {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        let times = TimestampMicrosecondArray::from(starts).with_timezone_opt(zone);
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), vec![Arc::new(times)])?;
        self.expr.evaluate(&batch)?.into_array(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::functions::expr_fn::{date_bin, date_part, date_trunc, floor};
    use datafusion::prelude::{cast, col, lit};

    fn grid(expr: &Expr) -> Option<(i64, i64)> {
        suggested(expr).map(|found| (found.grid.width(), found.grid.origin()))
    }

    fn epoch() -> Expr {
        date_part(lit("EPOCH"), col("time"))
    }

    #[test]
    fn buckets_are_known_by_shape() {
        let minute = lit(ScalarValue::new_interval_mdn(0, 0, 60_000_000_000));
        let origin = lit(ScalarValue::TimestampNanosecond(Some(5_000), None));
        let month = lit(ScalarValue::new_interval_mdn(1, 0, 0));
        for (expr, wanted) in [
            (date_bin(minute.clone(), col("time"), origin), Some((60_000_000, 5))),
            (date_bin(month, col("time"), lit(ScalarValue::Null)), None),
            (date_trunc(lit("hour"), col("time")), Some((3_600_000_000, 0))),
            (date_trunc(lit("month"), col("time")), None),
            (floor(epoch() / lit(300.0)) * lit(300.0), Some((300_000_000, 0))),
            (floor(epoch() / lit(0.0)) * lit(0.0), None),
            (cast(epoch(), DataType::Int64) / lit(60_i64), Some((60_000_000, 0))),
            (cast(epoch(), DataType::Int64) / lit(60_i64) * lit(60_i64), Some((60_000_000, 0))),
            (floor(epoch() / lit(300.0)) + epoch(), None),
            (col("time"), None),
        ] {
            assert_eq!(grid(&expr), wanted, "{expr}");
        }
    }
}
