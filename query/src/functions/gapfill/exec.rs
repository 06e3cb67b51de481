//! The operator of `GapFill`: rows by key and bucket in, the same order and every bucket out.

use super::Fill;
use super::filler::Filler;
use super::series::Filling;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, Distribution, ExecutionPlan,
    ExecutionPlanProperties, InputDistributionRequirements, Partitioning, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::TryStreamExt;
use std::fmt;
use std::sync::Arc;

/// The buckets that are to be there, in the unit of their column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub first: i64,
    pub width: i64,
    pub buckets: usize,
}

impl Range {
    pub(super) fn bucket(self, index: usize) -> i64 {
        self.first + self.width * index as i64
    }
}

/// Fills the gaps of each series; holds one series at a time.
#[derive(Debug)]
pub(super) struct GapFillExec {
    input: Arc<dyn ExecutionPlan>,
    filling: Filling,
    /// By keys, then bucket.
    ordering: LexOrdering,
    properties: Arc<PlanProperties>,
}

impl GapFillExec {
    pub(super) fn new(
        input: Arc<dyn ExecutionPlan>,
        schema: SchemaRef,
        bucket: usize,
        range: Range,
        keys: Vec<usize>,
        fills: Vec<Option<Fill>>,
    ) -> Self {
        let filling = Filling { schema, bucket, range, keys, fills };
        Self::over(input, filling)
    }

    fn over(input: Arc<dyn ExecutionPlan>, filling: Filling) -> Self {
        let schema = &filling.schema;
        let column = |index: usize| -> Arc<dyn PhysicalExpr> {
            Arc::new(Column::new(schema.field(index).name(), index))
        };
        let columns = filling.keys.iter().chain([&filling.bucket]);
        let sorted = columns.map(|index| {
            PhysicalSortExpr::new(column(*index), SortOptions::default().asc().nulls_first())
        });
        let ordering = LexOrdering::new(sorted).expect("there is a bucket");
        let equivalences =
            EquivalenceProperties::new_with_orderings(Arc::clone(schema), [ordering.clone()]);
        let partitions = input.output_partitioning().partition_count();
        let properties = PlanProperties::new(
            equivalences,
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            input.boundedness(),
        );
        Self { input, filling, ordering, properties: Arc::new(properties) }
    }

    fn key_columns(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        let keys = self.filling.keys.len();
        self.ordering.iter().take(keys).map(|sort| Arc::clone(&sort.expr)).collect()
    }
}

impl DisplayAs for GapFillExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let (buckets, order) = (self.filling.range.buckets, &self.ordering);
        write!(f, "GapFillExec: buckets={buckets}, order=[{order}]")
    }
}

impl ExecutionPlan for GapFillExec {
    fn name(&self) -> &'static str {
        "GapFillExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let keys = self.key_columns();
        InputDistributionRequirements::new(vec![if keys.is_empty() {
            Distribution::SinglePartition
        } else {
            Distribution::KeyPartitioned(keys)
        }])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![Some(OrderingRequirements::from(self.ordering.clone()))]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for sort in &self.ordering {
            if f(&sort.expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().expect("GapFillExec has one child");
        Ok(Arc::new(Self::over(input, self.filling.clone())))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let held = MemoryConsumer::new("GapFillExec").register(context.memory_pool());
        let rows = context.session_config().batch_size();
        let filler = Filler::new(self.filling.clone(), held, rows)?;
        let stream =
            futures::stream::try_unfold((input, filler), async |(mut input, mut filler)| {
                loop {
                    if let Some(batch) = filler.next()? {
                        return Ok(Some((batch, (input, filler))));
                    }
                    match input.try_next().await? {
                        Some(batch) => filler.take(&batch)?,
                        None if filler.is_done() => return Ok(None),
                        None => filler.end()?,
                    }
                }
            });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.filling.schema), stream)))
    }
}
