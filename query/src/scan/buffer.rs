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
    work: Arc<Buffered>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

/// What is read.
#[derive(Debug)]
struct Buffered {
    slice: BufferSlice,
    columns: Vec<usize>,
    ranges: Vec<RangeOrder>,
    tags: Vec<TagValues>,
}

/// Times that are read, and the order of the rows in them while a partition reads it.
#[derive(Debug)]
struct RangeOrder {
    times: TimeRange,
    order: Mutex<Weak<RowOrder>>,
}

impl Buffered {
    async fn order(&self, range: usize) -> Arc<RowOrder> {
        let RangeOrder { times, order } = &self.ranges[range];
        let mut known = order.lock().await;
        if let Some(order) = known.upgrade() {
            return order;
        }
        let order = Arc::new(self.slice.order(*times, &self.tags));
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
        let work = Buffered { slice, columns, ranges: ranges.collect(), tags };
        Self { work: Arc::new(work), schema, properties: Arc::new(properties) }
    }
}

impl DisplayAs for BufferExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let Buffered { slice, ranges, tags, .. } = &*self.work;
        let (rows, ranges) = (slice.rows(), ranges.len());
        let partitions = self.properties.partitioning.partition_count();
        write!(f, "BufferExec: rows<={rows}, ranges={ranges}, partitions={partitions}")?;
        for tag in tags {
            write!(f, ", {} {}", slice.schema().identity[tag.place()], tag.values().len())?;
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
        let work = Arc::clone(&self.work);
        let batches = stream::iter(0..work.ranges.len()).then(move |range| {
            let work = Arc::clone(&work);
            async move {
                let order = work.order(range).await;
                stream::iter(work.slice.scan(order, &work.columns, (partition, partitions)))
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
        Ok(Arc::new(unknown.with_num_rows(Precision::Inexact(self.work.slice.rows()))))
    }
}
