//! `information_schema` as PostgreSQL has it: tables and columns under PostgreSQL's names of types,
//! by which query builders tell times from numbers and text.
//!
//! Promises: what is listed is what the statement's own snapshot has; a table is made when it is
//! named, and not before.

use crate::catalog::{CATALOG, SCHEMA};
use crate::pg_catalog::{PG_CATALOG, key, key_name, sql_name};
use crate::types::plain;
use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use datafusion::catalog::information_schema::InformationSchemaProvider;
use datafusion::catalog::{MemoryCatalogProviderList, SchemaProvider, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion_postgres::arrow_pg::datatypes::into_pg_type;
use std::fmt;
use std::sync::Arc;
use warpline_storage::Snapshot;

pub(crate) const INFORMATION_SCHEMA: &str = "information_schema";

const TABLES: [&str; 4] = ["columns", "schemata", "tables", "views"];
/// Tables about what keeps the rows of a table apart.
const KEYS: [&str; 2] = ["key_column_usage", "table_constraints"];
/// What there is none of, with the columns that are asked for.
const EMPTY: [(&str, &[&str]); 1] =
    [("referential_constraints", &["constraint_catalog", "constraint_schema", "constraint_name"])];
/// What DataFusion tells of its functions.
const FUNCTIONS: [&str; 2] = ["routines", "parameters"];

/// The schemas that it tells of.
#[derive(Clone)]
pub(crate) struct Information {
    pub(crate) schemas: Vec<(&'static str, Arc<dyn SchemaProvider>)>,
    /// Its tables have keys.
    pub(crate) snapshot: Snapshot,
}

impl fmt::Debug for Information {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Information")
    }
}

#[async_trait]
impl SchemaProvider for Information {
    fn table_names(&self) -> Vec<String> {
        let empty = EMPTY.iter().map(|(name, _)| *name);
        TABLES.into_iter().chain(KEYS).chain(empty).chain(FUNCTIONS).map(str::to_owned).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let rows = match name {
            "columns" => self.columns().await?,
            "schemata" => self.schemata()?,
            "tables" => self.tables()?,
            "key_column_usage" => self.key_column_usage()?,
            "table_constraints" => self.table_constraints()?,
            "views" => {
                let names = ["view_definition", "definition", "check_option", "is_updatable"];
                batch(of_tables(&[]).into_iter().chain(names.map(|name| (name, texts([])))))?
            }
            name if FUNCTIONS.contains(&name) => {
                let none = Arc::new(MemoryCatalogProviderList::new());
                return InformationSchemaProvider::new(none).table(name).await;
            }
            name => {
                let Some((_, columns)) = EMPTY.iter().find(|(own, _)| *own == name) else {
                    return Ok(None);
                };
                batch(columns.iter().map(|name| (*name, texts([]))))?
            }
        };
        Ok(Some(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|own| own == name)
    }
}

/// A column of one table.
struct Column {
    table: (&'static str, String),
    position: i32,
    field: Field,
}

type Named = (&'static str, ArrayRef);

impl Information {
    async fn columns(&self) -> Result<RecordBatch> {
        let mut columns = Vec::new();
        for (schema, tables) in &self.schemas {
            for name in names(tables) {
                let Some(table) = tables.table(&name).await? else { continue };
                for (position, field) in (1..).zip(table.schema().fields()) {
                    let (table, field) = ((*schema, name.clone()), Field::clone(field));
                    columns.push(Column { table, position, field });
                }
            }
        }
        let tables: Vec<_> = columns.iter().map(|column| &column.table).collect();
        let types: Vec<Type> =
            columns.iter().map(|column| Type::of(column.field.data_type())).collect();
        let text = |value: fn(&Column) -> &str| texts(columns.iter().map(value).map(Some));
        let named = |value: fn(&Type) -> Option<&str>| texts(types.iter().map(value));
        let numbers = |value: fn(&Type) -> Option<i32>| -> ArrayRef {
            Arc::new(types.iter().map(value).collect::<Int32Array>())
        };
        let all = |value: Option<&'static str>| texts(columns.iter().map(|_| value));
        let positions = columns.iter().map(|column| column.position);
        let none: ArrayRef = Arc::new(Int32Array::from(vec![None; columns.len()]));
        let own: [Named; 20] = [
            ("column_name", text(|column| column.field.name())),
            ("ordinal_position", Arc::new(Int32Array::from_iter_values(positions))),
            ("column_default", all(None)),
            ("is_nullable", text(|column| if column.field.is_nullable() { "YES" } else { "NO" })),
            ("data_type", named(|of| Some(&of.name))),
            ("character_maximum_length", none.clone()),
            ("character_octet_length", none.clone()),
            ("numeric_precision", numbers(|of| of.precision)),
            ("numeric_precision_radix", numbers(|of| of.precision.map(|_| 2))),
            ("numeric_scale", numbers(|of| of.precision.filter(|_| of.is_whole()).map(|_| 0))),
            ("datetime_precision", numbers(|of| of.name.starts_with("time").then_some(6))),
            ("collation_name", all(None)),
            ("domain_name", all(None)),
            ("udt_catalog", all(Some(CATALOG))),
            ("udt_schema", all(Some(PG_CATALOG))),
            ("udt_name", named(|of| Some(&of.internal))),
            ("is_identity", all(Some("NO"))),
            ("is_generated", all(Some("NEVER"))),
            ("generation_expression", all(None)),
            ("is_updatable", all(Some("NO"))),
        ];
        batch(of_tables(&tables).into_iter().chain(own))
    }

    fn tables(&self) -> Result<RecordBatch> {
        let all: Vec<(&'static str, String)> = self
            .schemas
            .iter()
            .flat_map(|(schema, tables)| names(tables).into_iter().map(|name| (*schema, name)))
            .collect();
        let kinds = all.iter().map(|(schema, _)| {
            Some(if [SCHEMA, PG_CATALOG].contains(schema) { "BASE TABLE" } else { "VIEW" })
        });
        let none = || texts(all.iter().map(|_| None));
        let no = || texts(all.iter().map(|_| Some("NO")));
        let own = [
            ("table_type", texts(kinds)),
            ("self_referencing_column_name", none()),
            ("reference_generation", none()),
            ("user_defined_type_catalog", none()),
            ("user_defined_type_schema", none()),
            ("user_defined_type_name", none()),
            ("is_insertable_into", no()),
            ("is_typed", no()),
            ("commit_action", none()),
        ];
        batch(of_tables(&all.iter().collect::<Vec<_>>()).into_iter().chain(own))
    }

    fn table_constraints(&self) -> Result<RecordBatch> {
        let tables = self.snapshot.tables().map(|table| (SCHEMA, table.schema.table.to_string()));
        let tables: Vec<_> = tables.collect();
        let all = |value: &'static str| texts(tables.iter().map(|_| Some(value)));
        let own = [
            ("constraint_type", all("PRIMARY KEY")),
            ("is_deferrable", all("NO")),
            ("initially_deferred", all("NO")),
            ("enforced", all("YES")),
        ];
        batch(of_constraints(&tables).into_iter().chain(own))
    }

    fn key_column_usage(&self) -> Result<RecordBatch> {
        let columns = || {
            self.snapshot.tables().flat_map(|table| {
                (1..).zip(key(table)).map(move |(place, column)| (table, place, column))
            })
        };
        let tables = columns().map(|(table, ..)| (SCHEMA, table.schema.table.to_string()));
        let tables: Vec<_> = tables.collect();
        let places = Int32Array::from_iter_values(columns().map(|(_, place, _)| place));
        let none: ArrayRef = Arc::new(Int32Array::from(vec![None; tables.len()]));
        let own: [Named; 3] = [
            ("column_name", texts(columns().map(|(_, _, column)| Some(column)))),
            ("ordinal_position", Arc::new(places)),
            ("position_in_unique_constraint", none),
        ];
        batch(of_constraints(&tables).into_iter().chain(own))
    }

    fn schemata(&self) -> Result<RecordBatch> {
        let names = || self.schemas.iter().map(|(name, _)| *name).chain([INFORMATION_SCHEMA]);
        let all = |value: Option<&'static str>| texts(names().map(|_| value));
        batch([
            ("catalog_name", all(Some(CATALOG))),
            ("schema_name", texts(names().map(Some))),
            ("schema_owner", all(Some(CATALOG))),
            ("default_character_set_catalog", all(None)),
            ("default_character_set_schema", all(None)),
            ("default_character_set_name", all(None)),
            ("sql_path", all(None)),
        ])
    }
}

fn names(tables: &Arc<dyn SchemaProvider>) -> Vec<String> {
    let mut names = tables.table_names();
    names.sort();
    names
}

/// The columns that name a table.
fn of_tables(tables: &[&(&'static str, String)]) -> [Named; 3] {
    [
        ("table_catalog", texts(tables.iter().map(|_| Some(CATALOG)))),
        ("table_schema", texts(tables.iter().map(|(schema, _)| Some(*schema)))),
        ("table_name", texts(tables.iter().map(|(_, name)| Some(name.as_str())))),
    ]
}

/// The columns that name a table's key, and the table.
fn of_constraints(tables: &[(&'static str, String)]) -> Vec<Named> {
    let names: Vec<String> = tables.iter().map(|(_, table)| key_name(table)).collect();
    let constraints = [
        ("constraint_catalog", texts(tables.iter().map(|_| Some(CATALOG)))),
        ("constraint_schema", texts(tables.iter().map(|(schema, _)| Some(*schema)))),
        ("constraint_name", texts(names.iter().map(|name| Some(name.as_str())))),
    ];
    constraints.into_iter().chain(of_tables(&tables.iter().collect::<Vec<_>>())).collect()
}

fn texts<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(StringArray::from_iter(values))
}

fn batch(columns: impl IntoIterator<Item = Named>) -> Result<RecordBatch> {
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns
        .into_iter()
        .map(|(name, column)| (Field::new(name, column.data_type().clone(), true), column))
        .unzip();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// What PostgreSQL calls a type.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match plain(data_type) {
        DataType::Null => "unknown".to_owned(),
        DataType::List(item) => format!("{}[]", type_name(item.data_type())),
        other => Type::of(&other).name,
    }
}

/// A type by both of PostgreSQL's names for it.
struct Type {
    /// `double precision`
    name: String,
    /// `float8`
    internal: String,
    /// Bits of a number.
    precision: Option<i32>,
}

impl Type {
    fn of(data_type: &DataType) -> Self {
        let internal = match data_type {
            DataType::Dictionary(_, values) => return Self::of(values),
            of => into_pg_type(of).map_or_else(|_| "text".to_owned(), |of| of.name().to_owned()),
        };
        let name = if internal.starts_with('_') { "ARRAY" } else { sql_name(&internal) };
        let precision = match internal.as_str() {
            "float4" => Some(24),
            "float8" => Some(53),
            "int2" => Some(16),
            "int4" => Some(32),
            "int8" => Some(64),
            _ => None,
        };
        Self { name: name.to_owned(), precision, internal }
    }

    fn is_whole(&self) -> bool {
        self.internal.starts_with("int")
    }
}
