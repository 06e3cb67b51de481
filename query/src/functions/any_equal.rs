//! `x = ANY(array)`: whether an element equals a value, with SQL's three answers.
//!
//! NULL where nothing equals and an element, or the value, is NULL; of an empty array it is false.
//! Where the array is known while planning it is `x IN (...)`, which filters and indexes understand.

use crate::rewrite::rewrite_where;
use crate::types::plain;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, GenericListArray};
use arrow::compute::kernels::cmp::eq;
use arrow::datatypes::{DataType, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue, internal_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::prelude::{in_list, lit};
use std::sync::Arc;

/// The dialect puts it where `= ANY` is written.
pub(crate) const ANY_EQUAL: &str = "any_equal";

/// Arrays that are known become lists.
#[derive(Debug, Default)]
pub(crate) struct KnownArrays;

impl AnalyzerRule for KnownArrays {
    fn name(&self) -> &'static str {
        "known_arrays"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let is_call =
            |expr: &Expr| matches!(expr, Expr::ScalarFunction(call) if call.name() == ANY_EQUAL);
        rewrite_where(plan, is_call, |_: &DFSchema, expr| match expr {
            Expr::ScalarFunction(call) if call.name() == ANY_EQUAL => {
                let listed = match &call.args[..] {
                    [Expr::Literal(ScalarValue::List(array), _), value] => listed(array, value)?,
                    _ => None,
                };
                let changed = listed.is_some();
                let expr = listed.unwrap_or(Expr::ScalarFunction(call));
                Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
            }
            other => Ok(Transformed::no(other)),
        })
    }
}

fn listed(array: &GenericListArray<i32>, value: &Expr) -> Result<Option<Expr>> {
    if array.len() != 1 {
        return Ok(None);
    }
    if array.is_null(0) {
        return Ok(Some(lit(ScalarValue::Boolean(None))));
    }
    let elements = array.value(0);
    if elements.is_empty() {
        return Ok(Some(lit(false)));
    }
    let elements = (0..elements.len())
        .map(|row| Ok(Expr::Literal(ScalarValue::try_from_array(&elements, row)?, None)))
        .collect::<Result<Vec<_>>>()?;
    Ok(Some(in_list(value.clone(), elements, false)))
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct AnyEqual {
    signature: Signature,
}

impl AnyEqual {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for AnyEqual {
    fn name(&self) -> &'static str {
        ANY_EQUAL
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let (item, value) = match arguments {
            [
                DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _),
                value,
            ] => (plain(item.data_type()), plain(value)),
            // NULL, or a parameter whose type is not known yet.
            [DataType::Null, value] => (plain(value), plain(value)),
            _ => {
                return plan_err!(
                    "ANY takes an array: op ANY/ALL (array) requires array on right side"
                );
            }
        };
        let Some(both) = comparison_coercion(&item, &value) else {
            return plan_err!("operator does not exist: {value} = {item}");
        };
        let items = Arc::new(Field::new_list_field(both.clone(), true));
        Ok(vec![DataType::List(items), both])
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [lists, values] = &arrays[..] else {
            return internal_err!("{ANY_EQUAL} takes an array and a value");
        };
        let lists = lists.as_list::<i32>();
        let found = (0..lists.len()).map(|row| {
            if lists.is_null(row) {
                return Ok(None);
            }
            any(&lists.value(row), &values.slice(row, 1))
        });
        let found: ArrayRef = Arc::new(found.collect::<Result<BooleanArray>>()?);
        Ok(ColumnarValue::Array(found))
    }
}

fn any(elements: &ArrayRef, value: &ArrayRef) -> Result<Option<bool>> {
    let equal = eq(elements, &arrow::array::Scalar::new(value))?;
    let unknown = equal.null_count() > 0;
    Ok(if equal.true_count() > 0 { Some(true) } else { (!unknown).then_some(false) })
}
