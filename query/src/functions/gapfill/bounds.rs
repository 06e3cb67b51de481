//! From when to when buckets are to be there, where WHERE says so.

use arrow::datatypes::DataType;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, LogicalPlan, Operator, lit};

/// What bounds a time: at or after each start, before each finish. Constants of the time's type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Bounds {
    pub starts: Vec<Expr>,
    pub finishes: Vec<Expr>,
}

impl Bounds {
    /// The bounds that the filters below a plan put on a column of its output.
    pub(super) fn of(plan: &LogicalPlan, column: &Column, time: &DataType) -> Self {
        let mut bounds = Self::default();
        bounds.gather(plan, column, time);
        bounds
    }

    fn gather(&mut self, plan: &LogicalPlan, column: &Column, time: &DataType) {
        match plan {
            LogicalPlan::Filter(filter) => {
                for part in split_conjunction(&filter.predicate) {
                    self.compare(part, column, time);
                }
                self.gather(&filter.input, column, time);
            }
            LogicalPlan::Projection(node) => {
                let Some(index) = node.schema.maybe_index_of_column(column) else { return };
                let expr = node.expr[index].clone().unalias_nested().data;
                if let Expr::Column(below) = expr {
                    self.gather(&node.input, &below, time);
                }
            }
            LogicalPlan::SubqueryAlias(node) => {
                let Some(index) = node.schema.maybe_index_of_column(column) else { return };
                let below = Column::from(node.input.schema().qualified_field(index));
                self.gather(&node.input, &below, time);
            }
            _ => {}
        }
    }

    fn compare(&mut self, part: &Expr, column: &Column, time: &DataType) {
        let is_column = |expr: &Expr| *expr == Expr::Column(column.clone());
        match part {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_column(left) => {
                self.bound(*op, right, time);
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_column(right) => {
                if let Some(op) = op.swap() {
                    self.bound(op, left, time);
                }
            }
            Expr::Between(Between { expr, negated: false, low, high }) if is_column(expr) => {
                self.bound(Operator::GtEq, low, time);
                self.bound(Operator::LtEq, high, time);
            }
            _ => {}
        }
    }

    /// The column compares so with `limit`.
    fn bound(&mut self, op: Operator, limit: &Expr, time: &DataType) {
        if limit.any_column_refs() || limit.is_volatile() {
            return;
        }
        let at = Expr::Cast(Cast::new(Box::new(limit.clone()), time.clone()));
        let after = at.clone() + lit(ScalarValue::new_interval_mdn(0, 0, 1_000));
        match op {
            Operator::GtEq => self.starts.push(at),
            Operator::Gt => self.starts.push(after),
            Operator::Lt => self.finishes.push(at),
            Operator::LtEq => self.finishes.push(after),
            Operator::Eq => {
                self.starts.push(at);
                self.finishes.push(after);
            }
            _ => {}
        }
    }
}
