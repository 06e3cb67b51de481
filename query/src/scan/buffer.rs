//! The buffered rows of a table as a plan.

use crate::types::to_sql;
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use std::fmt;
use std::sync::Arc;
use warpline_storage::{BufferSlice, TagValues, TimeRange};

/// Reads the chosen columns of a buffer slice, range after range; inside a range rows come by
/// identity, then time.
#[derive(Debug)]
pub struct BufferExec {
    slice: BufferSlice,
    columns: Vec<usize>,
    ranges: Vec<TimeRange>,
    tags: Vec<TagValues>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl BufferExec {
    /// Series without one of the `tags` are left out. `schema` is the SQL schema of `columns`;
    /// `ordering` is given where there is one range.
    pub(super) fn new(
        slice: BufferSlice,
        columns: Vec<usize>,
        ranges: Vec<TimeRange>,
        tags: Vec<TagValues>,
        schema: SchemaRef,
        ordering: Option<LexOrdering>,
    ) -> Self {
        assert!(ordering.is_none() || ranges.len() == 1, "several ranges have no common order");
        let equivalence = EquivalenceProperties::new_with_orderings(Arc::clone(&schema), ordering);
        let properties = PlanProperties::new(
            equivalence,
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { slice, columns, ranges, tags, schema, properties: Arc::new(properties) }
    }
}

impl DisplayAs for BufferExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "BufferExec: rows<={}, ranges={}", self.slice.rows(), self.ranges.len())?;
        for tag in &self.tags {
            write!(f, ", {} {}", self.slice.schema().identity[tag.place()], tag.values().len())?;
        }
        Ok(())
    }
}

impl ExecutionPlan for BufferExec {
    fn name(&self) -> &'static str {
        "BufferExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("the buffer has one partition, not a number {partition}");
        }
        let (slice, columns) = (self.slice.clone(), self.columns.clone());
        let (ranges, tags) = (self.ranges.clone().into_iter(), self.tags.clone());
        let batches = ranges.flat_map(move |range| slice.scan(&columns, range, &tags));
        let schema = Arc::clone(&self.schema);
        let batches =
            batches.map(move |batch| to_sql(&batch, &schema).map_err(DataFusionError::from));
        let stream = futures::stream::iter(batches);
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream)))
    }

    fn statistics_from_inputs(
        &self,
        _input_stats: &[Arc<Statistics>],
        _args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let unknown = Statistics::new_unknown(&self.schema);
        Ok(Arc::new(unknown.with_num_rows(Precision::Inexact(self.slice.rows()))))
    }
}
