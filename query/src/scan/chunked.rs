//! Rows of data files that pass a filter, from decoded chunks.
//!
//! The filter's columns are looked at first; the others are read only of row groups where rows
//! pass. Everything it leaves out fails the statement's filters, which are applied again above.

use super::choice::Choice;
use super::chunks::{ChunkFile, ChunkOpener, time_column};
use super::cuts::{Cuts, within};
use super::prune::can_hold;
use super::runs::TagRuns;
use super::sources::FilePiece;
use arrow::array::{ArrayRef, BooleanArray, BooleanBufferBuilder, RecordBatch, RecordBatchOptions};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::compute::{cast, filter};
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt, stream};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Files opened at once.
const FILES_AHEAD: usize = 16;

/// What is read, and how.
#[derive(Debug)]
pub(super) struct Chunked {
    pub opener: ChunkOpener,
    pub files: Vec<FilePiece>,
    pub choice: Choice,
    /// The table's columns in stored types.
    pub stored: SchemaRef,
    /// What comes out, as numbers in the table's schema, and in which types.
    pub columns: Vec<usize>,
    pub schema: SchemaRef,
}

/// Reads row group after row group; each partition takes every so many-th.
#[derive(Debug)]
pub struct ChunkExec {
    work: Arc<Chunked>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ChunkExec {
    pub(super) fn new(work: Chunked, partitions: usize) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&work.schema)),
            Partitioning::UnknownPartitioning(partitions.max(1)),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let metrics = ExecutionPlanMetricsSet::new();
        Self { work: Arc::new(work), properties: Arc::new(properties), metrics }
    }
}

impl DisplayAs for ChunkExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let filters: Vec<_> = self.work.choice.filters().map(ToString::to_string).collect();
        write!(f, "ChunkExec: files={}, where=[{}]", self.work.files.len(), filters.join(", "))
    }
}

impl ExecutionPlan for ChunkExec {
    fn name(&self) -> &'static str {
        "ChunkExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for filter in self.work.choice.filters() {
            if f(filter)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
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
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let work = Arc::clone(&self.work);
        let groups = async move {
            let groups = work.row_groups().await?;
            let own = groups.into_iter().skip(partition).step_by(partitions);
            Ok::<_, DataFusionError>(
                stream::iter(own).then(move |group| Arc::clone(&work).read(group)),
            )
        };
        let batches = stream::once(groups).try_flatten().try_filter_map(move |batch| {
            let rows = batch.as_ref().map_or(0, RecordBatch::num_rows);
            metrics.record_output(rows);
            std::future::ready(Ok(batch))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.work.schema), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _input_stats: &[Arc<Statistics>],
        _args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let rows: u64 = self.work.files.iter().map(|piece| piece.file.rows).sum();
        let unknown = Statistics::new_unknown(&self.work.schema);
        Ok(Arc::new(unknown.with_num_rows(Precision::Inexact(rows as usize))))
    }
}

/// A row group that may hold rows.
struct RowGroup {
    file: Arc<ChunkFile>,
    number: usize,
    piece: FilePiece,
}

impl Chunked {
    async fn row_groups(&self) -> Result<Vec<RowGroup>> {
        let opened = stream::iter(self.files.iter().cloned()).map(|piece| async move {
            let file = Arc::new(self.opener.open(&piece.file).await?);
            let holding = file
                .footer()
                .row_groups()
                .iter()
                .enumerate()
                .filter(|(_, group)| can_hold(group, &piece.ranges, &self.choice.wanted));
            let group = |(number, _)| RowGroup { file: file.clone(), number, piece: piece.clone() };
            Ok::<_, DataFusionError>(holding.map(group).collect::<Vec<_>>())
        });
        let groups: Vec<Vec<RowGroup>> = opened.buffered(FILES_AHEAD).try_collect().await?;
        Ok(groups.into_iter().flatten().collect())
    }

    async fn read(self: Arc<Self>, group: RowGroup) -> Result<Option<RecordBatch>> {
        let RowGroup { file, number, piece } = group;
        let tags = file.tags(number, &self.choice.tags, &self.stored).await?;
        let cuts = Cuts::of(&tags, file.rows(number) as u32);
        let chosen = self.choice.passing(&tags, &cuts)?;
        if chosen.is_empty() {
            return Ok(None);
        }
        let times = file.times(number, &self.stored).await?;
        let rows = chosen.iter().map(|cut| cuts.rows(*cut)).flat_map(|rows| {
            let pieces = piece.ranges.iter().map(|range| within(&times, &rows, *range));
            pieces.collect::<Vec<_>>()
        });
        let rows: Vec<Range<u32>> = rows.filter(|rows| !rows.is_empty()).collect();
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(None) };
        let span = first.start..last.end;
        let fields = file.fields(number, &self.choice.fields, &self.stored).await?;
        let mask = self.choice.mask(&tags, &times, &fields, span.clone())?;
        let mask = inside(&rows, &span, mask.as_ref());
        if mask.count_set_bits() == 0 {
            return Ok(None);
        }
        self.output((&file, number), (&tags, &times), &span, mask).await.map(Some)
    }

    async fn output(
        &self,
        (file, row_group): (&ChunkFile, usize),
        (tags, times): (&[Arc<TagRuns>], &ScalarBuffer<i64>),
        span: &Range<u32>,
        mask: BooleanBuffer,
    ) -> Result<RecordBatch> {
        let mask = BooleanArray::new(mask, None);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (column, field) in self.columns.iter().zip(self.schema.fields()) {
            let known = self.choice.tags.iter().position(|tag| tag == column);
            let stored = if let Some(place) = known {
                let rows = mask.values().set_indices();
                tags[place].rows_at(rows.map(|row| span.start + row as u32))
            } else {
                let rows = match column {
                    0 => time_column(&times.slice(span.start as usize, span.len())),
                    _ => file.column(row_group, *column, span.clone(), &self.stored).await?,
                };
                filter(&rows, &mask)?
            };
            columns.push(cast(&stored, field.data_type())?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(mask.true_count()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// The rows of a span that lie in one of some ranges and in the mask.
fn inside(rows: &[Range<u32>], span: &Range<u32>, mask: Option<&BooleanBuffer>) -> BooleanBuffer {
    if let (Some(mask), [_]) = (mask, rows) {
        return mask.clone();
    }
    let mut inside = BooleanBufferBuilder::new(span.len());
    for range in rows {
        let [start, end] = [range.start, range.end].map(|row| (row - span.start) as usize);
        inside.append_n(start - inside.len(), false);
        inside.append_n(end - start, true);
    }
    let inside = inside.finish();
    mask.map_or(inside.clone(), |mask| &inside & mask)
}
