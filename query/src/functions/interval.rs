//! Intervals in order, as PostgreSQL has it: a month is as long as 30 days and a day as 24 hours, so
//! that `'1 day'` equals `'24 hours'`. Arrow compares months, then days, then what is left.

use crate::rewrite::{is_comparison, rewrite_where};
use arrow::array::{AsArray, Decimal128Array};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{
    Between, BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::prelude::cast;
use std::sync::Arc;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
const LENGTH: DataType = DataType::Decimal128(38, 0);
const DAY_NANOS: i128 = 86_400_000_000_000;
const MONTH_NANOS: i128 = 30 * DAY_NANOS;

/// Compares intervals by their lengths, also with what lies between two times, and either with texts
/// that are intervals.
#[derive(Debug, Default)]
pub(crate) struct IntervalsByLength;

impl AnalyzerRule for IntervalsByLength {
    fn name(&self) -> &'static str {
        "intervals_by_length"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_where(plan, compares, |schema, expr| Ok(by_length(schema, expr)))
    }
}

fn compares(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(binary) => is_comparison(binary.op),
        Expr::Between(_) | Expr::InList(_) => true,
        _ => false,
    }
}

fn by_length(schema: &DFSchema, expr: Expr) -> Transformed<Expr> {
    let alike = |parts: &[&Expr]| are_intervals(schema, parts);
    let done = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if is_comparison(op) && alike(&[&left, &right]) =>
        {
            let [left, right] = [left, right].map(|side| Box::new(length(*side)));
            Expr::BinaryExpr(BinaryExpr { left, op, right })
        }
        Expr::Between(Between { expr, negated, low, high }) if alike(&[&expr, &low, &high]) => {
            let [expr, low, high] = [expr, low, high].map(|part| Box::new(length(*part)));
            Expr::Between(Between { expr, negated, low, high })
        }
        Expr::InList(InList { expr, list, negated })
            if alike(&std::iter::once(&*expr).chain(&list).collect::<Vec<_>>()) =>
        {
            let list = list.into_iter().map(length).collect();
            Expr::InList(InList { expr: Box::new(length(*expr)), list, negated })
        }
        other => return Transformed::no(other),
    };
    Transformed::yes(done)
}

/// Whether these are intervals, and not all just what lies between two times: such are in order as
/// they are.
fn are_intervals(schema: &DFSchema, parts: &[&Expr]) -> bool {
    let known = parts.iter().map(|part| match part.get_type(schema).ok()? {
        DataType::Interval(_) => Some(Known::Interval),
        DataType::Duration(_) => Some(Known::Between),
        DataType::Null => Some(Known::Text),
        of if of.is_string() && matches!(part, Expr::Literal(..)) => Some(Known::Text),
        _ => None,
    });
    let Some(known) = known.collect::<Option<Vec<_>>>() else { return false };
    let has = |kind| known.contains(&kind);
    has(Known::Interval) || has(Known::Between) && has(Known::Text)
}

/// What is known of a part of a comparison.
#[derive(PartialEq)]
enum Known {
    Interval,
    /// The time between two times.
    Between,
    /// What may be read as an interval.
    Text,
}

fn length(interval: Expr) -> Expr {
    let signature = Signature::exact(vec![INTERVAL], Volatility::Immutable);
    ScalarUDF::from(Length { signature }).call(vec![cast(interval, INTERVAL)])
}

/// An interval's nanoseconds.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Length {
    signature: Signature,
}

impl ScalarUDFImpl for Length {
    fn name(&self) -> &'static str {
        "interval_length"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(LENGTH)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [intervals] = &ColumnarValue::values_to_arrays(&args.args)?[..] else {
            return internal_err!("{} takes one argument", self.name());
        };
        let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
        let lengths: Decimal128Array = intervals.unary(nanos);
        Ok(ColumnarValue::Array(Arc::new(lengths.with_data_type(LENGTH))))
    }
}

fn nanos(interval: IntervalMonthDayNano) -> i128 {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    i128::from(months) * MONTH_NANOS + i128::from(days) * DAY_NANOS + i128::from(nanoseconds)
}
