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
use futures::{StreamExt, stream};
use std::fmt;
use std::sync::{Arc, Weak};
use tokio::sync::Mutex;
use warpline_storage::{BufferSlice, RowOrder, TagValues, TimeRange};

/// Rows that a partition has about, at least: enough to pay for a thread.
const PARTITION_ROWS: usize = 65_536;

/// Reads the chosen columns of a buffer slice, range after range; inside a range rows come by
/// identity, then time. Each partition has a part of the series.
#[derive(Debug)]
pub struct BufferExec {
    slice: BufferSlice,
    columns: Vec<usize>,
    ranges: Arc<[RangeOrder]>,
    tags: Arc<[TagValues]>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

/// Times that are read, and the order of the rows in them while a partition reads it.
#[derive(Debug)]
struct RangeOrder {
    times: TimeRange,
    order: Mutex<Weak<RowOrder>>,
}

impl RangeOrder {
    async fn get(&self, slice: &BufferSlice, tags: &[TagValues]) -> Arc<RowOrder> {
        let mut known = self.order.lock().await;
        if let Some(order) = known.upgrade() {
            return order;
        }
        let order = Arc::new(slice.order(self.times, tags));
        *known = Arc::downgrade(&order);
        order
    }
}

impl BufferExec {
    /// Series without one of the `tags` are left out. `schema` is the SQL schema of `columns`.
    /// Where an `ordering` is given there is one range and one partition, otherwise there are
    /// `most_partitions` at most; one where tags choose among the series.
    pub(super) fn new(
        slice: BufferSlice,
        columns: Vec<usize>,
        ranges: Vec<TimeRange>,
        tags: Vec<TagValues>,
        schema: SchemaRef,
        ordering: Option<LexOrdering>,
        most_partitions: usize,
    ) -> Self {
        assert!(ordering.is_none() || ranges.len() == 1, "several ranges have no common order");
        let worth = slice.rows() / PARTITION_ROWS;
        let is_one = ordering.is_some() || !tags.is_empty();
        let partitions = if is_one { 1 } else { worth.clamp(1, most_partitions.max(1)) };
        let ranges = ranges.into_iter().map(|times| RangeOrder { times, order: Mutex::default() });
        let equivalence = EquivalenceProperties::new_with_orderings(Arc::clone(&schema), ordering);
        let properties = PlanProperties::new(
            equivalence,
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let (ranges, tags, properties) = (ranges.collect(), tags.into(), Arc::new(properties));
        Self { slice, columns, ranges, tags, schema, properties }
    }
}

impl DisplayAs for BufferExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let (rows, ranges) = (self.slice.rows(), self.ranges.len());
        let partitions = self.properties.partitioning.partition_count();
        write!(f, "BufferExec: rows<={rows}, ranges={ranges}, partitions={partitions}")?;
        for tag in &*self.tags {
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
        let partitions = self.properties.partitioning.partition_count();
        if partition >= partitions {
            return internal_err!("there are {partitions} partitions, no number {partition}");
        }
        let (slice, columns) = (self.slice.clone(), self.columns.clone());
        let (ranges, tags) = (Arc::clone(&self.ranges), Arc::clone(&self.tags));
        let work = Arc::new((slice, columns, ranges, tags));
        let batches = stream::iter(0..work.2.len()).then(move |range| {
            let work = Arc::clone(&work);
            async move {
                let (slice, columns, ranges, tags) = &*work;
                let order = ranges[range].get(slice, tags).await;
                stream::iter(slice.scan(order, columns, (partition, partitions)))
            }
        });
        let schema = Arc::clone(&self.schema);
        let batches = batches
            .flatten()
            .map(move |batch| to_sql(&batch, &schema).map_err(DataFusionError::from));
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)))
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
