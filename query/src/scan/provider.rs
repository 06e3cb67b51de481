//! One table of one snapshot, for DataFusion.

use super::boxes::{contested, outside};
use super::buffer::BufferExec;
use super::plan::{
    FileReader, filtered, key_columns, lies_in_one, meets_any, outside_of, projected, runs_of,
    within,
};
use super::resolve::{ResolveExec, key_ordering};
use super::times::asked_times;
use crate::types::sql_schema;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::datasource::DefaultTableSource;
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Operator, TableProviderFilterPushDown, TableScan, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::binary;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use std::sync::Arc;
use warpline_storage::{DataFile, TableSnapshot, TimeRange};

/// A table as it was when the snapshot was taken.
#[derive(Debug)]
pub struct TableView {
    table: Arc<TableSnapshot>,
    schema: SchemaRef,
}

impl TableView {
    pub fn new(table: Arc<TableSnapshot>) -> Self {
        let schema = sql_schema(&table.schema);
        Self { table, schema }
    }

    /// The view that a scan reads, `None` where it reads anything else.
    pub(crate) fn of(scan: &TableScan) -> Option<&Self> {
        let source = scan.source.downcast_ref::<DefaultTableSource>()?;
        source.table_provider.downcast_ref()
    }

    /// The columns that tell one series from another.
    pub(crate) fn identity(&self) -> impl Iterator<Item = &str> {
        self.table.schema.identity.iter().map(|name| &**name)
    }
}

#[async_trait]
impl TableProvider for TableView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Every filter helps to read less, none is applied to the last row.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.schema.fields().len()).collect();
        let columns = projection.cloned().unwrap_or_else(all);
        Scan::new(&self.table, &self.schema, state, columns, filters)?.plan(limit)
    }
}

/// One scan of a table while it is planned.
struct Scan<'a> {
    table: &'a TableSnapshot,
    schema: &'a SchemaRef,
    reader: FileReader<'a>,
    /// What comes out, as indexes of the table's schema.
    columns: Vec<usize>,
    asked: TimeRange,
    files: Vec<&'a DataFile>,
    boxes: Vec<TimeRange>,
    state: &'a dyn Session,
    key_filter: Option<Expr>,
    /// What resolution reads: the key and `columns`, ascending.
    keyed: Vec<usize>,
}

impl<'a> Scan<'a> {
    fn new(
        table: &'a TableSnapshot,
        schema: &'a SchemaRef,
        state: &'a dyn Session,
        columns: Vec<usize>,
        filters: &[Expr],
    ) -> Result<Self> {
        let asked = asked_times(filters);
        let mut files: Vec<&DataFile> =
            table.files.iter().map(AsRef::as_ref).filter(|f| f.times.meets(asked)).collect();
        files.sort_by_key(|file| file.order);
        let boxes = contested(&files, table.buffer.late_times(), asked);
        let mut keyed: Vec<usize> = key_columns(table);
        keyed.extend(&columns);
        keyed.sort_unstable();
        keyed.dedup();
        let key_filter = key_filter(table, filters)?;
        let reader = FileReader::new(table, state)?;
        Ok(Self { table, schema, reader, columns, asked, files, boxes, state, key_filter, keyed })
    }

    fn plan(&self, limit: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        let mut parts = Vec::new();
        let free: Vec<_> = self.files_where(|file| !meets_any(file.times, &self.boxes));
        if !free.is_empty() {
            parts.push(self.reader.unordered(&free, &self.columns, limit)?);
        }
        let partly: Vec<_> = self.files_where(|file| {
            meets_any(file.times, &self.boxes) && !lies_in_one(file.times, &self.boxes)
        });
        if !partly.is_empty() {
            parts.push(self.rest_of(&partly)?);
        }
        parts.extend(self.plain_buffer()?);
        for run in runs_of(&self.boxes, self.reader.groups) {
            parts.push(self.resolved(run)?);
        }
        match parts.len() {
            0 => Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&self.columns)?)))),
            1 => Ok(parts.remove(0)),
            _ => UnionExec::try_new(parts),
        }
    }

    fn files_where(&self, wanted: impl Fn(&DataFile) -> bool) -> Vec<&'a DataFile> {
        self.files.iter().copied().filter(|file| wanted(file)).collect()
    }

    /// The rows outside the boxes of files that meet one.
    fn rest_of(&self, files: &[&DataFile]) -> Result<Arc<dyn ExecutionPlan>> {
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
        let slice = self.table.buffer.clone();
        let buffer = BufferExec::new(slice, self.columns.clone(), ranges, schema, None);
        Ok(Some(Arc::new(buffer)))
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
            let (slice, columns) = (self.table.buffer.clone(), self.keyed.clone());
            let (ranges, ordering) = (vec![span], key_ordering(&schema, &keys));
            let schema = Arc::clone(&schema);
            sources.push(Arc::new(BufferExec::new(slice, columns, ranges, schema, ordering)));
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
fn key_filter(table: &TableSnapshot, filters: &[Expr]) -> Result<Option<Expr>> {
    let is_key = |name: &str| name == "time" || table.schema.identity.iter().any(|k| &**k == name);
    let over_keys = filters.iter().filter(|filter| {
        filter.column_refs().iter().all(|column| is_key(&column.name)) && !filter.is_volatile()
    });
    conjunction(over_keys.cloned()).map(unqualified).transpose()
}

/// The expression with columns by name alone.
fn unqualified(expr: Expr) -> Result<Expr> {
    let bare = expr.transform_up(|expr| match expr {
        Expr::Column(column) if column.relation.is_some() => {
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(column.name))))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(bare.data)
}
