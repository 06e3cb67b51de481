//! `pg_catalog`: what clients read to learn which tables and columns there are.
//!
//! ```text
//! relations   pg_class, pg_attribute, pg_namespace, pg_index, pg_constraint and views over them
//! functions   pg_proc
//! roles       pg_roles, pg_user: whoever asks, and nobody else
//! others      the library's: types, operators, casts; and tables that are empty here
//! ```
//! Promises: what is listed is what the statement's own snapshot has. A table's identity and time
//! are its primary key. What is not there has no row.

mod directory;
mod functions;
mod relations;
mod rewrite;
mod roles;
mod rows;
mod types;

pub(crate) use directory::{
    Directory, Relation, Relations, key, key_name, namespace, namespace_name,
};
pub(crate) use functions::{Function, listed};
pub(crate) use relations::{constraint_definition, index_definition, quoted};
pub(crate) use rewrite::rewrite;
pub(crate) use roles::OWNER;
pub(crate) use types::{PgType, sql_name};

use crate::settings::SessionSettings;
use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::PG_CATALOG_TABLES;
use std::fmt;
use std::sync::Arc;
use warpline_storage::Snapshot;

pub(crate) const PG_CATALOG: &str = "pg_catalog";

/// What the tables are made of.
struct Facts<'a> {
    relations: &'a [Arc<Relation>],
    functions: &'a [Function],
    settings: &'a SessionSettings,
}

type Make = fn(&Facts<'_>) -> Result<RecordBatch>;

/// Tables of our own; they stand before those of the library.
const OWN: [(&str, Make); 17] = [
    ("pg_attribute", relations::pg_attribute),
    ("pg_class", relations::pg_class),
    ("pg_constraint", relations::pg_constraint),
    ("pg_cursors", roles::pg_cursors),
    ("pg_extension", relations::pg_extension),
    ("pg_index", relations::pg_index),
    ("pg_indexes", relations::pg_indexes),
    ("pg_namespace", relations::pg_namespace),
    ("pg_policies", relations::pg_policies),
    ("pg_proc", functions::pg_proc),
    ("pg_roles", roles::pg_roles),
    ("pg_rules", relations::pg_rules),
    ("pg_sequences", relations::pg_sequences),
    ("pg_settings", roles::pg_settings),
    ("pg_tables", relations::pg_tables),
    ("pg_user", roles::pg_user),
    ("pg_views", relations::pg_views),
];

/// Those that are views in PostgreSQL.
const VIEWS: [&str; 15] = [
    "pg_cursors",
    "pg_indexes",
    "pg_matviews",
    "pg_policies",
    "pg_replication_slots",
    "pg_roles",
    "pg_rules",
    "pg_sequences",
    "pg_settings",
    "pg_stat_gssapi",
    "pg_stat_user_tables",
    "pg_stats",
    "pg_tables",
    "pg_user",
    "pg_views",
];

/// The names of all tables, in order.
fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = PG_CATALOG_TABLES.to_vec();
    names.extend(OWN.map(|(name, _)| name));
    names.sort_unstable();
    names.dedup();
    names
}

fn has(name: &str) -> bool {
    PG_CATALOG_TABLES.contains(&name) || OWN.iter().any(|(own, _)| *own == name)
}

fn own(name: &str) -> Option<Make> {
    OWN.iter().find(|(own, _)| *own == name).map(|(_, make)| *make)
}

/// The columns of a table of our own.
fn own_schema(name: &str) -> Option<SchemaRef> {
    let nothing = Facts { relations: &[], functions: &[], settings: &SessionSettings::default() };
    own(name)?(&nothing).ok().map(|rows| rows.schema())
}

/// The schema over a snapshot, for whoever asks with these settings.
pub(crate) struct PgCatalog {
    pub(crate) directory: Arc<Directory>,
    pub(crate) snapshot: Snapshot,
    pub(crate) settings: SessionSettings,
}

impl fmt::Debug for PgCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PgCatalog")
    }
}

#[async_trait]
impl SchemaProvider for PgCatalog {
    fn table_names(&self) -> Vec<String> {
        names().into_iter().map(str::to_owned).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(make) = own(name) else {
            return match self.directory.library().table(name).await? {
                Some(table) => with_lists(table).await.map(Some),
                None => Ok(None),
            };
        };
        let relations = self.directory.of(&self.snapshot);
        let functions = self.directory.functions();
        let rows = make(&Facts { relations: &relations, functions, settings: &self.settings })?;
        Ok(Some(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?)))
    }

    fn table_exist(&self, name: &str) -> bool {
        has(name)
    }
}

/// What is a list in PostgreSQL and text in the library, by how its name ends.
const LISTS: [&str; 3] = ["acl", "options", "config"];

/// A table of the library with lists of privileges and options where it has nothing.
async fn with_lists(table: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
    let Some(memory) = table.downcast_ref::<MemTable>() else { return Ok(table) };
    let is_list = |field: &Field| LISTS.iter().any(|end| field.name().ends_with(end));
    if !memory.schema().fields().iter().any(|field| is_list(field)) {
        return Ok(table);
    }
    let mut rows = Vec::new();
    for partition in &memory.batches {
        rows.extend(partition.read().await.iter().cloned());
    }
    let rows = concat_batches(&memory.schema(), &rows)?;
    let list = DataType::new_list(DataType::Utf8, true);
    let columns = memory.schema();
    let columns = columns.fields().iter().zip(rows.columns()).map(|(field, values)| {
        if is_list(field) && values.null_count() == values.len() {
            let field = Field::clone(field).with_data_type(list.clone());
            (Arc::new(field), new_null_array(&list, values.len()))
        } else {
            (Arc::clone(field), Arc::clone(values))
        }
    });
    let (fields, columns): (Vec<FieldRef>, Vec<ArrayRef>) = columns.unzip();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    Ok(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?))
}
