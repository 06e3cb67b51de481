//! A table's schema in the Delta log: column types say the fields, properties say the roles.

use crate::error::StorageError;
use crate::model::{Field, FieldType, SchemaConflict, TableSchema};
use deltalake::kernel::{DataType, PrimitiveType, StructField, StructType};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub(super) const PARTITION: &str = "date";
pub(super) const TIME: &str = "time";

/// The version of what we write into a table; docs/formats/table.md describes it.
const FORMAT_VERSION: u32 = 2;
const FORMAT: &str = "warpline.format";
const IDENTITY: &str = "warpline.identity";
const ATTRIBUTES: &str = "warpline.attributes";
/// Rows before this time need no resolution by those who read the files.
pub(super) const DEDUPLICATED_UNTIL: &str = "warpline.deduplicated_until";

/// The columns of the Delta table, `date` last.
pub(super) fn columns(schema: &TableSchema) -> Result<Vec<StructField>, StorageError> {
    let mut columns = vec![StructField::not_null(TIME, PrimitiveType::Timestamp)];
    let identity = schema.identity.iter();
    columns.extend(identity.map(|tag| StructField::not_null(&**tag, PrimitiveType::String)));
    let attributes = schema.attributes.iter();
    columns.extend(attributes.map(|tag| StructField::nullable(&**tag, PrimitiveType::String)));
    for field in &schema.fields {
        columns.push(StructField::nullable(&*field.name, delta_type(field.field_type)?));
    }
    columns.push(StructField::nullable(PARTITION, PrimitiveType::Date));
    Ok(columns)
}

/// The table properties that tell the columns' roles.
pub(super) fn properties(schema: &TableSchema) -> [(&'static str, String); 3] {
    [
        (FORMAT, FORMAT_VERSION.to_string()),
        (IDENTITY, names(&schema.identity)),
        (ATTRIBUTES, names(&schema.attributes)),
    ]
}

/// Reads back what `columns` and `properties` say.
pub(super) fn table_schema(
    table: &str,
    columns: &StructType,
    properties: &HashMap<String, String>,
) -> Result<TableSchema, StorageError> {
    check_format(table, properties)?;
    let identity = role(table, IDENTITY, properties)?;
    let attributes = role(table, ATTRIBUTES, properties)?;
    check_tags(table, columns, identity.iter().chain(&attributes))?;
    let is_tag = |name: &str| identity.iter().chain(&attributes).any(|tag| &**tag == name);
    let mut fields = Vec::new();
    for column in columns.fields() {
        let name = column.name().as_str();
        if name == TIME || name == PARTITION || is_tag(name) {
            continue;
        }
        let field_type = field_type(column.data_type()).ok_or_else(|| {
            StorageError::rejected(format!(
                "table {table} has a column {name:?} of type {}, which no field has",
                column.data_type()
            ))
        })?;
        fields.push(Field { name: name.into(), field_type });
    }
    Ok(TableSchema { table: table.into(), identity, attributes, fields })
}

/// `current` with the columns of `wanted` that it lacks, in the order in which `wanted` has them.
pub(super) fn widened(
    current: &TableSchema,
    wanted: &TableSchema,
) -> Result<TableSchema, StorageError> {
    if current.identity != wanted.identity {
        return Err(SchemaConflict::Identity {
            table: current.table.clone(),
            expected: current.identity.clone(),
            got: wanted.identity.clone(),
        }
        .into());
    }
    let mut schema = current.clone();
    for tag in &wanted.attributes {
        if !schema.attributes.contains(tag) {
            schema.attributes.push(tag.clone());
        }
    }
    for field in &wanted.fields {
        match schema.field(&field.name) {
            None => schema.fields.push(field.clone()),
            Some(existing) if existing.field_type == field.field_type => {}
            Some(existing) => {
                return Err(SchemaConflict::FieldType {
                    table: current.table.clone(),
                    name: field.name.clone(),
                    existing: existing.field_type,
                    got: field.field_type,
                }
                .into());
            }
        }
    }
    Ok(schema)
}

fn delta_type(field_type: FieldType) -> Result<DataType, StorageError> {
    Ok(DataType::Primitive(match field_type {
        FieldType::Int8 => PrimitiveType::Byte,
        FieldType::Int16 => PrimitiveType::Short,
        FieldType::Int32 => PrimitiveType::Integer,
        FieldType::Int64 => PrimitiveType::Long,
        FieldType::Float64 => PrimitiveType::Double,
        FieldType::Decimal { digits, decimals } => PrimitiveType::decimal(digits, decimals)
            .map_err(|error| StorageError::internal(error.to_string()))?,
    }))
}

fn field_type(data_type: &DataType) -> Option<FieldType> {
    match data_type {
        DataType::Primitive(PrimitiveType::Byte) => Some(FieldType::Int8),
        DataType::Primitive(PrimitiveType::Short) => Some(FieldType::Int16),
        DataType::Primitive(PrimitiveType::Integer) => Some(FieldType::Int32),
        DataType::Primitive(PrimitiveType::Long) => Some(FieldType::Int64),
        DataType::Primitive(PrimitiveType::Double) => Some(FieldType::Float64),
        DataType::Primitive(PrimitiveType::Decimal(decimal)) => {
            FieldType::decimal(decimal.precision(), decimal.scale())
        }
        _ => None,
    }
}

fn check_format(table: &str, properties: &HashMap<String, String>) -> Result<(), StorageError> {
    let format = properties.get(FORMAT).ok_or_else(|| {
        StorageError::rejected(format!(
            "{table} is a Delta table that Warpline has not made: it has no property {FORMAT}"
        ))
    })?;
    match format.parse::<u32>() {
        Ok(version) if version <= FORMAT_VERSION => Ok(()),
        Ok(version) => Err(StorageError::rejected(format!(
            "table {table} is in format {version}, this program knows formats up to \
             {FORMAT_VERSION}: use a newer one"
        ))),
        Err(_) => Err(StorageError::corrupt(format!("table {table}: {FORMAT} is {format:?}"))),
    }
}

fn role(
    table: &str,
    property: &str,
    properties: &HashMap<String, String>,
) -> Result<Vec<Arc<str>>, StorageError> {
    let text = properties.get(property).map(String::as_str).unwrap_or_default();
    let names: Vec<String> = serde_json::from_str(text).map_err(|error| {
        StorageError::corrupt(format!("table {table}: {property} is {text:?}: {error}"))
    })?;
    Ok(names.into_iter().map(Arc::from).collect())
}

/// Each tag is a column of texts, and has one role.
fn check_tags<'a>(
    table: &str,
    columns: &StructType,
    tags: impl Iterator<Item = &'a Arc<str>>,
) -> Result<(), StorageError> {
    let mut seen = HashSet::new();
    for tag in tags {
        let column = columns.field(&**tag);
        let text = column.is_some_and(|column| *column.data_type() == DataType::STRING);
        if !text || !seen.insert(tag) {
            return Err(StorageError::corrupt(format!(
                "table {table}: its properties say that {tag:?} is a tag, where it is no column of \
                 texts or is named twice"
            )));
        }
    }
    Ok(())
}

fn names(names: &[Arc<str>]) -> String {
    names.iter().map(|name| &**name).collect::<serde_json::Value>().to_string()
}
