//! One table of one snapshot, for DataFusion.

use super::sources::Sources;
use crate::named::Named;
use crate::types::{sql_columns, sql_schema};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::DefaultTableSource;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableScan, TableType};
use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;
use warpline_storage::TableSnapshot;

/// A table as it was when the snapshot was taken.
#[derive(Debug)]
pub struct TableView {
    table: Arc<TableSnapshot>,
    /// The columns that can be asked for, and their numbers in the table.
    schema: SchemaRef,
    columns: Vec<usize>,
}

impl TableView {
    pub fn new(table: Arc<TableSnapshot>) -> Self {
        Self::named(table, &Named::default())
    }

    /// With the key columns and those that a statement names.
    pub(crate) fn named(table: Arc<TableSnapshot>, named: &Named) -> Self {
        let keys = table.schema.identity.len();
        let all = table.schema.column_names().enumerate();
        let wanted = all.filter(|(number, name)| *number <= keys || named.has(name));
        let columns: Vec<usize> = wanted.map(|(number, _)| number).collect();
        let schema = sql_columns(&table.schema, &columns);
        Self { table, schema, columns }
    }

    /// The same columns of the table in another snapshot.
    pub(crate) fn over(&self, table: Arc<TableSnapshot>) -> Self {
        Self { table, schema: Arc::clone(&self.schema), columns: self.columns.clone() }
    }

    pub(crate) fn table(&self) -> &Arc<TableSnapshot> {
        &self.table
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
        let columns = match projection {
            Some(chosen) => chosen.iter().map(|at| self.columns[*at]).collect(),
            None => self.columns.clone(),
        };
        let schema = sql_schema(&self.table.schema);
        Sources::new(&self.table, &schema, state, columns, filters)?.plan(limit)
    }
}
