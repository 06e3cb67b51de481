//! What there is: schemas, tables, keys and types, as batches of the shapes that the protocol gives.

use super::service::sent;
use crate::catalog::{CATALOG, SCHEMA};
use crate::engine::Engine;
use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::error::Result as FlightResult;
use arrow_flight::sql::metadata::{
    SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTables, Nullable,
    Searchable, SqlInfo, SqlSupportedTransaction, XdbcDataType,
};
use std::sync::{Arc, LazyLock};
use tonic::Status;

/// The kind of all tables.
pub(super) const TABLE_TYPE: &str = "TABLE";

pub(super) fn catalogs(asked: CommandGetCatalogs) -> FlightResult<RecordBatch> {
    let mut builder = asked.into_builder();
    builder.append(CATALOG);
    builder.build()
}

pub(super) fn schemas(engine: &Engine, asked: CommandGetDbSchemas) -> FlightResult<RecordBatch> {
    let mut builder = asked.into_builder();
    for (name, _) in engine.schemas() {
        builder.append(CATALOG, name);
    }
    builder.build()
}

/// Tables with the columns that SQL sees.
pub(super) async fn tables(
    engine: &Engine,
    asked: CommandGetTables,
) -> Result<RecordBatch, Status> {
    let mut builder = asked.into_builder();
    for (schema, tables) in engine.schemas() {
        for name in tables.table_names() {
            let table = tables.table(&name).await;
            let table = table.map_err(|error| Status::internal(error.to_string()))?;
            let Some(table) = table else { continue };
            builder.append(CATALOG, schema, &name, TABLE_TYPE, &sent(&table.schema()))?;
        }
    }
    Ok(builder.build()?)
}

/// A table's identity and its time.
pub(super) fn primary_keys(engine: &Engine, asked: &CommandGetPrimaryKeys) -> RecordBatch {
    let ours = |given: &Option<String>, own: &str| given.as_deref().is_none_or(|name| name == own);
    let known = ours(&asked.catalog, CATALOG) && ours(&asked.db_schema, SCHEMA);
    let key = engine.key(&asked.table).filter(|_| known).unwrap_or_default();
    let texts = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; key.len()])) };
    let sequence = Int32Array::from_iter_values((1..).take(key.len()));
    let columns: Vec<ArrayRef> = vec![
        texts(CATALOG),
        texts(SCHEMA),
        texts(&asked.table),
        Arc::new(StringArray::from_iter_values(key.iter())),
        texts("key"),
        Arc::new(sequence),
    ];
    RecordBatch::try_new(primary_key_schema(), columns).expect("columns of one length")
}

pub(super) fn primary_key_schema() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        text("key_name", true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
}

/// Keys that refer to another table's: there are none.
pub(super) fn no_foreign_keys() -> RecordBatch {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let mut fields = Vec::new();
    for side in ["pk", "fk"] {
        fields.push(text(&format!("{side}_catalog_name"), true));
        fields.push(text(&format!("{side}_db_schema_name"), true));
        fields.push(text(&format!("{side}_table_name"), false));
        fields.push(text(&format!("{side}_column_name"), false));
    }
    fields.push(Field::new("key_sequence", DataType::Int32, false));
    fields.push(text("fk_key_name", true));
    fields.push(text("pk_key_name", true));
    fields.push(Field::new("update_rule", DataType::UInt8, false));
    fields.push(Field::new("delete_rule", DataType::UInt8, false));
    let columns = fields.iter().map(|field| -> ArrayRef {
        match field.data_type() {
            DataType::Int32 => Arc::new(Int32Array::from(Vec::<i32>::new())),
            DataType::UInt8 => Arc::new(UInt8Array::from(Vec::<u8>::new())),
            _ => Arc::new(StringArray::from(Vec::<&str>::new())),
        }
    });
    let columns = columns.collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of one length")
}

/// What the server says of itself.
pub(super) static SELF: LazyLock<SqlInfoData> = LazyLock::new(|| {
    let mut told = SqlInfoDataBuilder::new();
    told.append(SqlInfo::FlightSqlServerName, "warpline");
    told.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    told.append(SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION);
    told.append(SqlInfo::FlightSqlServerReadOnly, true);
    told.append(SqlInfo::FlightSqlServerSql, true);
    told.append(SqlInfo::FlightSqlServerSubstrait, false);
    told.append(SqlInfo::FlightSqlServerBulkIngestion, true);
    told.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, false);
    told.append(SqlInfo::FlightSqlServerCancel, false);
    let none = SqlSupportedTransaction::None as i32;
    told.append(SqlInfo::FlightSqlServerTransaction, none);
    told.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    told.append(SqlInfo::SqlDdlCatalog, false);
    told.append(SqlInfo::SqlDdlSchema, false);
    told.append(SqlInfo::SqlDdlTable, false);
    told.build().expect("each is told once")
});

/// The types that columns have.
pub(super) static TYPES: LazyLock<XdbcTypeInfoData> = LazyLock::new(|| {
    let mut types = XdbcTypeInfoDataBuilder::new();
    let numbers = [
        ("bigint", XdbcDataType::XdbcBigint, 19, Some(10)),
        ("double precision", XdbcDataType::XdbcDouble, 53, Some(2)),
    ];
    for (name, data_type, size, radix) in numbers {
        types.append(XdbcTypeInfo {
            unsigned_attribute: Some(false),
            num_prec_radix: radix,
            ..data_type_info(name, data_type, Some(size))
        });
    }
    let quoted = |name, data_type| XdbcTypeInfo {
        literal_prefix: Some("'".into()),
        literal_suffix: Some("'".into()),
        ..data_type_info(name, data_type, None)
    };
    types
        .append(XdbcTypeInfo { case_sensitive: true, ..quoted("text", XdbcDataType::XdbcVarchar) });
    types.append(quoted("timestamp with time zone", XdbcDataType::XdbcTimestamp));
    types.build().expect("each is told once")
});

fn data_type_info(name: &str, data_type: XdbcDataType, size: Option<i32>) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.into(),
        data_type,
        column_size: size,
        literal_prefix: None,
        literal_suffix: None,
        create_params: None,
        nullable: Nullable::NullabilityNullable,
        case_sensitive: false,
        searchable: Searchable::Full,
        unsigned_attribute: None,
        fixed_prec_scale: false,
        auto_increment: None,
        local_type_name: Some(name.into()),
        minimum_scale: None,
        maximum_scale: None,
        sql_data_type: data_type,
        datetime_subcode: None,
        num_prec_radix: None,
        interval_precision: None,
    }
}
