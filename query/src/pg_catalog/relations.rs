//! Tables about relations: schemas, tables and views, their columns, and what keeps rows apart.

use super::directory::{Kind, NAMESPACES, Relation};
use super::roles::OWNER;
use super::rows::Rows;
use super::{Facts, PgType};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use std::sync::Arc;

/// Access methods: how PostgreSQL would store a table, and find a key.
const HEAP: i32 = 2;
const BTREE: i32 = 403;
/// Operators by which a B-tree orders text and times.
const TEXT_OPERATORS: i32 = 3_126;
const TIME_OPERATORS: i32 = 3_127;
const DEFAULT_COLLATION: i32 = 100;

pub(super) fn pg_namespace(_: &Facts<'_>) -> Result<RecordBatch> {
    Rows::of(&NAMESPACES)
        .oid("oid", |(_, oid)| *oid)
        .text("nspname", |(name, _)| *name)
        .same_oid("nspowner", OWNER)
        .no_list("nspacl")?
        .batch()
}

pub(super) fn pg_class(facts: &Facts<'_>) -> Result<RecordBatch> {
    let is_key = |relation: &Relation| matches!(relation.kind, Kind::Key(_));
    Rows::of(facts.relations)
        .oid("oid", |relation| relation.oid)
        .text("relname", |relation| &relation.name)
        .oid("relnamespace", |relation| relation.namespace())
        .same_oid("reltype", 0)
        .same_oid("reloftype", 0)
        .same_oid("relowner", OWNER)
        .oid("relam", |relation| match relation.kind {
            Kind::Table => HEAP,
            Kind::View => 0,
            Kind::Key(_) => BTREE,
        })
        .same_oid("relfilenode", 0)
        .same_oid("reltablespace", 0)
        .same("relpages", 0)?
        .value("reltuples", &ScalarValue::Float32(None), |relation| {
            ScalarValue::from(relation.rows as f32)
        })?
        .same("relallvisible", 0)?
        .same_oid("reltoastrelid", 0)
        .flag("relhasindex", |relation| !relation.key.is_empty())
        .same("relisshared", false)?
        .same("relpersistence", "p")?
        .text("relkind", |relation| match relation.kind {
            Kind::Table => "r",
            Kind::View => "v",
            Kind::Key(_) => "i",
        })
        .value("relnatts", &ScalarValue::Int16(None), |relation| {
            ScalarValue::from(relation.columns.fields().len() as i16)
        })?
        .same("relchecks", 0_i16)?
        .same("relhasrules", false)?
        .same("relhastriggers", false)?
        .same("relhassubclass", false)?
        .same("relrowsecurity", false)?
        .same("relforcerowsecurity", false)?
        .same("relispopulated", true)?
        .text("relreplident", |relation| if is_key(relation) { "n" } else { "d" })
        .same("relispartition", false)?
        .same_oid("relrewrite", 0)
        .same("relfrozenxid", 0)?
        .same("relminmxid", 0)?
        .no_list("relacl")?
        .no_list("reloptions")?
        .none("relpartbound", &DataType::Utf8)?
        .batch()
}

/// A column of a relation.
struct Column<'a> {
    of: &'a Relation,
    number: i16,
    field: &'a FieldRef,
    data_type: &'static PgType,
}

pub(super) fn pg_attribute(facts: &Facts<'_>) -> Result<RecordBatch> {
    let columns: Vec<Column<'_>> = facts
        .relations
        .iter()
        .flat_map(|of| {
            let fields = (1..).zip(of.columns.fields());
            fields.map(|(number, field)| Column { of, number, field, data_type: PgType::of(field) })
        })
        .collect();
    Rows::of(&columns)
        .oid("attrelid", |column| column.of.oid)
        .text("attname", |column| column.field.name())
        .oid("atttypid", |column| column.data_type.oid)
        .same("attstattarget", -1)?
        .value("attlen", &ScalarValue::Int16(None), |column| column.data_type.length.into())?
        .value("attnum", &ScalarValue::Int16(None), |column| column.number.into())?
        .value("attndims", &ScalarValue::Int32(None), |column| {
            i32::from(matches!(column.field.data_type(), DataType::List(_))).into()
        })?
        .same("attcacheoff", -1)?
        .same("atttypmod", -1)?
        .flag("attbyval", |column| column.data_type.by_value)
        .text("attalign", |column| &column.data_type.align)
        .text("attstorage", |column| &column.data_type.storage)
        .same("attcompression", "")?
        .flag("attnotnull", |column| !column.field.is_nullable())
        .same("atthasdef", false)?
        .same("atthasmissing", false)?
        .same("attidentity", "")?
        .same("attgenerated", "")?
        .same("attisdropped", false)?
        .same("attislocal", true)?
        .same("attinhcount", 0)?
        .oid("attcollation", |column| column.data_type.collation)
        .no_list("attacl")?
        .no_list("attoptions")?
        .no_list("attfdwoptions")?
        .no_list("attmissingval")?
        .batch()
}

/// A table and what keeps its rows apart.
struct Key<'a> {
    table: &'a Relation,
    index: &'a Relation,
}

fn keys<'a>(facts: &Facts<'a>) -> Vec<Key<'a>> {
    let keys = facts
        .relations
        .iter()
        .filter_map(|index| Some(Key { table: keyed(facts.relations, index)?, index }));
    keys.collect()
}

pub(super) fn pg_index(facts: &Facts<'_>) -> Result<RecordBatch> {
    let is_text = |field: &Arc<Field>| field.name() != "time";
    let each = |key: &Key<'_>, text: i32, time: i32| {
        let fields = key.index.columns.fields().iter();
        fields.map(|field| if is_text(field) { text } else { time }).collect::<Vec<_>>()
    };
    let columns = |key: &Key<'_>| ScalarValue::from(key.table.key.len() as i16);
    Rows::of(&keys(facts))
        .oid("indexrelid", |key| key.index.oid)
        .oid("indrelid", |key| key.table.oid)
        .value("indnatts", &ScalarValue::Int16(None), columns)?
        .value("indnkeyatts", &ScalarValue::Int16(None), columns)?
        .same("indisunique", true)?
        .same("indnullsnotdistinct", false)?
        .same("indisprimary", true)?
        .same("indisexclusion", false)?
        .same("indimmediate", true)?
        .same("indisclustered", false)?
        .same("indisvalid", true)?
        .same("indcheckxmin", false)?
        .same("indisready", true)?
        .same("indislive", true)?
        .same("indisreplident", false)?
        .smalls("indkey", |key| key.table.key.clone())
        .oids("indcollation", |key| each(key, DEFAULT_COLLATION, 0))
        .oids("indclass", |key| each(key, TEXT_OPERATORS, TIME_OPERATORS))
        .smalls("indoption", |key| vec![0; key.table.key.len()])
        .none("indexprs", &DataType::Utf8)?
        .none("indpred", &DataType::Utf8)?
        .batch()
}

pub(super) fn pg_constraint(facts: &Facts<'_>) -> Result<RecordBatch> {
    let lists = DataType::new_list(DataType::Int32, true);
    let smalls = DataType::new_list(DataType::Int16, true);
    Rows::of(&keys(facts))
        .oid("oid", |key| key.index.oid)
        .text("conname", |key| &key.index.name)
        .oid("connamespace", |key| key.table.namespace())
        .same("contype", "p")?
        .same("condeferrable", false)?
        .same("condeferred", false)?
        .same("convalidated", true)?
        .oid("conrelid", |key| key.table.oid)
        .same_oid("contypid", 0)
        .oid("conindid", |key| key.index.oid)
        .same_oid("conparentid", 0)
        .same_oid("confrelid", 0)
        .same("confupdtype", " ")?
        .same("confdeltype", " ")?
        .same("confmatchtype", " ")?
        .same("conislocal", true)?
        .same("coninhcount", 0_i16)?
        .same("connoinherit", true)?
        .smalls("conkey", |key| key.table.key.clone())
        .none("confkey", &smalls)?
        .none("conpfeqop", &lists)?
        .none("conppeqop", &lists)?
        .none("conffeqop", &lists)?
        .none("confdelsetcols", &smalls)?
        .none("conexclop", &lists)?
        .none("conbin", &DataType::Utf8)?
        .batch()
}

pub(super) fn pg_indexes(facts: &Facts<'_>) -> Result<RecordBatch> {
    Rows::of(&keys(facts))
        .text("schemaname", |key| key.table.schema)
        .text("tablename", |key| &key.table.name)
        .text("indexname", |key| &key.index.name)
        .none("tablespace", &DataType::Utf8)?
        .text("indexdef", |key| definition(key.table, key.index))
        .batch()
}

/// How the index is written to PostgreSQL, or one of its columns; nothing where it is no index.
pub(crate) fn index_definition(
    relations: &[Arc<Relation>],
    index: &Relation,
    column: Option<i64>,
) -> Option<String> {
    let table = keyed(relations, index)?;
    Some(match column.filter(|column| *column > 0) {
        Some(column) => quoted(index.columns.fields().get(column as usize - 1)?.name()),
        None => definition(table, index),
    })
}

pub(crate) fn constraint_definition(relations: &[Arc<Relation>], key: &Relation) -> Option<String> {
    keyed(relations, key)?;
    Some(format!("PRIMARY KEY ({})", columns(key)))
}

/// The table whose rows it keeps apart.
fn keyed<'a>(relations: &'a [Arc<Relation>], index: &Relation) -> Option<&'a Relation> {
    let Kind::Key(table) = index.kind else { return None };
    relations.iter().find(|relation| relation.oid == table).map(|found| &**found)
}

fn definition(table: &Relation, index: &Relation) -> String {
    let (schema, columns) = (quoted(table.schema), columns(index));
    let (index, table) = (quoted(&index.name), quoted(&table.name));
    format!("CREATE UNIQUE INDEX {index} ON {schema}.{table} USING btree ({columns})")
}

fn columns(of: &Relation) -> String {
    of.columns.fields().iter().map(|field| quoted(field.name())).collect::<Vec<_>>().join(", ")
}

/// A name as SQL reads it.
pub(crate) fn quoted(name: &str) -> String {
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    let plain =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    if starts && name.chars().all(plain) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn pg_tables(facts: &Facts<'_>) -> Result<RecordBatch> {
    let tables: Vec<_> =
        facts.relations.iter().filter(|relation| relation.kind == Kind::Table).collect();
    Rows::of(&tables)
        .text("schemaname", |table| table.schema)
        .text("tablename", |table| &table.name)
        .same("tableowner", facts.settings.user())?
        .none("tablespace", &DataType::Utf8)?
        .flag("hasindexes", |table| !table.key.is_empty())
        .same("hasrules", false)?
        .same("hastriggers", false)?
        .same("rowsecurity", false)?
        .batch()
}

pub(super) fn pg_views(facts: &Facts<'_>) -> Result<RecordBatch> {
    let views: Vec<_> =
        facts.relations.iter().filter(|relation| relation.kind == Kind::View).collect();
    Rows::of(&views)
        .text("schemaname", |view| view.schema)
        .text("viewname", |view| &view.name)
        .same("viewowner", facts.settings.user())?
        .none("definition", &DataType::Utf8)?
        .batch()
}

/// There are none.
pub(super) fn pg_extension(_: &Facts<'_>) -> Result<RecordBatch> {
    Rows::<()>::of(&[])
        .same_oid("oid", 0)
        .none("extname", &DataType::Utf8)?
        .same_oid("extowner", 0)
        .same_oid("extnamespace", 0)
        .none("extrelocatable", &DataType::Boolean)?
        .none("extversion", &DataType::Utf8)?
        .oids("extconfig", |()| Vec::new())
        .no_list("extcondition")?
        .batch()
}

/// There are none.
pub(super) fn pg_sequences(_: &Facts<'_>) -> Result<RecordBatch> {
    Rows::<()>::of(&[])
        .none("schemaname", &DataType::Utf8)?
        .none("sequencename", &DataType::Utf8)?
        .none("sequenceowner", &DataType::Utf8)?
        .same_oid("data_type", 0)
        .none("start_value", &DataType::Int64)?
        .none("min_value", &DataType::Int64)?
        .none("max_value", &DataType::Int64)?
        .none("increment_by", &DataType::Int64)?
        .none("cycle", &DataType::Boolean)?
        .none("cache_size", &DataType::Int64)?
        .none("last_value", &DataType::Int64)?
        .batch()
}

/// There are none.
pub(super) fn pg_policies(_: &Facts<'_>) -> Result<RecordBatch> {
    let texts =
        ["schemaname", "tablename", "policyname", "permissive", "cmd", "qual", "with_check"];
    no_texts(&texts)?.no_list("roles")?.batch()
}

/// There are none.
pub(super) fn pg_rules(_: &Facts<'_>) -> Result<RecordBatch> {
    no_texts(&["schemaname", "tablename", "rulename", "definition"])?.batch()
}

fn no_texts(names: &[&str]) -> Result<Rows<'static, ()>> {
    let none = Rows::of(&[]);
    names.iter().try_fold(none, |rows, name| rows.none(name, &DataType::Utf8))
}
