//! What a scan of a table reads: files as they are, files outside contested times, the buffer, and
//! what must be resolved.

use super::boxes::outside;
use super::buffer::BufferExec;
use super::choice::{Choice, is_calm};
use super::chunked::{ChunkExec, Chunked};
use super::plan::{
    FileReader, filtered, key_columns, lies_in_one, meets_any, outside_of, projected, runs_of,
    within,
};
use super::prune::tags_of;
use super::resolve::{ResolveExec, key_ordering};
use super::times::times_apart;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Operator};
use datafusion::physical_expr::expressions::binary;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use std::sync::Arc;
use warpline_storage::{DataFile, TableSnapshot, TagValues, TimeRange, contested};

/// A scan of a table while it is planned.
pub(crate) struct Sources<'a> {
    table: &'a TableSnapshot,
    /// The table's columns, in stored or in SQL types: those that come out.
    schema: &'a SchemaRef,
    reader: FileReader<'a>,
    /// What comes out, as indexes of the table's schema.
    columns: Vec<usize>,
    asked: TimeRange,
    files: Vec<&'a Arc<DataFile>>,
    boxes: Vec<TimeRange>,
    /// What is read of the asked times.
    kept: Vec<TimeRange>,
    state: &'a dyn Session,
    /// Filters that say more than `asked`.
    rest: Vec<Expr>,
    key_filter: Option<Expr>,
    /// What filters demand of the identity.
    tags: Vec<TagValues>,
    /// What resolution reads: the key and `columns`, ascending.
    keyed: Vec<usize>,
}

/// A file without the times that are resolved from several sources.
#[derive(Clone, Debug)]
pub(crate) struct FilePiece {
    pub file: Arc<DataFile>,
    /// Disjoint and ascending.
    pub ranges: Vec<TimeRange>,
}

/// All that a scan reads, in no order: whole series in disjoint stretches of time.
#[derive(Debug)]
pub(crate) struct Pieces {
    pub files: Vec<FilePiece>,
    /// Each partition gives batches sorted by identity, then time.
    pub plans: Vec<Arc<dyn ExecutionPlan>>,
    /// The times that are read, cut so that between rows of one plan and one series within a
    /// stretch there are none of another source. Disjoint and ascending.
    pub stretches: Vec<TimeRange>,
}

impl<'a> Sources<'a> {
    pub(crate) fn new(
        table: &'a TableSnapshot,
        schema: &'a SchemaRef,
        state: &'a dyn Session,
        columns: Vec<usize>,
        filters: &[Expr],
    ) -> Result<Self> {
        let filters: Vec<Expr> = filters.iter().cloned().map(unqualified).collect::<Result<_>>()?;
        let (asked, rest) = times_apart(&filters);
        let mut files: Vec<_> = table.files.iter().filter(|f| f.times.meets(asked)).collect();
        files.sort_by_key(|file| file.order);
        let bare: Vec<&DataFile> = files.iter().map(AsRef::as_ref).collect();
        let boxes = contested(&bare, table.buffer.late_times(), asked);
        let mut keyed: Vec<usize> = key_columns(table);
        keyed.extend(&columns);
        keyed.sort_unstable();
        keyed.dedup();
        let key_filter = key_filter(table, &filters);
        let tags = tags_of(&table.schema.identity, &filters);
        let reader = FileReader::new(table, Arc::clone(schema), state)?;
        Ok(Self {
            table,
            schema,
            reader,
            columns,
            asked,
            files,
            boxes,
            kept: vec![asked],
            state,
            rest,
            key_filter,
            tags,
            keyed,
        })
    }

    /// Leaves out what lies outside `ranges`, which are disjoint and ascending; resolved and
    /// buffered rows may still come from there.
    pub(crate) fn keep_within(&mut self, ranges: &[TimeRange]) {
        self.files.retain(|file| meets_any(file.times, ranges));
        let inside = |own: &TimeRange| ranges.iter().filter_map(|r| r.overlap(*own)).collect();
        self.boxes = self.boxes.iter().flat_map(|own| -> Vec<_> { inside(own) }).collect();
        self.kept = ranges.to_vec();
    }

    /// Everything as one plan.
    pub(crate) fn plan(&self, limit: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        let mut parts = Vec::new();
        if let Some(choice) = self.choice()? {
            parts.extend(self.chunked(choice)?);
        } else {
            let (free, partly) = (self.free(), self.partly());
            if !free.is_empty() {
                parts.push(self.reader.unordered(&free, &self.columns, limit)?);
            }
            if !partly.is_empty() {
                parts.push(self.rest_of(&partly)?);
            }
        }
        parts.extend(self.memory_and_resolved()?);
        match parts.len() {
            0 => Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&self.columns)?)))),
            1 => Ok(parts.remove(0)),
            _ => UnionExec::try_new(parts),
        }
    }

    /// What the filters choose, where they say more than a range of times.
    fn choice(&self) -> Result<Option<Choice>> {
        let filters: Vec<Expr> = self
            .rest
            .iter()
            .filter(|filter| is_calm(filter, &self.table.schema))
            .cloned()
            .collect();
        if filters.is_empty() {
            return Ok(None);
        }
        let none = std::iter::empty();
        Choice::of(&self.table.schema, &filters, none, self.state).map(Some)
    }

    /// The chosen rows of files, chunk by chunk.
    fn chunked(&self, choice: Choice) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let files = self.file_pieces();
        if files.is_empty() {
            return Ok(None);
        }
        let work = Chunked {
            opener: self.reader.opener(),
            files,
            choice,
            stored: self.table.schema.arrow(),
            columns: self.columns.clone(),
            schema: Arc::new(self.schema.project(&self.columns)?),
        };
        Ok(Some(Arc::new(ChunkExec::new(work, self.reader.groups))))
    }

    /// Everything apart, for a reader of its own.
    pub(crate) fn pieces(&self) -> Result<Pieces> {
        Ok(Pieces {
            files: self.file_pieces(),
            plans: self.memory_and_resolved()?,
            stretches: self.stretches(),
        })
    }

    fn stretches(&self) -> Vec<TimeRange> {
        let gaps = outside(&self.boxes, self.asked);
        let mut all: Vec<_> = self.boxes.iter().chain(&gaps).copied().collect();
        all.sort_unstable_by_key(|range| range.first);
        self.kept_of(&all)
    }

    /// The parts of ascending ranges that are read.
    fn kept_of(&self, ranges: &[TimeRange]) -> Vec<TimeRange> {
        let parts = |own: TimeRange| self.kept.iter().filter_map(move |kept| kept.overlap(own));
        ranges.iter().copied().flat_map(parts).collect()
    }

    fn file_pieces(&self) -> Vec<FilePiece> {
        let whole = vec![self.asked];
        let rest = outside(&self.boxes, self.asked);
        let piece = |file: &Arc<DataFile>, ranges: &[TimeRange]| FilePiece {
            file: Arc::clone(file),
            ranges: self.kept_of(ranges),
        };
        let free = self.free().into_iter().map(|file| piece(file, &whole));
        let partly = self.partly().into_iter().map(|file| piece(file, &rest));
        free.chain(partly).collect()
    }

    pub(crate) fn reader(&self) -> &FileReader<'a> {
        &self.reader
    }

    fn files_where(&self, wanted: impl Fn(&DataFile) -> bool) -> Vec<&'a Arc<DataFile>> {
        self.files.iter().copied().filter(|file| wanted(file)).collect()
    }

    /// Files that no other source can repeat a key of.
    fn free(&self) -> Vec<&'a Arc<DataFile>> {
        self.files_where(|file| !meets_any(file.times, &self.boxes))
    }

    /// Files with rows in contested times and outside.
    fn partly(&self) -> Vec<&'a Arc<DataFile>> {
        self.files_where(|file| {
            meets_any(file.times, &self.boxes) && !lies_in_one(file.times, &self.boxes)
        })
    }

    fn memory_and_resolved(&self) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        let mut plans: Vec<_> = self.plain_buffer()?.into_iter().collect();
        for run in runs_of(&self.boxes, self.reader.groups) {
            plans.push(self.resolved(run)?);
        }
        Ok(plans)
    }

    /// The rows outside the boxes of files that meet one.
    fn rest_of(&self, files: &[&Arc<DataFile>]) -> Result<Arc<dyn ExecutionPlan>> {
        let mut columns = self.columns.clone();
        if !columns.contains(&0) {
            columns.push(0);
        }
        let scan = self.reader.unordered(files, &columns, None)?;
        let predicate = outside_of(&self.boxes, &scan.schema())?;
        let wanted: Vec<usize> = (0..self.columns.len()).collect();
        projected(&wanted, filtered(predicate, scan)?)
    }

    fn plain_buffer(&self) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(times) = self.table.buffer.times().filter(|times| times.meets(self.asked)) else {
            return Ok(None);
        };
        let ranges: Vec<_> =
            outside(&self.boxes, self.asked).into_iter().filter(|r| r.meets(times)).collect();
        if ranges.is_empty() {
            return Ok(None);
        }
        let schema = Arc::new(self.schema.project(&self.columns)?);
        Ok(Some(self.buffer(&self.columns, ranges, schema, None)))
    }

    fn buffer(
        &self,
        columns: &[usize],
        ranges: Vec<TimeRange>,
        schema: SchemaRef,
        ordering: Option<LexOrdering>,
    ) -> Arc<dyn ExecutionPlan> {
        let (slice, tags) = (self.table.buffer.clone(), self.tags.clone());
        let (columns, most) = (columns.to_vec(), self.reader.groups);
        Arc::new(BufferExec::new(slice, columns, ranges, tags, schema, ordering, most))
    }

    /// The rows inside a run of boxes, from every source that has some.
    fn resolved(&self, boxes: &[TimeRange]) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = Arc::new(self.schema.project(&self.keyed)?);
        let keys: Vec<usize> = key_columns(self.table).iter().map(|key| self.place(*key)).collect();
        let mut sources = Vec::new();
        for file in self.files_where(|file| meets_any(file.times, boxes)) {
            let predicate = self.inside(boxes, self.schema)?;
            sources.push(self.reader.ordered(file, &self.keyed, predicate)?);
        }
        if self.table.buffer.times().is_some_and(|times| meets_any(times, boxes)) {
            let span = TimeRange { first: boxes[0].first, last: boxes[boxes.len() - 1].last };
            let ordering = key_ordering(&schema, &keys);
            sources.push(self.buffer(&self.keyed, vec![span], Arc::clone(&schema), ordering));
        }
        let output = self.columns.iter().map(|column| self.place(*column)).collect();
        let predicate = self.inside(boxes, &schema)?;
        Ok(Arc::new(ResolveExec::new(sources, keys, output, predicate)?))
    }

    /// What holds or fails for a whole key: that its time is in the boxes, and the filters over
    /// identity and time.
    fn inside(&self, boxes: &[TimeRange], schema: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>> {
        let times = within(boxes, schema)?;
        let Some(filter) = &self.key_filter else {
            return Ok(times);
        };
        let dfschema = DFSchema::try_from(Arc::clone(schema))?;
        let filter = self.state.create_physical_expr(filter.clone(), &dfschema)?;
        binary(times, Operator::And, filter, schema)
    }

    /// Where a column of the table stands in what resolution reads.
    fn place(&self, column: usize) -> usize {
        self.keyed.binary_search(&column).expect("resolution reads key and output")
    }
}

/// The filters over identity and time alone.
fn key_filter(table: &TableSnapshot, filters: &[Expr]) -> Option<Expr> {
    let is_key = |name: &str| name == "time" || table.schema.identity.iter().any(|k| &**k == name);
    let over_keys = filters.iter().filter(|filter| {
        filter.column_refs().iter().all(|column| is_key(&column.name)) && !filter.is_volatile()
    });
    conjunction(over_keys.cloned())
}

/// The expression with columns by name alone.
pub(crate) fn unqualified(expr: Expr) -> Result<Expr> {
    let bare = expr.transform_up(|expr| match expr {
        Expr::Column(column) if column.relation.is_some() => {
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(column.name))))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(bare.data)
}
