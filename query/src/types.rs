//! The types a table has in SQL, and how stored columns become them.
//!
//! ```text
//! time                timestamptz (microseconds, UTC)
//! tags                text, as Dictionary<Int32, Utf8>
//! int8 .. int64       BIGINT
//! decimal(d, k)       DOUBLE: n / 10^k, correctly rounded, n has at most 15 digits
//! float64             DOUBLE
//! ```
//! A scaled field's column carries its decimals as metadata, so that the exact aggregates can
//! recover the stored integer from the double.

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use std::collections::HashMap;
use std::sync::Arc;
use warpline_storage::model::{FieldType, TableSchema};

/// The metadata key under which a scaled column states its decimals.
pub const DECIMALS: &str = "warpline.decimals";

/// The schema that SQL sees.
pub fn sql_schema(table: &TableSchema) -> SchemaRef {
    let columns: Vec<usize> = (0..table.column_names().count()).collect();
    sql_columns(table, &columns)
}

/// Some columns of it, by their numbers.
pub(crate) fn sql_columns(table: &TableSchema, columns: &[usize]) -> SchemaRef {
    let stored = table.arrow();
    let tags = stored.fields().len() - table.fields.len();
    let fields = columns.iter().map(|number| match number.checked_sub(tags) {
        None => Arc::clone(&stored.fields()[*number]),
        Some(field) => Arc::new(sql_field(&table.fields[field])),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn sql_field(field: &warpline_storage::model::Field) -> Field {
    let column = |data_type| Field::new(&*field.name, data_type, true);
    match field.field_type {
        FieldType::Int8 | FieldType::Int16 | FieldType::Int32 | FieldType::Int64 => {
            column(DataType::Int64)
        }
        FieldType::Float64 => column(DataType::Float64),
        FieldType::Decimal { decimals, .. } => column(DataType::Float64)
            .with_metadata(HashMap::from([(DECIMALS.to_owned(), decimals.to_string())])),
    }
}

/// The decimals of a scaled column, `None` for any other.
pub(crate) fn decimals(field: &Field) -> Option<u8> {
    field.metadata().get(DECIMALS)?.parse().ok()
}

/// A type as clients are told it: tags are texts, in arrays too.
pub(crate) fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        DataType::Utf8View => DataType::Utf8,
        DataType::List(item) => {
            let values = plain(item.data_type());
            DataType::List(Arc::new(Field::clone(item).with_data_type(values)))
        }
        other => other.clone(),
    }
}

/// Stored columns as SQL sees them; `schema` has the same columns in the same order.
pub(crate) fn to_sql(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| {
        if column.data_type() == field.data_type() {
            Ok(Arc::clone(column))
        } else {
            cast(column, field.data_type())
        }
    });
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns.collect::<Result<_, _>>()?,
        &options,
    )
}
