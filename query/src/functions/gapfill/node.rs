//! `GapFill` in a logical plan, and how it becomes an operator.

use super::Fill;
use super::bounds::Bounds;
use super::exec::{GapFillExec, Range};
use crate::functions::width::{constant, whole_units};
use arrow::datatypes::{DataType, Field};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DFSchemaRef, ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// How many rows one series may have.
const MAX_ROWS: i64 = 1_000_000;

/// Which buckets there are to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Grid {
    /// The position of the bucket's column.
    pub bucket: usize,
    pub width: Expr,
    pub bounds: Bounds,
}

/// Rows with a row for every bucket of the grid, for each combination of the keys that occurs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct GapFill {
    grid: Grid,
    /// Positions of the columns that tell series apart.
    keys: Vec<usize>,
    /// For each column how it is filled; the others are NULL in new rows.
    fills: Vec<Option<Fill>>,
    input: LogicalPlan,
    schema: DFSchemaRef,
}

impl GapFill {
    pub(super) fn try_new(
        grid: Grid,
        keys: Vec<usize>,
        fills: Vec<Option<Fill>>,
        input: LogicalPlan,
    ) -> Result<Self> {
        let given = input.schema();
        let fields = given.iter().enumerate().map(|(index, (qualifier, field))| {
            let key = index == grid.bucket || keys.contains(&index);
            let nullable = field.is_nullable() || !key;
            let field = Field::clone(field).with_nullable(nullable);
            (qualifier.cloned(), Arc::new(field))
        });
        let schema = DFSchema::new_with_metadata(fields.collect(), given.metadata().clone())?;
        Ok(Self { grid, keys, fills, input, schema: Arc::new(schema) })
    }
}

impl PartialOrd for GapFill {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for GapFill {
    fn name(&self) -> &'static str {
        "GapFill"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let bounds = &self.grid.bounds;
        let width = std::iter::once(&self.grid.width);
        width.chain(&bounds.starts).chain(&bounds.finishes).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let bounds = &self.grid.bounds;
        let list =
            |exprs: &[Expr]| exprs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let bucket = self.schema.field(self.grid.bucket).name();
        let (starts, finishes) = (list(&bounds.starts), list(&bounds.finishes));
        write!(f, "GapFill: bucket={bucket}, start=[{starts}], finish=[{finishes}]")
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let starts = self.grid.bounds.starts.len();
        let mut exprs = exprs.into_iter();
        let (Some(width), Some(input)) = (exprs.next(), inputs.into_iter().next()) else {
            return plan_err!("GapFill has a width and an input");
        };
        let starts = exprs.by_ref().take(starts).collect();
        let bounds = Bounds { starts, finishes: exprs.collect() };
        let grid = Grid { bucket: self.grid.bucket, width, bounds };
        Self::try_new(grid, self.keys.clone(), self.fills.clone(), input)
    }
}

/// Makes the operator of a `GapFill`.
#[derive(Debug, Default)]
pub(in crate::functions) struct GapFillPlanner;

#[async_trait]
impl ExtensionPlanner for GapFillPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(node), [input]) = (node.as_any().downcast_ref::<GapFill>(), physical_inputs)
        else {
            return Ok(None);
        };
        let no_columns = DFSchema::empty();
        let value = |expr: &Expr| {
            constant(&planner.create_physical_expr(expr, &no_columns, session, context)?)
        };
        let range = range(node, value)?;
        let schema = Arc::clone(node.schema.inner());
        let (keys, fills) = (node.keys.clone(), node.fills.clone());
        let input = Arc::clone(input);
        Ok(Some(Arc::new(GapFillExec::new(input, schema, node.grid.bucket, range, keys, fills))))
    }
}

/// The buckets, in the unit of the bucket's column.
fn range(node: &GapFill, value: impl Fn(&Expr) -> Result<ScalarValue>) -> Result<Range> {
    let bucket = node.schema.field(node.grid.bucket).data_type();
    let DataType::Timestamp(unit, _) = bucket else {
        return plan_err!("time_bucket_gapfill takes a timestamp");
    };
    let width = whole_units("time_bucket_gapfill", &value(&node.grid.width)?, *unit)?;
    let instants = |exprs: &[Expr]| -> Result<Vec<i64>> {
        exprs.iter().map(|expr| instant(&value(expr)?.cast_to(bucket)?)).collect()
    };
    let start = instants(&node.grid.bounds.starts)?.into_iter().max().unwrap_or(0);
    let finish = instants(&node.grid.bounds.finishes)?.into_iter().min().unwrap_or(0);
    let first = start.div_euclid(width).saturating_mul(width);
    let rows = i128::from(finish) - i128::from(first);
    let rows = (rows + i128::from(width) - 1).div_euclid(i128::from(width)).max(0);
    if rows > i128::from(MAX_ROWS) {
        return plan_err!(
            "time_bucket_gapfill would make {rows} rows for each series, and may make {MAX_ROWS}: \
             take wider buckets or a shorter time"
        );
    }
    Ok(Range { first, width, buckets: rows as usize })
}

fn instant(value: &ScalarValue) -> Result<i64> {
    let instant = match value {
        ScalarValue::TimestampSecond(at, _)
        | ScalarValue::TimestampMillisecond(at, _)
        | ScalarValue::TimestampMicrosecond(at, _)
        | ScalarValue::TimestampNanosecond(at, _) => *at,
        _ => None,
    };
    let Some(instant) = instant else {
        return plan_err!("time_bucket_gapfill cannot begin or end its buckets at NULL");
    };
    Ok(instant)
}
