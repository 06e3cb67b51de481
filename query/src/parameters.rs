//! The types of a statement's parameters `$1, $2, ...`: what is beside them says it, else what the
//! client says, else they are texts, as in PostgreSQL.

use crate::dialect::take_intervals;
use crate::functions::ANY_EQUAL;
use crate::rewrite::columns_below;
use crate::types::plain;
use arrow::datatypes::{DataType, Field, IntervalUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::sql::sqlparser::ast;
use std::collections::BTreeMap;
use std::sync::Arc;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// Functions whose arguments' types nothing else tells.
const ARGUMENTS: [(&str, usize, DataType); 9] = [
    ("date_bin", 0, INTERVAL),
    ("date_part", 0, DataType::Utf8),
    ("date_trunc", 0, DataType::Utf8),
    ("gapfill", 0, INTERVAL),
    ("label", 1, DataType::Utf8),
    ("time_bucket_gapfill", 0, INTERVAL),
    ("timezone", 0, DataType::Utf8),
    ("to_char", 1, DataType::Utf8),
    ("similar_to_escape", 0, DataType::Utf8),
];
/// Functions whose arguments are all of one type.
const ALIKE: [&str; 4] = ["coalesce", "greatest", "least", "nullif"];

type Types = BTreeMap<usize, Option<DataType>>;

/// Tells a statement which of its parameters are intervals, by what the client says.
pub(crate) fn heed(statement: &mut ast::Statement, told: &[Option<DataType>]) {
    let said = |number: usize| told.get(number.checked_sub(1)?)?.as_ref();
    let is_interval =
        |number| matches!(said(number), Some(DataType::Interval(_) | DataType::Duration(_)));
    take_intervals(statement, is_interval, |number| said(number).is_none());
}

/// The plan with the type of each parameter, and these by number. `told` is what the client says.
pub(crate) fn typed(
    plan: LogicalPlan,
    told: &[Option<DataType>],
) -> Result<(LogicalPlan, Vec<DataType>)> {
    let mut known = Types::new();
    plan.apply_with_subqueries(|node| {
        let schema = columns_below(node)?;
        if let LogicalPlan::Limit(limit) = node {
            for bound in [&limit.skip, &limit.fetch].into_iter().flatten() {
                note(&mut known, bound, Some(DataType::Int64));
            }
        }
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                learn(&mut known, &schema, part);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let Some((&most, _)) = known.last_key_value() else { return Ok((plan, Vec::new())) };
    let types: Vec<DataType> = (1..=most)
        .map(|number| {
            let said = known.remove(&number).flatten();
            said.or_else(|| told.get(number - 1).cloned().flatten()).unwrap_or(DataType::Utf8)
        })
        .collect();
    Ok((with_types(plan, &types)?, types))
}

/// Values as they take the places of parameters: of their types, where they fit. What an integer or
/// a decimal would cut off is kept, and compared as it is.
pub(crate) fn fitted(values: Vec<ScalarValue>, types: &[DataType]) -> Result<Vec<ScalarValue>> {
    let fitted = values.into_iter().zip(types).map(|(value, wanted)| {
        let cast = value.cast_to(wanted)?;
        let cuts = wanted.is_integer() || wanted.is_decimal();
        Ok(if cuts && !is_same(&value, &cast) { value } else { cast })
    });
    fitted.collect()
}

fn is_same(value: &ScalarValue, cast: &ScalarValue) -> bool {
    let back = || cast.cast_to(&value.data_type());
    value.data_type().is_string() || back().is_ok_and(|back| back == *value)
}

fn number(name: &str) -> Option<usize> {
    name.trim_start_matches('$').parse().ok()
}

/// What one expression says of the parameters right in it.
fn learn(known: &mut Types, schema: &DFSchema, expr: &Expr) {
    let type_of = |expr: &Expr| match expr {
        Expr::Placeholder(_) => None,
        typed => typed.get_type(schema).ok().map(|data_type| plain(&data_type)),
    };
    match expr {
        Expr::Placeholder(Placeholder { field, .. }) => {
            note(known, expr, field.as_ref().map(|field| plain(field.data_type())));
        }
        Expr::Cast(cast) => note(known, &cast.expr, Some(plain(cast.field.data_type()))),
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == ANY_EQUAL => {
            let [array, value] = &args[..] else { return };
            if let Some(item) = type_of(value) {
                note(known, array, Some(list_of(item)));
            }
            if let Some(DataType::List(item)) = type_of(array) {
                note(known, value, Some(item.data_type().clone()));
            }
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            for (name, place, data_type) in ARGUMENTS {
                if name == func.name()
                    && let Some(argument) = args.get(place)
                {
                    note(known, argument, Some(data_type));
                }
            }
            if ALIKE.contains(&func.name()) {
                let alike = args.iter().find_map(type_of);
                for argument in args {
                    note(known, argument, alike.clone());
                }
            }
        }
        _ => {}
    }
}

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// Notes a parameter; the first type that is known of it holds. Beside what lies between two times,
/// clients have intervals.
fn note(known: &mut Types, expr: &Expr, data_type: Option<DataType>) {
    let data_type = data_type.map(|of| match of {
        DataType::Duration(_) => INTERVAL,
        other => other,
    });
    if let Expr::Placeholder(Placeholder { id, .. }) = expr
        && let Some(number) = number(id)
    {
        let kept = known.entry(number).or_default();
        *kept = kept.take().or(data_type.filter(|data_type| !data_type.is_null()));
    }
}

fn with_types(plan: LogicalPlan, types: &[DataType]) -> Result<LogicalPlan> {
    let done = plan.transform_up_with_subqueries(|node| {
        let done = node.map_expressions(|expr| {
            expr.transform_up(|part| {
                let Expr::Placeholder(Placeholder { id, field: None }) = &part else {
                    return Ok(Transformed::no(part));
                };
                let wanted = number(id).and_then(|number| types.get(number.checked_sub(1)?));
                let field = wanted.map(|of| Arc::new(Field::new(id, of.clone(), true)));
                Ok(Transformed::yes(Expr::Placeholder(Placeholder { id: id.clone(), field })))
            })
        })?;
        if done.transformed { done.map_data(LogicalPlan::recompute_schema) } else { Ok(done) }
    });
    done.map(|done| done.data)
}
