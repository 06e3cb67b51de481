//! The names SQL can reach: `postgres.public` holds a snapshot's tables.

use crate::scan::TableView;
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::Result;
use std::fmt;
use std::sync::Arc;
use warpline_storage::Snapshot;

/// The catalog, which PostgreSQL clients call the database.
pub const CATALOG: &str = "postgres";
pub const SCHEMA: &str = "public";

/// Where snapshots come from.
pub(crate) type Source = Arc<dyn Fn() -> Snapshot + Send + Sync>;

/// The tables of one snapshot: what a statement reads.
#[derive(Debug)]
pub(crate) struct SnapshotSchema {
    pub snapshot: Snapshot,
}

/// The tables there are now: what `pg_catalog` lists, so that its object ids stay the same from
/// statement to statement.
pub(crate) struct LiveSchema {
    pub source: Source,
}

impl fmt::Debug for LiveSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveSchema")
    }
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    snapshot.tables().map(|table| table.schema.table.to_string()).collect()
}

fn view(snapshot: &Snapshot, name: &str) -> Option<Arc<dyn TableProvider>> {
    let table = snapshot.table(name)?;
    Some(Arc::new(TableView::new(Arc::clone(table))))
}

#[async_trait]
impl SchemaProvider for SnapshotSchema {
    fn table_names(&self) -> Vec<String> {
        names(&self.snapshot)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(view(&self.snapshot, name))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.snapshot.table(name).is_some()
    }
}

#[async_trait]
impl SchemaProvider for LiveSchema {
    fn table_names(&self) -> Vec<String> {
        names(&(self.source)())
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(view(&(self.source)(), name))
    }

    fn table_exist(&self, name: &str) -> bool {
        (self.source)().table(name).is_some()
    }
}
