//! The analyzer rule that puts a connection's time zone into its statements.
//!
//! Times are UTC throughout. Where a connection has another zone, what depends on one is evaluated
//! in it: `date_trunc`, `date_part`, `extract`, `to_char` and `current_date`, casts to dates, times
//! without a zone and text, and these three where they are compared with times or cast to them.

use crate::rewrite::{is_comparison, rewrite_where};
use crate::settings::SessionSettings;
use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::functions::datetime::to_local_time;
use datafusion::functions::expr_fn::now;
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use datafusion::prelude::cast;
use std::sync::Arc;

const UTC: &str = "UTC";

#[derive(Debug, Default)]
pub(crate) struct InZone;

impl AnalyzerRule for InZone {
    fn name(&self) -> &'static str {
        "in_zone"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let settings = config.extensions.get::<SessionSettings>();
        let zone = settings.and_then(|settings| {
            Some(Zone { zone: settings.time_zone()?, name: settings.time_zone_name()?.into() })
        });
        match zone {
            Some(zone) => {
                rewrite_where(plan, |_| true, |schema, expr| Ok(zone.rewrite(schema, expr)))
            }
            None => Ok(plan),
        }
    }
}

struct Zone {
    zone: Tz,
    name: Arc<str>,
}

impl Zone {
    fn rewrite(&self, schema: &DFSchema, expr: Expr) -> Transformed<Expr> {
        match expr {
            Expr::ScalarFunction(call) if call.func.name() == "current_date" => {
                let now = labelled(schema, now(), Arc::clone(&self.name));
                Transformed::yes(cast(now, DataType::Date32))
            }
            Expr::ScalarFunction(call) => self.call(schema, call),
            Expr::Cast(cast) => self.cast(schema, cast),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
                let (left, right) = if is_time(schema, &left) {
                    (left, Box::new(self.utc(schema, *right)))
                } else if is_time(schema, &right) {
                    (Box::new(self.utc(schema, *left)), right)
                } else {
                    return Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }));
                };
                Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
            }
            Expr::Between(between) if is_time(schema, &between.expr) => {
                let [low, high] = [between.low, between.high].map(|end| self.utc(schema, *end));
                let (low, high) = (Box::new(low), Box::new(high));
                Transformed::yes(Expr::Between(Between { low, high, ..between }))
            }
            Expr::InList(list) if is_time(schema, &list.expr) => {
                let all = list.list.into_iter().map(|one| self.utc(schema, one));
                Transformed::yes(Expr::InList(InList { list: all.collect(), ..list }))
            }
            other => Transformed::no(other),
        }
    }

    /// The function over the time in the zone.
    fn call(&self, schema: &DFSchema, mut call: ScalarFunction) -> Transformed<Expr> {
        let place = match call.func.name() {
            "date_trunc" | "date_part" => 1,
            "to_char" => 0,
            _ => return Transformed::no(Expr::ScalarFunction(call)),
        };
        let Some(local) = call.args.get(place).and_then(|time| self.local(schema, time)) else {
            return Transformed::no(Expr::ScalarFunction(call));
        };
        let truncated = call.func.name() == "date_trunc";
        call.args[place] = local;
        let call = Expr::ScalarFunction(call);
        Transformed::yes(if truncated { labelled(schema, call, UTC.into()) } else { call })
    }

    fn cast(&self, schema: &DFSchema, cast: Cast) -> Transformed<Expr> {
        let target = cast.field.data_type();
        if matches!(target, DataType::Timestamp(_, Some(_))) {
            let utc = self.utc(schema, *cast.expr);
            return Transformed::yes(Expr::Cast(Cast { expr: Box::new(utc), ..cast }));
        }
        let depends = matches!(
            target,
            DataType::Date32
                | DataType::Date64
                | DataType::Time32(_)
                | DataType::Time64(_)
                | DataType::Timestamp(_, None)
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
        );
        let Some(mut local) = self.local(schema, &cast.expr).filter(|_| depends) else {
            return Transformed::no(Expr::Cast(cast));
        };
        if matches!(target, DataType::Timestamp(..)) {
            local = to_local_time().call(vec![local]);
        }
        Transformed::yes(Expr::Cast(Cast { expr: Box::new(local), ..cast }))
    }

    /// A time in the zone; `None` where the expression is none.
    fn local(&self, schema: &DFSchema, expr: &Expr) -> Option<Expr> {
        is_time(schema, expr).then(|| labelled(schema, expr.clone(), Arc::clone(&self.name)))
    }

    /// What is a time of the zone as the moment that it is: a text, a date, a time without a zone.
    /// Anything else stays as it is.
    fn utc(&self, schema: &DFSchema, expr: Expr) -> Expr {
        if let Some(moment) = self.moment(&expr) {
            return moment;
        }
        match expr.get_type(schema) {
            Ok(DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, None)) => {
                let unit = TimeUnit::Microsecond;
                let plain = cast(expr, DataType::Timestamp(unit, None));
                let local = cast(plain, DataType::Timestamp(unit, Some(Arc::clone(&self.name))));
                cast(local, DataType::Timestamp(unit, Some(UTC.into())))
            }
            _ => expr,
        }
    }

    fn moment(&self, expr: &Expr) -> Option<Expr> {
        let Expr::Literal(value, _) = expr else { return None };
        let moment = string_to_datetime(&self.zone, value.try_as_str()??).ok()?;
        let micros = Some(moment.timestamp_micros());
        let value = ScalarValue::TimestampMicrosecond(micros, Some(UTC.into()));
        Some(Expr::Literal(value, None))
    }
}

/// How far from UTC, as PostgreSQL writes it: `+02`, `+05:30`, `-00:25:21`.
pub(crate) fn offset_text(seconds: i32) -> String {
    let (sign, rest) = (if seconds < 0 { '-' } else { '+' }, seconds.abs());
    match (rest / 3_600, rest / 60 % 60, rest % 60) {
        (hours, 0, 0) => format!("{sign}{hours:02}"),
        (hours, minutes, 0) => format!("{sign}{hours:02}:{minutes:02}"),
        (hours, minutes, seconds) => format!("{sign}{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

/// The same moment under another zone's name.
fn labelled(schema: &DFSchema, expr: Expr, zone: Arc<str>) -> Expr {
    match expr.get_type(schema) {
        Ok(DataType::Timestamp(unit, Some(_))) => {
            let data_type = DataType::Timestamp(unit, Some(zone));
            Expr::Cast(Cast::new(Box::new(expr), data_type))
        }
        _ => expr,
    }
}

fn is_time(schema: &DFSchema, expr: &Expr) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Timestamp(_, Some(_))))
}
