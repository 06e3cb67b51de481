//! PostgreSQL's types by number and by name.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{ArrowPrimitiveType, Field, Int16Type, Int32Type};
use arrow::record_batch::RecordBatch;
use datafusion_postgres::arrow_pg::datatypes::field_into_pg_type;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::PgCatalogStaticTables;
use datafusion_postgres::pgwire::api::Type;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// Names that differ: of `pg_type`, and of SQL.
const SQL_NAMES: [(&str, &str); 12] = [
    ("bool", "boolean"),
    ("bpchar", "character"),
    ("float4", "real"),
    ("float8", "double precision"),
    ("int2", "smallint"),
    ("int4", "integer"),
    ("int8", "bigint"),
    ("time", "time without time zone"),
    ("timestamp", "timestamp without time zone"),
    ("timestamptz", "timestamp with time zone"),
    ("timetz", "time with time zone"),
    ("varchar", "character varying"),
];

/// What people write as well.
const ALIASES: [(&str, &str); 3] = [("int", "int4"), ("decimal", "numeric"), ("float", "float8")];

/// A row of `pg_type`.
pub(crate) struct PgType {
    pub(crate) oid: i32,
    pub(super) name: String,
    pub(super) length: i16,
    pub(super) by_value: bool,
    pub(super) align: String,
    pub(super) storage: String,
    pub(super) collation: i32,
    /// The type of an array's elements.
    element: i32,
    /// The relation whose rows it is.
    pub(super) relation: i32,
    pub(crate) namespace: i32,
}

static TYPES: LazyLock<HashMap<i32, PgType>> = LazyLock::new(|| {
    let tables = PgCatalogStaticTables::try_new().expect("the library reads its own tables");
    let types = tables.pg_type.data().iter().flat_map(read);
    types.map(|of| (of.oid, of)).collect()
});

fn read(batch: &RecordBatch) -> Vec<PgType> {
    let column = |name| batch.column_by_name(name).expect("a column of pg_type");
    let text = |name, row| column(name).as_string::<i32>().value(row).to_owned();
    let types = (0..batch.num_rows()).map(|row| PgType {
        oid: number::<Int32Type>(column("oid"), row),
        name: text("typname", row),
        length: number::<Int16Type>(column("typlen"), row),
        by_value: column("typbyval").as_boolean().value(row),
        align: text("typalign", row),
        storage: text("typstorage", row),
        collation: number::<Int32Type>(column("typcollation"), row),
        element: number::<Int32Type>(column("typelem"), row),
        relation: number::<Int32Type>(column("typrelid"), row),
        namespace: number::<Int32Type>(column("typnamespace"), row),
    });
    types.collect()
}

fn number<T: ArrowPrimitiveType>(column: &Arc<dyn Array>, row: usize) -> T::Native {
    column.as_primitive::<T>().value(row)
}

impl PgType {
    pub(super) fn all() -> impl Iterator<Item = &'static Self> {
        TYPES.values()
    }

    pub(crate) fn of_oid(oid: i32) -> Option<&'static Self> {
        TYPES.get(&oid)
    }

    /// What a column is to clients; text where PostgreSQL has no such type.
    pub(super) fn of(field: &Arc<Field>) -> &'static Self {
        let oid = field_into_pg_type(field).map_or(Type::TEXT.oid(), |of| of.oid());
        let known = Self::of_oid(oid.cast_signed());
        known.or_else(|| Self::named("text")).expect("pg_type has text")
    }

    /// The type of a name as SQL or `pg_type` has it.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        let name = name.trim().trim_start_matches("pg_catalog.").to_ascii_lowercase();
        // An array's type says nothing of its dimensions.
        let element = name.trim_end_matches("[]");
        if element.len() < name.len() {
            let element = Self::named(element)?.oid;
            return TYPES.values().find(|of| of.is_array() && of.element == element);
        }
        let sql = SQL_NAMES.iter().find(|(_, sql)| *sql == name).map(|(own, _)| *own);
        let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, own)| *own);
        let name = sql.or(alias).unwrap_or(&name);
        TYPES.values().find(|of| of.name == name.trim_matches('"'))
    }

    fn is_array(&self) -> bool {
        self.element != 0 && self.name.starts_with('_')
    }

    /// As SQL has it.
    pub(crate) fn sql_name(&self) -> String {
        match Self::of_oid(self.element) {
            Some(element) if self.is_array() => format!("{}[]", element.sql_name()),
            _ => sql_name(&self.name).to_owned(),
        }
    }
}

/// SQL's name of a type that `pg_type` names so.
pub(crate) fn sql_name(name: &str) -> &str {
    SQL_NAMES.iter().find(|(own, _)| *own == name).map_or(name, |(_, sql)| sql)
}
