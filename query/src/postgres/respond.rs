//! Answers and errors as messages of the protocol.

use crate::answer::Answer;
use crate::error::QueryError;
use arrow::datatypes::Schema;
use datafusion_postgres::arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch};
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::{FieldInfo, QueryResponse, Response};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::data::DataRow;
use datafusion_postgres::pgwire::types::format::FormatOptions;
use futures::{StreamExt, stream};
use std::sync::Arc;

/// The answer as a stream of rows, each batch encoded when the client takes it.
pub(super) fn rows(
    answer: Answer,
    format: &Format,
    options: &Arc<FormatOptions>,
) -> PgWireResult<Response> {
    let fields = Arc::new(row_fields(answer.schema(), format, Some(options))?);
    let row_fields = Arc::clone(&fields);
    let rows = answer.flat_map(move |batch| {
        let rows: Box<dyn Iterator<Item = PgWireResult<DataRow>> + Send + Sync> = match batch {
            Ok(batch) => encode_recordbatch(Arc::clone(&row_fields), batch),
            Err(error) => Box::new(std::iter::once(Err(refusal(&error)))),
        };
        stream::iter(rows)
    });
    Ok(Response::Query(QueryResponse::new(fields, rows)))
}

pub(super) fn row_fields(
    schema: &Schema,
    format: &Format,
    options: Option<&Arc<FormatOptions>>,
) -> PgWireResult<Vec<FieldInfo>> {
    arrow_schema_to_pg_fields(schema, format, options.map(Arc::clone))
}

pub(super) fn refusal(error: &QueryError) -> PgWireError {
    let (severity, code) = ("ERROR".to_owned(), error.sqlstate().to_owned());
    PgWireError::UserError(Box::new(ErrorInfo::new(severity, code, error.to_string())))
}
