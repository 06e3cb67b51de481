//! Widths of buckets and windows: constants of a fixed length.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, TimeUnit};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use std::sync::Arc;

/// The value of an expression without columns.
pub(super) fn constant(expr: &Arc<dyn PhysicalExpr>) -> Result<ScalarValue> {
    let one_row = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &one_row)?;
    ScalarValue::try_from_array(&expr.evaluate(&row)?.into_array(1)?, 0)
}

/// An interval in units of time, for the function `name`.
pub(super) fn whole_units(name: &str, interval: &ScalarValue, unit: TimeUnit) -> Result<i64> {
    let ScalarValue::IntervalMonthDayNano(Some(width)) = interval else {
        return plan_err!("{name} takes a constant interval as its width");
    };
    let nanos = i128::from(width.days) * 86_400_000_000_000 + i128::from(width.nanoseconds);
    let per_unit = match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    };
    match i64::try_from(nanos / per_unit) {
        Ok(units) if width.months == 0 && nanos > 0 && nanos % per_unit == 0 => Ok(units),
        _ => plan_err!(
            "{name} takes a width of weeks, days, hours or less, more than nothing and whole in \
             the unit of its times"
        ),
    }
}
