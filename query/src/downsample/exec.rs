//! The operator: work shared out among threads, one table of buckets each, combined at the end.

use super::bucket::Bucket;
use super::combine::Combined;
use super::partial::{InputPlan, Partial};
use super::piece::{Numbers, Piece, Reading};
use super::question::{Key, Question};
use super::rolled::RolledPlan;
use super::route::Shown;
use super::units::{Unit, units_of};
use crate::scan::{ChunkOpener, FilePiece};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
    PlanProperties, ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinSet;
use warpline_storage::TimeRange;
use warpline_storage::rollup::Tier;

/// Values of an answer from which on several threads pay.
const LARGE_ANSWER: usize = 1 << 18;

/// What the operator does, settled when the statement was planned.
#[derive(Debug)]
pub(super) struct Work {
    pub question: Arc<Question>,
    pub bucket: Option<Bucket>,
    pub opener: ChunkOpener,
    pub files: Vec<FilePiece>,
    pub tiers: Vec<TierWork>,
    /// The times that raw rows answer for.
    pub raw: Vec<TimeRange>,
    /// The same cut as `Pieces::stretches`.
    pub stretches: Vec<TimeRange>,
    /// The table's columns in stored types.
    pub stored: SchemaRef,
    pub reading: Reading,
    pub inputs: Arc<[InputPlan]>,
    /// Of the answer.
    pub schema: SchemaRef,
}

/// What is read of one of the table's tiers.
#[derive(Debug)]
pub(super) struct TierWork {
    pub tier: Tier,
    pub opener: ChunkOpener,
    pub files: Vec<FilePiece>,
    pub ranges: Vec<TimeRange>,
    /// The tier's columns in stored types.
    pub stored: SchemaRef,
    pub reading: Reading,
    pub plan: RolledPlan,
}

/// Aggregates of a table by a bucket of time and tags.
#[derive(Debug)]
pub struct DownsampleExec {
    work: Arc<Work>,
    /// What is not read from files chunk by chunk: the buffer, and rows that were resolved.
    plans: Vec<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl DownsampleExec {
    pub(super) fn new(work: Work, plans: Vec<Arc<dyn ExecutionPlan>>) -> Self {
        Self::over(Arc::new(work), plans)
    }

    fn over(work: Arc<Work>, plans: Vec<Arc<dyn ExecutionPlan>>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&work.schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        let metrics = ExecutionPlanMetricsSet::new();
        Self { work, plans, properties: Arc::new(properties), metrics }
    }
}

impl DisplayAs for DownsampleExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "DownsampleExec: {}, files={}", self.work.question, self.work.files.len())?;
        for tier in &self.work.tiers {
            let (suffix, files) = (tier.tier.suffix, tier.files.len());
            write!(f, ", rollup={suffix} [{}] files={files}", Shown(&tier.ranges))?;
        }
        if !self.work.tiers.is_empty() {
            write!(f, ", raw=[{}]", Shown(&self.work.raw))?;
        }
        Ok(())
    }
}

impl ExecutionPlan for DownsampleExec {
    fn name(&self) -> &'static str {
        "DownsampleExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.plans.iter().collect()
    }

    /// Batches are taken as they come; dealing them out first would only hold them.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.plans.len()]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let filters = self.work.reading.choice.filters();
        for expr in filters.chain(self.work.bucket.iter().map(|bucket| &bucket.expr)) {
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
        Ok(Arc::new(Self::over(Arc::clone(&self.work), children)))
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
        if partition != 0 {
            return internal_err!("a downsample has one partition, not a number {partition}");
        }
        let run = Run {
            work: Arc::clone(&self.work),
            numbers: Numbers::default(),
            memory: MemoryConsumer::new("DownsampleExec").register(context.memory_pool()),
            units_done: MetricBuilder::new(&self.metrics).counter("units", partition),
            context,
        };
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let (plans, schema) = (self.plans.clone(), Arc::clone(&self.work.schema));
        let answer = async move {
            let batches = Arc::new(run).answer(plans).await?;
            metrics.record_output(batches.iter().map(RecordBatch::num_rows).sum());
            Ok::<_, DataFusionError>(futures::stream::iter(batches.into_iter().map(Ok)))
        };
        let stream = futures::stream::once(answer).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// One execution.
#[derive(Debug)]
struct Run {
    // PROPERTIES
    work: Arc<Work>,
    context: Arc<TaskContext>,
    // STATES
    numbers: Numbers,
    memory: MemoryReservation,
    units_done: Count,
}

impl Run {
    async fn answer(
        self: Arc<Self>,
        plans: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Vec<RecordBatch>> {
        let work = &self.work;
        let mut units = units_of(&work.files, &work.opener, &work.reading.choice, None).await?;
        for (number, tier) in work.tiers.iter().enumerate() {
            let choice = &tier.reading.choice;
            units.extend(units_of(&tier.files, &tier.opener, choice, Some(number)).await?);
        }
        units.extend(plans.into_iter().flat_map(|plan| {
            let partitions = plan.output_partitioning().partition_count();
            (0..partitions).map(move |partition| Unit::Plan { plan: Arc::clone(&plan), partition })
        }));
        let partials = self.share_out(Arc::from(units)).await?;
        let scratch = Combined::scratch(&partials);
        self.memory.try_grow(scratch)?;
        let combined = Combined::of(partials);
        self.memory.shrink(scratch);
        let lonely = work.question.keys.is_empty();
        self.show(if lonely { combined.or_one_row() } else { combined }).await
    }

    /// Works on the units with as many threads as the session may have, or as there are units.
    async fn share_out(self: &Arc<Self>, units: Arc<[Unit]>) -> Result<Vec<Partial>> {
        let next = Arc::new(AtomicUsize::new(0));
        let threads = self.context.session_config().target_partitions().min(units.len());
        if threads <= 1 {
            return Ok(vec![self.take_units(&units, &next).await?]);
        }
        // None of them here: the task that was spawned last waits for this one to pause.
        let mut workers = JoinSet::new();
        for _ in 0..threads {
            let (run, units, next) = (Arc::clone(self), Arc::clone(&units), Arc::clone(&next));
            workers.spawn(async move { run.take_units(&units, &next).await });
        }
        let mut partials = Vec::with_capacity(threads);
        while let Some(partial) = workers.join_next().await {
            partials.push(partial.map_err(|error| DataFusionError::External(Box::new(error)))??);
        }
        Ok(partials)
    }

    async fn take_units(&self, units: &[Unit], next: &AtomicUsize) -> Result<Partial> {
        let grid = self.work.bucket.as_ref().map(|bucket| bucket.grid);
        let mut partial = Partial::new(grid, Arc::clone(&self.work.inputs));
        while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
            match unit {
                Unit::Rows { file, row_group, part, parts, tier } => {
                    let tier = tier.map(|number| &self.work.tiers[number]);
                    let (reading, stored) = match tier {
                        Some(tier) => (&tier.reading, &tier.stored),
                        None => (&self.work.reading, &self.work.stored),
                    };
                    let (how, part) = ((reading, &self.numbers), (*part, *parts));
                    let piece = file.read(*row_group, part, stored, how).await?;
                    piece.map_or(Ok(()), |piece| self.add(&piece, tier, &mut partial))?;
                }
                Unit::Plan { plan, partition } => {
                    let mut batches = plan.execute(*partition, Arc::clone(&self.context))?;
                    while let Some(batch) = batches.next().await {
                        let Work { stretches, reading, .. } = &*self.work;
                        let piece = Piece::of_batch(&batch?, stretches, reading, &self.numbers)?;
                        self.add(&piece, None, &mut partial)?;
                    }
                }
            }
            self.units_done.add(1);
            tokio::task::consume_budget().await;
        }
        Ok(partial)
    }

    fn add(&self, piece: &Piece, tier: Option<&TierWork>, partial: &mut Partial) -> Result<()> {
        let before = partial.bytes();
        match tier {
            Some(tier) => partial.add_rolled(piece, &tier.plan)?,
            None => partial.add(piece),
        }
        self.memory.try_grow(partial.bytes() - before)
    }

    /// The columns of all asks; many of them, of many rows, are made by several threads.
    async fn answers(self: &Arc<Self>, combined: Arc<Combined>) -> Result<Vec<ArrayRef>> {
        let asks = self.work.question.asks.len();
        let large = asks * combined.rows() >= LARGE_ANSWER;
        let threads = if large { self.context.session_config().target_partitions() } else { 1 };
        let share = asks.div_ceil(threads.max(1)).max(1);
        let mut shares = JoinSet::new();
        for from in (0..asks).step_by(share) {
            let (run, combined) = (Arc::clone(self), Arc::clone(&combined));
            let columns = move || {
                let asks = &run.work.question.asks[from..asks.min(from + share)];
                let columns = asks.iter().map(|ask| combined.column(*ask, &run.work.inputs));
                columns.collect::<Result<Vec<_>>>()
            };
            if !large {
                return columns();
            }
            shares.spawn(async move { (from, columns()) });
        }
        let mut parts = shares.join_all().await;
        parts.sort_unstable_by_key(|(from, _)| *from);
        let columns: Vec<_> =
            parts.into_iter().map(|(_, columns)| columns).collect::<Result<_>>()?;
        Ok(columns.concat())
    }

    /// The tags met are small beside the buckets; they are counted once.
    async fn show(self: &Arc<Self>, combined: Combined) -> Result<Vec<RecordBatch>> {
        self.memory.try_grow(self.numbers.groups.bytes() + self.numbers.series.bytes())?;
        let Work { question, bucket, schema, .. } = &*self.work;
        let mut tag = 0;
        let keys = question.keys.iter().map(|key| {
            if let (Key::Bucket { .. }, Some(bucket)) = (key, bucket) {
                let starts = combined.numbers().iter().map(|number| bucket.grid.start(*number));
                bucket.evaluate(starts.collect())
            } else {
                tag += 1;
                Ok(combined.tag(&self.numbers.groups, tag - 1))
            }
        });
        let mut columns: Vec<ArrayRef> = keys.collect::<Result<_>>()?;
        let rows = combined.rows();
        columns.extend(self.answers(Arc::new(combined)).await?);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let whole = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
        let batch = self.context.session_config().batch_size();
        let starts = (0..rows).step_by(batch);
        Ok(starts.map(|at| whole.slice(at, batch.min(rows - at))).collect())
    }
}
