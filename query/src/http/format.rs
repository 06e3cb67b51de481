//! Rows as bytes of a body.

use crate::error::{QueryError, QueryErrorKind};
use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::writer::{EncoderOptions, make_encoder};
use axum::body::Bytes;
use serde_json::json;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Csv,
    Arrow,
}

impl Format {
    const ALL: [Self; 3] = [Self::Json, Self::Csv, Self::Arrow];

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// The first format the client lists that there is; JSON where it names none in particular.
    pub(super) fn accepted(accept: &str) -> Result<Self, QueryError> {
        let asked = accept.split(',').map(|entry| entry.split(';').next().unwrap_or("").trim());
        for kind in asked {
            if matches!(kind, "" | "*/*" | "application/*") {
                return Ok(Self::Json);
            }
            let named = |format: &&Self| format.content_type().split(';').next() == Some(kind);
            if let Some(format) = Self::ALL.iter().find(named) {
                return Ok(*format);
            }
        }
        let text = format!(
            "cannot answer as {accept:?}: accept application/json, text/csv or \
             application/vnd.apache.arrow.stream"
        );
        Err(QueryError::new(QueryErrorKind::Invalid, text))
    }
}

/// Writes one answer. Each call gives the bytes that follow those of the call before.
pub(super) enum Writer {
    Json { schema: SchemaRef, rows: usize },
    Csv { schema: SchemaRef },
    Arrow { writer: Box<StreamWriter<Vec<u8>>> },
}

impl Writer {
    pub(super) fn new(format: Format, schema: &SchemaRef) -> Result<Self, QueryError> {
        let schema = SchemaRef::clone(schema);
        Ok(match format {
            Format::Json => Self::Json { schema, rows: 0 },
            Format::Csv => Self::Csv { schema },
            Format::Arrow => {
                let writer = StreamWriter::try_new(Vec::new(), &schema);
                Self::Arrow { writer: Box::new(writer.map_err(|error| failed(&error))?) }
            }
        })
    }

    pub(super) fn head(&mut self) -> Result<Bytes, ArrowError> {
        match self {
            Self::Json { schema, .. } => {
                let columns = schema.fields().iter().map(
                    |field| json!({ "name": field.name(), "type": type_name(field.data_type()) }),
                );
                let columns: serde_json::Value = columns.collect();
                Ok(format!("{{\"columns\":{columns},\"rows\":[").into())
            }
            Self::Csv { schema } => csv(&RecordBatch::new_empty(SchemaRef::clone(schema)), true),
            Self::Arrow { writer } => Ok(std::mem::take(writer.get_mut()).into()),
        }
    }

    pub(super) fn rows(&mut self, batch: &RecordBatch) -> Result<Bytes, ArrowError> {
        match self {
            Self::Json { rows, .. } => {
                let mut out = Vec::new();
                json_rows(batch, *rows == 0, &mut out)?;
                *rows += batch.num_rows();
                Ok(out.into())
            }
            Self::Csv { .. } => csv(batch, false),
            Self::Arrow { writer } => {
                writer.write(batch)?;
                Ok(std::mem::take(writer.get_mut()).into())
            }
        }
    }

    pub(super) fn tail(&mut self) -> Result<Bytes, ArrowError> {
        match self {
            Self::Json { .. } => Ok(Bytes::from_static(b"]}\n")),
            Self::Csv { .. } => Ok(Bytes::new()),
            Self::Arrow { writer } => {
                writer.finish()?;
                Ok(std::mem::take(writer.get_mut()).into())
            }
        }
    }

    /// The end of an answer that failed on the way: told where the format has a place for it,
    /// else an error that breaks the body off.
    pub(super) fn broken(&mut self, error: QueryError) -> Result<Bytes, ArrowError> {
        match self {
            Self::Json { .. } => {
                let text = serde_json::Value::from(error.to_string());
                let code = error.sqlstate();
                Ok(format!("],\"error\":{text},\"code\":\"{code}\"}}\n").into())
            }
            Self::Csv { .. } | Self::Arrow { .. } => {
                Err(ArrowError::from_external_error(error.into()))
            }
        }
    }
}

fn failed(error: &ArrowError) -> QueryError {
    QueryError::new(QueryErrorKind::Internal, format!("cannot write the answer: {error}"))
}

/// Rows as arrays of values, comma-separated; doubles that JSON lacks (NaN, infinities) are null.
fn json_rows(batch: &RecordBatch, first: bool, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let options = EncoderOptions::default();
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    let mut encoders = columns
        .map(|(field, column)| make_encoder(field, column, &options))
        .collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        out.extend_from_slice(if first && row == 0 { b"\n[" } else { b",\n[" });
        for (index, encoder) in encoders.iter_mut().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            if encoder.is_null(row) {
                out.extend_from_slice(b"null");
            } else {
                encoder.encode(row, out);
            }
        }
        out.push(b']');
    }
    Ok(())
}

fn csv(batch: &RecordBatch, header: bool) -> Result<Bytes, ArrowError> {
    let mut out = Vec::new();
    WriterBuilder::new().with_header(header).build(&mut out).write(batch)?;
    Ok(out.into())
}

/// A type by its PostgreSQL name.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Dictionary(_, values) => return type_name(values),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint",
        DataType::Int32 | DataType::UInt16 => "integer",
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => "bigint",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Timestamp(_, Some(_)) => "timestamptz",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        DataType::Decimal128(..) | DataType::Decimal256(..) => "numeric",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea",
        DataType::List(item) | DataType::LargeList(item) => {
            return format!("{}[]", type_name(item.data_type()));
        }
        other => return other.to_string(),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::Format;

    #[test]
    fn the_first_known_format_is_taken() {
        let accepted = |accept: &str| Format::accepted(accept).ok();
        assert_eq!(accepted(""), Some(Format::Json));
        assert_eq!(accepted("*/*"), Some(Format::Json));
        assert_eq!(accepted("text/html, text/csv;q=0.9, */*"), Some(Format::Csv));
        assert_eq!(accepted("application/vnd.apache.arrow.stream"), Some(Format::Arrow));
        assert_eq!(accepted("text/html"), None);
    }
}
