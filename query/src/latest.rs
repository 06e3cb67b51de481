//! The last row of every series of a table, for DataFusion.
//!
//! Promises: the rows that `SELECT DISTINCT ON (identity) * FROM t ORDER BY identity, time DESC`
//! gives over the same snapshot, in no order; storage has them at hand, no file is scanned, and of
//! filters over identity tags only the rows that pass are put together.

use crate::scan::tags_of;
use crate::types::{sql_schema, to_sql};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::DefaultTableSource;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableScan, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, TryFutureExt, TryStreamExt};
use std::sync::Arc;
use warpline_storage::{TableSnapshot, TagValues};

/// A table of the schema `latest`.
#[derive(Debug)]
pub(crate) struct LatestView {
    table: Arc<TableSnapshot>,
    schema: SchemaRef,
}

impl LatestView {
    pub(crate) fn new(table: Arc<TableSnapshot>) -> Self {
        let schema = sql_schema(&table.schema);
        Self { table, schema }
    }

    pub(crate) fn table(&self) -> &Arc<TableSnapshot> {
        &self.table
    }

    /// The view that a scan reads, `None` where it reads anything else.
    pub(crate) fn of(scan: &TableScan) -> Option<&Self> {
        let source = scan.source.downcast_ref::<DefaultTableSource>()?;
        source.table_provider.downcast_ref()
    }
}

#[async_trait]
impl TableProvider for LatestView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    /// Series are chosen by what filters demand of tags; all filters are applied again above.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.schema.fields().len()).collect();
        let columns: Vec<usize> = projection.cloned().unwrap_or_else(all);
        let schema = Arc::new(self.schema.project(&columns)?);
        let tags = tags_of(&self.table.schema.identity, filters);
        let (table, own) = (Arc::clone(&self.table), Arc::clone(&schema));
        let rows = Rows { table, tags, columns, schema: own };
        let plan =
            StreamingTableExec::try_new(schema, vec![Arc::new(rows)], None, None, false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// The rows of series with these tags in the columns that are asked for.
#[derive(Debug)]
struct Rows {
    table: Arc<TableSnapshot>,
    tags: Vec<TagValues>,
    columns: Vec<usize>,
    schema: SchemaRef,
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (table, tags) = (Arc::clone(&self.table), self.tags.clone());
        let columns = self.columns.clone();
        let schema = Arc::clone(&self.schema);
        let found = async move { table.latest(&tags).await };
        let found = found.map_err(|e| DataFusionError::External(e.into()));
        let batches = found.map_ok(move |latest| {
            let batches = latest.batches(columns);
            futures::stream::iter(batches.map(move |batch| Ok(to_sql(&batch, &schema)?)))
        });
        let stream = futures::stream::once(batches).try_flatten().boxed();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))
    }
}
