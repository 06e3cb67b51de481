//! Answers and errors as messages of the protocol.

use super::connection::Connection;
use super::times::in_zone;
use crate::answer::Answer;
use crate::error::{QueryError, QueryErrorKind};
use crate::settings::{SessionSettings, Shown};
use crate::types::to_sql;
use arrow::array::timezone::Tz;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion_postgres::arrow_pg::datatypes::{
    PG_OID_ALIAS_KEY, arrow_schema_to_pg_fields, encode_recordbatch, into_pg_type,
};
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::{FieldFormat, FieldInfo, QueryResponse, Response};
use datafusion_postgres::pgwire::api::{ClientInfo, ConnectionHandle, Type};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::data::DataRow;
use datafusion_postgres::pgwire::types::format::FormatOptions;
use futures::channel::oneshot;
use futures::{Stream, StreamExt, stream};
use std::collections::HashMap;
use std::sync::Arc;

/// How the rows of one answer are written.
pub(super) struct Writing<'a> {
    format: &'a Format,
    settings: SessionSettings,
    /// What a cancel of the connection's statement comes to.
    handle: Option<Arc<ConnectionHandle>>,
}

impl<'a> Writing<'a> {
    pub(super) fn of(client: &(impl ClientInfo + ?Sized), format: &'a Format) -> Self {
        let handle = client.session_extensions().get::<Arc<ConnectionHandle>>();
        let settings = Connection::of(client).settings();
        Self { format, settings, handle: handle.map(|handle| Arc::clone(&*handle)) }
    }

    pub(super) fn answer(self, answer: Answer) -> PgWireResult<Response> {
        let schema = Arc::clone(answer.schema());
        self.rows(&schema, answer, "SELECT")
    }

    /// Batches as a stream of rows, each encoded when the client takes it.
    pub(super) fn rows(
        self,
        schema: &SchemaRef,
        batches: impl Stream<Item = Result<RecordBatch, QueryError>> + Send + 'static,
        tag: &str,
    ) -> PgWireResult<Response> {
        let columns = Columns::of(schema, self.format, &self.settings)?;
        let fields = Arc::clone(&columns.fields);
        let rows = until_cancelled(batches, self.handle).flat_map(move |batch| {
            let rows =
                batch.map_err(|error| refusal(&error)).and_then(|batch| columns.rows(&batch));
            stream::iter(rows.unwrap_or_else(|error| Box::new(std::iter::once(Err(error)))))
        });
        let mut response = QueryResponse::new(fields, rows);
        response.set_command_tag(tag);
        Ok(Response::Query(response))
    }
}

/// The columns of an answer on the wire.
pub(super) struct Columns {
    pub(super) fields: Arc<Vec<FieldInfo>>,
    /// In the types that they are sent as.
    schema: SchemaRef,
    /// Which are times in text, and of which zone, where it is not UTC.
    times: Option<(Tz, Vec<bool>)>,
}

pub(super) type Rows = Box<dyn Iterator<Item = PgWireResult<DataRow>> + Send + Sync>;

impl Columns {
    pub(super) fn of(
        schema: &SchemaRef,
        format: &Format,
        settings: &SessionSettings,
    ) -> PgWireResult<Self> {
        if let Format::Individual(codes) = format
            && codes.len() != schema.fields().len()
        {
            let (codes, columns) = (codes.len(), schema.fields().len());
            let text = format!("there are {codes} formats for {columns} columns");
            return Err(refusal(&QueryError::new(QueryErrorKind::Protocol, text)));
        }
        let schema = shown(schema, settings);
        let mut options = FormatOptions::default();
        let digits = settings.extra_float_digits();
        options.extra_float_digits = digits.unwrap_or(options.extra_float_digits);
        let fields = arrow_schema_to_pg_fields(&schema, format, Some(Arc::new(options)))?;
        let times =
            settings.time_zone().map(|zone| (zone, fields.iter().map(is_time_text).collect()));
        Ok(Self { fields: Arc::new(fields), schema, times })
    }

    pub(super) fn rows(&self, batch: &RecordBatch) -> PgWireResult<Rows> {
        let batch = to_sql(batch, &self.schema).and_then(|batch| self.with_times(batch));
        let batch = batch.map_err(|error| refusal(&error.into()))?;
        Ok(encode_recordbatch(Arc::clone(&self.fields), batch))
    }

    fn with_times(&self, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
        let Some((zone, are_times)) = &self.times else { return Ok(batch) };
        let columns = batch.columns().iter().zip(are_times).map(|(column, is_time)| {
            if *is_time { in_zone(column, *zone) } else { Ok(Arc::clone(column)) }
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let fields = batch.schema_ref().fields().iter().zip(&columns);
        let fields = fields
            .map(|(field, column)| Field::clone(field).with_data_type(column.data_type().clone()));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(schema, columns, &options)
    }
}

fn is_time_text(field: &FieldInfo) -> bool {
    field.format() == FieldFormat::Text
        && [Type::TIMESTAMPTZ, Type::TIMESTAMPTZ_ARRAY].contains(field.datatype())
}

/// The types that columns are sent as.
pub(super) fn sent_types(schema: &SchemaRef) -> PgWireResult<Vec<Type>> {
    let shown = shown(schema, &SessionSettings::default());
    shown.fields().iter().map(|field| into_pg_type(field.data_type())).collect()
}

/// Columns as they are sent: times with a zone in the connection's own, which are the same moments,
/// and lists of plain text.
fn shown(schema: &SchemaRef, settings: &SessionSettings) -> SchemaRef {
    let zone = settings.time_zone_name();
    let fields = schema.fields().iter().map(|field| shown_field(field, zone));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn shown_field(field: &FieldRef, zone: Option<&str>) -> FieldRef {
    let field = &as_it_is(field);
    let data_type = match (field.data_type(), zone) {
        (DataType::Timestamp(unit, Some(_)), Some(zone)) => {
            DataType::Timestamp(*unit, Some(zone.into()))
        }
        (DataType::List(item), _) => {
            let item = shown_field(item, zone);
            DataType::List(match item.data_type() {
                DataType::Dictionary(_, text) => {
                    Arc::new(Field::clone(&item).with_data_type((**text).clone()))
                }
                _ => item,
            })
        }
        _ => return Arc::clone(field),
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

/// What is cast from the number of an object is no such number any more.
fn as_it_is(field: &FieldRef) -> FieldRef {
    let is_number = field.data_type() == &DataType::Int32;
    if is_number || !field.metadata().contains_key(PG_OID_ALIAS_KEY) {
        return Arc::clone(field);
    }
    Arc::new(Field::clone(field).with_metadata(HashMap::new()))
}

/// The batches, until the client asks for the statement's end while they are sent.
fn until_cancelled(
    batches: impl Stream<Item = Result<RecordBatch, QueryError>> + Send + 'static,
    handle: Option<Arc<ConnectionHandle>>,
) -> impl Stream<Item = Result<RecordBatch, QueryError>> + Send {
    struct Sending<S> {
        batches: S,
        handle: Option<Arc<ConnectionHandle>>,
        cancelled: Option<oneshot::Receiver<()>>,
    }
    let sending = Sending { batches: Box::pin(batches), handle, cancelled: None };
    stream::unfold(Some(sending), async |sending| {
        let mut sending = sending?;
        let next = loop {
            if sending.cancelled.is_none()
                && let Some(handle) = &sending.handle
            {
                sending.cancelled = Some(handle.start_query().await);
            }
            let Some(cancelled) = &mut sending.cancelled else {
                break sending.batches.next().await;
            };
            tokio::select! {
                biased;
                ended = cancelled => {
                    sending.cancelled = None;
                    // Otherwise another statement of the connection began meanwhile.
                    if ended.is_ok() {
                        return Some((Err(cancelled_by_client()), None));
                    }
                }
                next = sending.batches.next() => break next,
            }
        };
        Some((next?, Some(sending)))
    })
}

pub(super) fn cancelled_by_client() -> QueryError {
    let text = "canceling statement due to user request";
    QueryError::new(QueryErrorKind::Cancelled, text)
}

/// What is told of columns before their rows come; their zone changes nothing of it.
pub(super) fn row_fields(schema: &SchemaRef, format: &Format) -> PgWireResult<Vec<FieldInfo>> {
    let columns = Columns::of(schema, format, &SessionSettings::default())?;
    Ok(columns.fields.to_vec())
}

/// The columns of `SHOW`: one parameter, or all.
pub(super) fn show_schema(name: Option<&Shown>) -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(match name {
        Some(shown) => vec![text(&shown.name)],
        None => vec![text("name"), text("setting"), text("description")],
    }))
}

pub(super) fn show_batch(schema: &SchemaRef, shown: &[Shown]) -> Result<RecordBatch, ArrowError> {
    let column = |value: fn(&Shown) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(shown.iter().map(value)))
    };
    let (names, values) = (column(|one| &one.name), column(|one| &one.value));
    let columns = match schema.fields().len() {
        1 => vec![values],
        _ => vec![names, values, column(|_| "")],
    };
    RecordBatch::try_new(Arc::clone(schema), columns)
}

pub(super) fn refusal(error: &QueryError) -> PgWireError {
    told("ERROR", error.sqlstate(), error.to_string())
}

/// An error that ends the connection.
pub(super) fn fatal(sqlstate: &str, text: impl Into<String>) -> PgWireError {
    told("FATAL", sqlstate, text.into())
}

fn told(severity: &str, sqlstate: &str, text: String) -> PgWireError {
    let told = ErrorInfo::new(severity.to_owned(), sqlstate.to_owned(), text);
    PgWireError::UserError(Box::new(told))
}
