//! Last write per field: rows of several sources with equal keys become one.
//!
//! The sources are sorted by key. They are merged by key and, within a key, by the order of the
//! sources (earlier writes first); then of each run of equal keys every column takes its last
//! value that is not NULL.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, partition, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, OrderingRequirements, Partitioning, PhysicalExpr,
    PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::sorts::streaming_merge::StreamingMergeBuilder;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, Distribution, ExecutionPlan,
    InputDistributionRequirements, PlanProperties, ReplaceChildrenOptions,
};
use futures::{Stream, StreamExt, TryStreamExt};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Merges sources of one schema, in the order of writes, into rows with unique keys.
#[derive(Debug)]
pub struct ResolveExec {
    /// Earlier writes first.
    sources: Vec<Arc<dyn ExecutionPlan>>,
    /// By the key columns.
    ordering: LexOrdering,
    keys: Vec<usize>,
    /// The source columns that come out.
    output: Vec<usize>,
    /// Holds or fails for a whole key: which rows are wanted.
    predicate: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ResolveExec {
    /// `keys` are the identity columns and then time; `output` are the columns that come out.
    /// `predicate` may be over key columns alone: below resolution no other may drop a row,
    /// because a later write of the row may change what it sees.
    pub(super) fn new(
        sources: Vec<Arc<dyn ExecutionPlan>>,
        keys: Vec<usize>,
        output: Vec<usize>,
        predicate: Arc<dyn PhysicalExpr>,
    ) -> Result<Self> {
        let Some(first) = sources.first() else {
            return internal_err!("nothing to resolve");
        };
        let input = first.schema();
        let Some(ordering) = key_ordering(&input, &keys) else {
            return internal_err!("a table has a key");
        };
        let schema = Arc::new(input.project(&output)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let metrics = ExecutionPlanMetricsSet::new();
        let properties = Arc::new(properties);
        Ok(Self { sources, ordering, keys, output, predicate, schema, properties, metrics })
    }
}

/// Ascending by the key columns.
pub(super) fn key_ordering(schema: &Schema, keys: &[usize]) -> Option<LexOrdering> {
    LexOrdering::new(keys.iter().map(|key| ascending(schema.field(*key).name(), *key)))
}

fn ascending(name: &str, index: usize) -> PhysicalSortExpr {
    PhysicalSortExpr::new_default(Arc::new(Column::new(name, index)))
}

impl DisplayAs for ResolveExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let (sources, key) = (self.sources.len(), &self.ordering);
        write!(f, "ResolveExec: sources={sources}, key=[{key}], predicate={}", self.predicate)
    }
}

impl ExecutionPlan for ResolveExec {
    fn name(&self) -> &'static str {
        "ResolveExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition; self.sources.len()])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let required = OrderingRequirements::from(self.ordering.clone());
        vec![Some(required); self.sources.len()]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.sources.iter().collect()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let keys = self.ordering.iter().map(|sort| &sort.expr);
        for expr in keys.chain([&self.predicate]) {
            if f(expr)? == TreeNodeRecursion::Stop {
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
        let (keys, output) = (self.keys.clone(), self.output.clone());
        Ok(Arc::new(Self::new(children, keys, output, Arc::clone(&self.predicate))?))
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
        let merged = self.merge(partition, &context)?;
        let combiner = Combiner {
            keys: self.keys.clone(),
            output: self.output.clone(),
            schema: Arc::clone(&self.schema),
        };
        let stream = combined(merged, combiner);
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

impl ResolveExec {
    /// All rows by key, then source.
    fn merge(
        &self,
        partition: usize,
        context: &Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let schema = numbered_schema(&self.sources[0].schema());
        let streams = self.sources.iter().zip(0..).map(|(source, number)| {
            let stream = source.execute(partition, Arc::clone(context))?;
            Ok(numbered(stream, Arc::clone(&self.predicate), Arc::clone(&schema), number))
        });
        let last = schema.fields().len() - 1;
        let mut ordering = self.ordering.clone();
        ordering.push(ascending(schema.field(last).name(), last));
        let consumer = MemoryConsumer::new("ResolveExec");
        StreamingMergeBuilder::new()
            .with_streams(streams.collect::<Result<_>>()?)
            .with_schema(Arc::clone(&schema))
            .with_expressions(&ordering)
            .with_metrics(BaselineMetrics::new(&self.metrics, partition))
            .with_batch_size(context.session_config().batch_size())
            .with_reservation(consumer.register(context.memory_pool()))
            .build()
    }
}

/// The sources' schema and the number of the source.
fn numbered_schema(schema: &Schema) -> SchemaRef {
    let number = Arc::new(Field::new("#source", DataType::UInt32, false));
    let fields = schema.fields().iter().cloned().chain([number]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The wanted rows with the number of their source.
fn numbered(
    stream: SendableRecordBatchStream,
    predicate: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    number: u32,
) -> SendableRecordBatchStream {
    let target = Arc::clone(&schema);
    let stream = stream.map(move |batch| {
        let batch = wanted(&batch?, &predicate)?;
        let numbers: ArrayRef = Arc::new(UInt32Array::from_value(number, batch.num_rows()));
        let columns = batch.columns().iter().cloned().chain([numbers]).collect();
        Ok(RecordBatch::try_new(Arc::clone(&target), columns)?)
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, stream))
}

fn wanted(batch: &RecordBatch, predicate: &Arc<dyn PhysicalExpr>) -> Result<RecordBatch> {
    let wanted = predicate.evaluate(batch)?.into_array(batch.num_rows())?;
    Ok(filter_record_batch(batch, wanted.as_boolean())?)
}

/// Runs of equal keys become one row each. The last run of a batch waits for the next batch.
fn combined(
    merged: SendableRecordBatchStream,
    combiner: Combiner,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    let state = (merged, combiner, None::<RecordBatch>);
    futures::stream::try_unfold(state, async |(mut merged, combiner, mut waiting)| {
        loop {
            let Some(batch) = merged.try_next().await? else {
                let rest = waiting.take().map(|run| {
                    let whole = 0..run.num_rows();
                    combiner.rows(&run, &[whole])
                });
                return Ok(rest.transpose()?.map(|rows| (rows, (merged, combiner, None))));
            };
            let batch = match waiting.take() {
                Some(run) => concat_batches(&batch.schema(), [&run, &batch])?,
                None => batch,
            };
            let (rows, run) = combiner.split(&batch)?;
            if let Some(rows) = rows {
                return Ok(Some((rows, (merged, combiner, run))));
            }
            waiting = run;
        }
    })
}

#[derive(Debug)]
struct Combiner {
    keys: Vec<usize>,
    output: Vec<usize>,
    schema: SchemaRef,
}

impl Combiner {
    /// The rows of every run but the last, and the last run.
    fn split(&self, batch: &RecordBatch) -> Result<(Option<RecordBatch>, Option<RecordBatch>)> {
        if batch.num_rows() == 0 {
            return Ok((None, None));
        }
        let keys: Vec<_> = self.keys.iter().map(|key| Arc::clone(batch.column(*key))).collect();
        let runs = partition(&keys)?.ranges();
        let (last, runs) = runs.split_last().ok_or_else(|| {
            DataFusionError::Internal("rows without a run of equal keys".to_owned())
        })?;
        let waiting = batch.slice(last.start, last.len());
        let rows = if runs.is_empty() { None } else { Some(self.rows(batch, runs)?) };
        Ok((rows, Some(waiting)))
    }

    /// One row for each run; the runs lie one after another from the batch's start.
    fn rows(&self, batch: &RecordBatch, runs: &[Range<usize>]) -> Result<RecordBatch> {
        let covered = runs.last().map_or(0, |run| run.end);
        let unique = covered == runs.len();
        let columns = self.output.iter().map(|column| {
            let column = batch.column(*column);
            if unique {
                return Ok(column.slice(0, covered));
            }
            Ok(take(column, &last_values(column, runs), None)?)
        });
        let options = RecordBatchOptions::new().with_row_count(Some(runs.len()));
        let columns = columns.collect::<Result<_>>()?;
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// The row of each run's last value that is not NULL; any row where all are.
fn last_values(column: &ArrayRef, runs: &[Range<usize>]) -> UInt32Array {
    let nulls = column.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    let last = |run: &Range<usize>| match &nulls {
        None => run.end - 1,
        Some(nulls) => run.clone().rev().find(|row| nulls.is_valid(*row)).unwrap_or(run.start),
    };
    runs.iter().map(|run| last(run) as u32).collect()
}
