//! To which series a row of a plan belongs: the time and identity columns of the table that a
//! value comes from, followed up through the plan.

use crate::scan::TableView;
use datafusion::common::JoinType;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, TableScan};

/// Positions in a plan's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeriesColumns {
    pub time: usize,
    pub identity: Vec<usize>,
}

/// Why the series of a value cannot be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// It does not come from the rows of one table of ours.
    NoTable,
    /// A projection leaves out this column of the table.
    Dropped(String),
}

impl SeriesColumns {
    /// The series columns of an expression over a plan's output: those of its columns, which must
    /// all come from the rows of one scan.
    pub(super) fn of(plan: &LogicalPlan, expr: &Expr) -> Result<Self, Lost> {
        let columns = expr.column_refs();
        let mut found = columns.into_iter().map(|column| {
            let index = plan.schema().maybe_index_of_column(column).ok_or(Lost::NoTable)?;
            Self::of_output(plan, index)
        });
        let first = found.next().ok_or(Lost::NoTable)??;
        for other in found {
            if other? != first {
                return Err(Lost::NoTable);
            }
        }
        Ok(first)
    }

    fn of_output(plan: &LogicalPlan, index: usize) -> Result<Self, Lost> {
        match plan {
            LogicalPlan::TableScan(scan) => Self::of_scan(scan),
            LogicalPlan::Projection(node) => {
                let below = Self::of(&node.input, &node.expr[index])?;
                below.try_map(|index| passed_on(&node.input, &node.expr, index))
            }
            LogicalPlan::SubqueryAlias(node) => Self::of_output(&node.input, index),
            LogicalPlan::Filter(node) => Self::of_output(&node.input, index),
            LogicalPlan::Sort(node) => Self::of_output(&node.input, index),
            LogicalPlan::Limit(node) => Self::of_output(&node.input, index),
            LogicalPlan::Repartition(node) => Self::of_output(&node.input, index),
            LogicalPlan::Distinct(Distinct::All(input)) => Self::of_output(input, index),
            LogicalPlan::Window(node) if index < node.input.schema().fields().len() => {
                Self::of_output(&node.input, index)
            }
            LogicalPlan::Join(node) => {
                let left = match node.join_type {
                    JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => 0,
                    _ => node.left.schema().fields().len(),
                };
                if index < left {
                    Self::of_output(&node.left, index)
                } else if index - left < node.right.schema().fields().len() {
                    let below = Self::of_output(&node.right, index - left)?;
                    below.try_map(|index| Ok(index + left))
                } else {
                    Err(Lost::NoTable)
                }
            }
            _ => Err(Lost::NoTable),
        }
    }

    fn of_scan(scan: &TableScan) -> Result<Self, Lost> {
        let view = TableView::of(scan).ok_or(Lost::NoTable)?;
        let columns = scan.projected_schema.as_arrow();
        let place = |name: &str| columns.index_of(name).map_err(|_| Lost::Dropped(name.to_owned()));
        let identity = view.identity().map(place).collect::<Result<_, _>>()?;
        Ok(Self { time: place("time")?, identity })
    }

    fn try_map(self, place: impl Fn(usize) -> Result<usize, Lost>) -> Result<Self, Lost> {
        let identity = self.identity.into_iter().map(&place).collect::<Result<_, _>>()?;
        Ok(Self { time: place(self.time)?, identity })
    }
}

/// Where a projection puts a column of its input, untouched.
fn passed_on(input: &LogicalPlan, exprs: &[Expr], index: usize) -> Result<usize, Lost> {
    let is_column = |expr: &Expr| {
        let mut bare = expr;
        while let Expr::Alias(alias) = bare {
            bare = &alias.expr;
        }
        let Expr::Column(column) = bare else { return false };
        input.schema().maybe_index_of_column(column) == Some(index)
    };
    let place = exprs.iter().position(is_column);
    place.ok_or_else(|| Lost::Dropped(input.schema().field(index).name().clone()))
}
