//! Sums, differences, products and negatives of integers that are errors where their type cannot hold
//! them, as in PostgreSQL. DataFusion's own go round.
//!
//! They are put into a plan twice: for constants before these are computed once and for all, and for
//! columns after everything that knows plans by their shape.

use crate::rewrite::rewrite_where;
use arrow::array::{ArrayRef, Datum};
use arrow::compute::kernels::numeric::{add, mul, sub};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, DataFusionError, ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;
use std::sync::Arc;

/// Checks what is computed from constants alone, whose types are known by now, and negatives, which
/// the optimizer takes apart, those of bits as if they were complements.
#[derive(Debug, Default)]
pub(crate) struct CheckedConstants;

impl AnalyzerRule for CheckedConstants {
    fn name(&self) -> &'static str {
        "checked_constants"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_where(plan, is_arithmetic, |schema, expr| {
            if is_of_constants(&expr) || matches!(expr, Expr::Negative(_)) {
                checked(schema, expr)
            } else {
                Ok(Transformed::no(expr))
            }
        })
    }
}

fn is_of_constants(expr: &Expr) -> bool {
    let Expr::BinaryExpr(of) = expr else { return false };
    is_arithmetic(expr) && is_constant(&of.left) && is_constant(&of.right)
}

fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) => true,
        Expr::Column(_) => false,
        expr if known_type(expr).is_some() => true,
        expr => !expr.any_column_refs() && !expr.is_volatile(),
    }
}

/// Checks all that is left in an optimized plan.
pub(crate) fn check_integers(plan: LogicalPlan) -> Result<LogicalPlan> {
    rewrite_where(plan, is_arithmetic, checked)
}

fn is_arithmetic(expr: &Expr) -> bool {
    let is = |op| matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply);
    match expr {
        Expr::BinaryExpr(binary) => is(binary.op),
        Expr::Negative(_) => true,
        _ => false,
    }
}

/// The type of what is checked already, which knows it: chains of operators are long.
fn known_type(expr: &Expr) -> Option<DataType> {
    let Expr::ScalarFunction(call) = expr else { return None };
    call.func.inner().downcast_ref::<Checked>().map(|checked| checked.data_type.clone())
}

fn checked(schema: &DFSchema, expr: Expr) -> Result<Transformed<Expr>> {
    let type_of = |expr: &Expr| known_type(expr).map_or_else(|| expr.get_type(schema), Ok);
    let (left, op, right) = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => (left, op, right),
        // As the difference to zero.
        Expr::Negative(of) if type_of(&of)?.is_integer() => {
            let zero = ScalarValue::new_zero(&type_of(&of)?)?;
            (Box::new(Expr::Literal(zero, None)), Operator::Minus, of)
        }
        other => return Ok(Transformed::no(other)),
    };
    let data_type = type_of(&left)?;
    let same = data_type.is_integer() && data_type == type_of(&right)?;
    let Some(call) = same.then(|| Checked::of(op, data_type)).flatten() else {
        return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
    };
    if let (Expr::Literal(one, _), Expr::Literal(other, _)) = (&*left, &*right) {
        let sides = [one, other].map(|value| ColumnarValue::Scalar(value.clone()));
        if let ColumnarValue::Scalar(value) = call.compute(&sides[0], &sides[1])? {
            return Ok(Transformed::yes(Expr::Literal(value, None)));
        }
    }
    let (func, args) = (Arc::new(ScalarUDF::from(call)), vec![*left, *right]);
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args })))
}

/// One of the three; both sides are of one type, which is the answer's.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    op: Operator,
    name: &'static str,
    data_type: DataType,
    signature: Signature,
}

impl Checked {
    fn of(op: Operator, data_type: DataType) -> Option<Self> {
        let name = match op {
            Operator::Plus => "checked_add",
            Operator::Minus => "checked_sub",
            Operator::Multiply => "checked_mul",
            _ => return None,
        };
        let signature = Signature::any(2, Volatility::Immutable);
        Some(Self { op, name, data_type, signature })
    }

    fn compute(&self, left: &ColumnarValue, right: &ColumnarValue) -> Result<ColumnarValue> {
        let kernel: fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError> = match self.op {
            Operator::Plus => add,
            Operator::Minus => sub,
            _ => mul,
        };
        apply(left, right, kernel).map_err(|error| out_of_range(&self.data_type, error))
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    /// As the operator's: the plan around it was made for that.
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let is_nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name, self.data_type.clone(), is_nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = &args.args[..] else {
            return internal_err!("{} takes two arguments", self.name);
        };
        self.compute(left, right)
    }
}

fn out_of_range(data_type: &DataType, error: DataFusionError) -> DataFusionError {
    match error.find_root() {
        DataFusionError::ArrowError(cause, _)
            if matches!(**cause, ArrowError::ArithmeticOverflow(_)) =>
        {
            let name = match data_type {
                DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint",
                DataType::Int32 | DataType::UInt16 => "integer",
                _ => "bigint",
            };
            DataFusionError::Execution(format!("{name} out of range"))
        }
        _ => error,
    }
}
