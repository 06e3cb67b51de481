//! The names SQL can reach: `postgres.public` holds a snapshot's tables, `postgres.latest` under
//! the same names the last row of every series, `postgres.system` what the server knows of itself.

use crate::latest::LatestView;
use crate::named::Named;
use crate::scan::TableView;
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::Result;
use std::sync::Arc;
use warpline_storage::{Snapshot, TableSnapshot};

/// The catalog, which PostgreSQL clients call the database.
pub const CATALOG: &str = "postgres";
pub const SCHEMA: &str = "public";
/// The schema of the last rows.
pub const LATEST: &str = "latest";

/// Where snapshots come from.
pub(crate) type Source = Arc<dyn Fn() -> Snapshot + Send + Sync>;

/// What a schema shows of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Show {
    AllRows,
    LatestRows,
}

/// The schemas that have the tables.
pub(crate) const SCHEMAS: [(&str, Show); 2] = [(SCHEMA, Show::AllRows), (LATEST, Show::LatestRows)];

impl Show {
    fn of(self, table: &Arc<TableSnapshot>, named: &Named) -> Arc<dyn TableProvider> {
        match self {
            Self::AllRows => Arc::new(TableView::named(Arc::clone(table), named)),
            Self::LatestRows => Arc::new(LatestView::new(Arc::clone(table))),
        }
    }
}

/// The tables of one snapshot: what a statement reads.
#[derive(Debug)]
pub(crate) struct SnapshotSchema {
    pub snapshot: Snapshot,
    pub show: Show,
    pub named: Arc<Named>,
}

#[async_trait]
impl SchemaProvider for SnapshotSchema {
    fn table_names(&self) -> Vec<String> {
        self.snapshot.tables().map(|table| table.schema.table.to_string()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.snapshot.table(name).map(|table| self.show.of(table, &self.named)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.snapshot.table(name).is_some()
    }
}
