//! What each call of the protocol is answered with.

use super::handle::{Handle, Seal};
use super::{FlightWrites, listing};
use crate::answer::{Answer, Planning};
use crate::catalog::{CATALOG, SCHEMA};
use crate::engine::Engine;
use crate::error::{QueryError, QueryErrorKind};
use crate::parameters::{fitted, heed, typed};
use crate::settings::SessionSettings;
use crate::statement::{columns, parse_one};
use crate::types::{plain, to_sql};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::root_as_message;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::metadata::GetDbSchemasBuilder;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, Any, CommandGetCatalogs, CommandGetCrossReference,
    CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys, CommandGetPrimaryKeys,
    CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo,
    CommandPreparedStatementQuery, CommandStatementIngest, CommandStatementQuery,
    DoPutPreparedStatementResult, ProstMessageExt, SqlInfo, TableDefinitionOptions,
    TableExistsOption, TableNotExistOption, TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest,
    HandshakeResponse, IpcMessage, SchemaAsIpc, Ticket,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use datafusion::common::ParamValues;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use prost::Message;
use std::fmt;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

/// Parameters of one statement, as they are sent.
const MAX_PARAMETER_BYTES: usize = 1 << 20;

/// Answers from an engine; cheap to clone.
#[derive(Clone)]
pub struct FlightSql {
    engine: Engine,
    writes: Arc<dyn FlightWrites>,
    seal: Arc<Seal>,
}

impl fmt::Debug for FlightSql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightSql").field("engine", &self.engine).finish_non_exhaustive()
    }
}

type Answers<T> = BoxStream<'static, Result<T, Status>>;
type Got = Result<Response<Answers<FlightData>>, Status>;
type Info = Result<Response<FlightInfo>, Status>;

impl FlightSql {
    pub(super) fn new(engine: Engine, writes: Arc<dyn FlightWrites>) -> Self {
        Self { engine, writes, seal: Arc::new(Seal::new()) }
    }

    /// The columns of a statement's answer, and the types of its parameters, some of which may be
    /// bound.
    async fn prepared(
        &self,
        sql: &str,
        bound: Option<&RecordBatch>,
    ) -> Result<(SchemaRef, Vec<DataType>), QueryError> {
        let told = told(bound);
        let mut parsed = parse_one(self.engine.reader(), sql)?;
        heed(&mut parsed, &told);
        let context = self.engine.statement(&SessionSettings::default());
        let plan = self
            .engine
            .on_query_threads(async move { Ok(typed(context.logical(parsed).await?, &told)?) });
        let (plan, types) = plan.await?;
        Ok((sent(&columns(&plan)), types))
    }

    async fn run(&self, handle: Handle) -> Result<Answer, QueryError> {
        if handle.parameters.is_none() {
            return self.engine.query(&handle.sql).await;
        }
        let told = told(handle.parameters.as_ref());
        let mut parsed = parse_one(self.engine.reader(), &handle.sql)?;
        heed(&mut parsed, &told);
        let values = handle.values()?;
        let context = self.engine.statement(&SessionSettings::default());
        let plan: Planning = Box::pin(async move {
            let plan = context.logical(parsed).await?;
            let (plan, types) = typed(plan, &told)?;
            if types.len() != values.len() {
                let (wanted, given) = (types.len(), values.len());
                let text = format!("the statement has {wanted} parameters, and {given} are bound");
                return Err(QueryError::new(QueryErrorKind::Invalid, text));
            }
            let values = ParamValues::from(fitted(values, &types)?);
            context.physical_with(plan, &values).await
        });
        self.engine.execute(plan, self.engine.deadline(None)).await
    }

    async fn rows(&self, handle: Handle) -> Got {
        let answer = self.run(handle).await?;
        let schema = sent(answer.schema());
        let shown = Arc::clone(&schema);
        let batches = answer.map(move |batch| Ok(to_sql(&batch?, &shown)?));
        let failed = |error: QueryError| FlightError::Tonic(Box::new(error.into()));
        Ok(stream_of(schema, batches.map_err(failed)))
    }

    /// Hands what a client writes on, as a stream into that table.
    async fn write(
        &self,
        table: &str,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let (_, sender, batches) = request.into_parts();
        let mut descriptor = Some(FlightDescriptor::new_path(vec![table.to_owned()]));
        let batches = batches.map_ok(move |mut message| {
            message.flight_descriptor = descriptor.take();
            message
        });
        let mut answers = self.writes.put(&sender, batches.boxed())?;
        let mut rows = 0;
        while let Some(answer) = answers.try_next().await? {
            let told: serde_json::Value =
                serde_json::from_slice(&answer.app_metadata).unwrap_or_default();
            rows += told["rows"].as_i64().unwrap_or_default();
        }
        Ok(rows)
    }
}

/// The types of what is bound.
fn told(bound: Option<&RecordBatch>) -> Vec<Option<DataType>> {
    let fields = bound.map(RecordBatch::schema);
    let types =
        fields.iter().flat_map(|schema| schema.fields()).map(|field| plain(field.data_type()));
    types.map(|told| (!told.is_null()).then_some(told)).collect()
}

/// What a client does next is told by the code; what happened, by the text.
impl From<QueryError> for Status {
    fn from(error: QueryError) -> Self {
        let text = error.to_string();
        match error.kind() {
            QueryErrorKind::UnknownTable => Self::not_found(text),
            QueryErrorKind::ReadOnly => Self::permission_denied(text),
            QueryErrorKind::OutOfRange | QueryErrorKind::TooLarge => Self::out_of_range(text),
            QueryErrorKind::Cancelled => Self::cancelled(text),
            QueryErrorKind::Timeout => Self::deadline_exceeded(text),
            QueryErrorKind::Resources => Self::resource_exhausted(text),
            QueryErrorKind::Internal => Self::internal(text),
            _ => Self::invalid_argument(text),
        }
    }
}

/// Columns as they are sent: tags as plain text, and any of them possibly NULL. What a statement is
/// planned as before its parameters are bound may tell more or less than what it is run as.
pub(super) fn sent(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields.map(|field| Field::new(field.name(), plain(field.data_type()), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn stream_of(
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
) -> Response<Answers<FlightData>> {
    let encoder = FlightDataEncoderBuilder::new().with_schema(schema).build(batches);
    Response::new(encoder.map_err(Status::from).boxed())
}

fn one(batch: RecordBatch) -> Response<Answers<FlightData>> {
    stream_of(batch.schema(), stream::iter([Ok(batch)]))
}

/// An answer that is fetched by `ticket`.
fn info(ticket: &impl ProstMessageExt, schema: &Schema, asked: FlightDescriptor) -> Info {
    let ticket = Ticket::new(ticket.as_any().encode_to_vec());
    let info = FlightInfo::new().try_with_schema(schema);
    let info = info.map_err(|error| Status::internal(error.to_string()))?;
    let endpoint = FlightEndpoint::new().with_ticket(ticket);
    Ok(Response::new(info.with_endpoint(endpoint).with_descriptor(asked)))
}

fn ipc(schema: &Schema) -> Result<Bytes, Status> {
    let options = IpcWriteOptions::default();
    let message = IpcMessage::try_from(SchemaAsIpc::new(schema, &options));
    Ok(message.map_err(|error| Status::internal(error.to_string()))?.0)
}

/// What the token's holder sends it as from now on, where it came as a password.
fn bearer(request: &tonic::metadata::MetadataMap) -> Option<String> {
    let (scheme, rest) = request.get("authorization")?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    Some(format!("Bearer {}", decoded.split_once(':')?.1))
}

#[tonic::async_trait]
impl FlightSqlService for FlightSql {
    type FlightService = Self;

    /// Clients that have a password send it once and go on with what they are answered.
    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Answers<HandshakeResponse>>, Status> {
        let bearer = bearer(request.metadata());
        let mut response = Response::new(stream::empty().boxed());
        if let Some(bearer) = bearer {
            let value = bearer.parse().map_err(|_| Status::invalid_argument("no plain text"))?;
            response.metadata_mut().insert("authorization", value);
        }
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        asked: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Info {
        let (schema, parameters) = self.prepared(&asked.query, None).await?;
        if !parameters.is_empty() {
            let text = "a statement with parameters is prepared first";
            return Err(Status::invalid_argument(text));
        }
        let handle = self.seal.close(&Handle { sql: asked.query, parameters: None })?;
        let ticket = TicketStatementQuery { statement_handle: handle };
        info(&ticket, &schema, request.into_inner())
    }

    async fn get_flight_info_prepared_statement(
        &self,
        asked: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Info {
        let handle = self.seal.open(&asked.prepared_statement_handle)?;
        let (schema, _) = self.prepared(&handle.sql, handle.parameters.as_ref()).await?;
        info(&asked, &schema, request.into_inner())
    }

    async fn get_flight_info_catalogs(
        &self,
        asked: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info(&asked, &asked.into_builder().schema(), request.into_inner())
    }

    async fn get_flight_info_schemas(
        &self,
        asked: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Info {
        let schema = GetDbSchemasBuilder::from(asked.clone()).schema();
        info(&asked, &schema, request.into_inner())
    }

    async fn get_flight_info_tables(
        &self,
        asked: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Info {
        let schema = asked.clone().into_builder().schema();
        info(&asked, &schema, request.into_inner())
    }

    async fn get_flight_info_table_types(
        &self,
        asked: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info(&asked, &asked.into_builder().schema(), request.into_inner())
    }

    async fn get_flight_info_sql_info(
        &self,
        asked: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Info {
        let schema = asked.clone().into_builder(&listing::SELF).schema();
        info(&asked, &schema, request.into_inner())
    }

    async fn get_flight_info_primary_keys(
        &self,
        asked: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info(&asked, &listing::primary_key_schema(), request.into_inner())
    }

    async fn get_flight_info_exported_keys(
        &self,
        asked: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info(&asked, &listing::no_foreign_keys().schema(), request.into_inner())
    }

    async fn get_flight_info_imported_keys(
        &self,
        asked: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info(&asked, &listing::no_foreign_keys().schema(), request.into_inner())
    }

    async fn get_flight_info_cross_reference(
        &self,
        asked: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info(&asked, &listing::no_foreign_keys().schema(), request.into_inner())
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        asked: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info(&asked, &asked.into_builder(&listing::TYPES).schema(), request.into_inner())
    }

    async fn do_get_statement(&self, asked: TicketStatementQuery, _: Request<Ticket>) -> Got {
        self.rows(self.seal.open(&asked.statement_handle)?).await
    }

    async fn do_get_prepared_statement(
        &self,
        asked: CommandPreparedStatementQuery,
        _: Request<Ticket>,
    ) -> Got {
        self.rows(self.seal.open(&asked.prepared_statement_handle)?).await
    }

    async fn do_get_catalogs(&self, asked: CommandGetCatalogs, _: Request<Ticket>) -> Got {
        Ok(one(listing::catalogs(asked)?))
    }

    async fn do_get_schemas(&self, asked: CommandGetDbSchemas, _: Request<Ticket>) -> Got {
        Ok(one(listing::schemas(&self.engine, asked)?))
    }

    async fn do_get_tables(&self, asked: CommandGetTables, _: Request<Ticket>) -> Got {
        Ok(one(listing::tables(&self.engine, asked).await?))
    }

    async fn do_get_table_types(&self, asked: CommandGetTableTypes, _: Request<Ticket>) -> Got {
        let mut builder = asked.into_builder();
        builder.append(listing::TABLE_TYPE);
        Ok(one(builder.build()?))
    }

    async fn do_get_sql_info(&self, asked: CommandGetSqlInfo, _: Request<Ticket>) -> Got {
        Ok(one(asked.into_builder(&listing::SELF).build()?))
    }

    async fn do_get_primary_keys(&self, asked: CommandGetPrimaryKeys, _: Request<Ticket>) -> Got {
        Ok(one(listing::primary_keys(&self.engine, &asked)))
    }

    async fn do_get_exported_keys(&self, _: CommandGetExportedKeys, _: Request<Ticket>) -> Got {
        Ok(one(listing::no_foreign_keys()))
    }

    async fn do_get_imported_keys(&self, _: CommandGetImportedKeys, _: Request<Ticket>) -> Got {
        Ok(one(listing::no_foreign_keys()))
    }

    async fn do_get_cross_reference(&self, _: CommandGetCrossReference, _: Request<Ticket>) -> Got {
        Ok(one(listing::no_foreign_keys()))
    }

    async fn do_get_xdbc_type_info(
        &self,
        asked: CommandGetXdbcTypeInfo,
        _: Request<Ticket>,
    ) -> Got {
        Ok(one(asked.into_builder(&listing::TYPES).build()?))
    }

    /// What is no command of SQL is a plain stream into a table.
    async fn do_put_fallback(
        &self,
        request: Request<PeekableFlightDataStream>,
        command: Any,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        if !command.type_url.is_empty() {
            let text =
                format!("{} is not served: rows come by DoPut or bulk ingest", command.type_url);
            return Err(Status::unimplemented(text));
        }
        let (_, sender, batches) = request.into_parts();
        Ok(Response::new(self.writes.put(&sender, batches.boxed())?))
    }

    async fn do_put_error_callback(
        &self,
        request: Request<PeekableFlightDataStream>,
        _: arrow_flight::sql::server::DoPutError,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        let (_, sender, batches) = request.into_parts();
        Ok(Response::new(self.writes.put(&sender, batches.boxed())?))
    }

    async fn do_put_statement_ingest(
        &self,
        asked: CommandStatementIngest,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let exists = self.engine.key(&asked.table).is_some();
        check_ingest(&asked, exists)?;
        self.write(&asked.table, request).await
    }

    async fn do_put_prepared_statement_query(
        &self,
        asked: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let mut handle = self.seal.open(&asked.prepared_statement_handle)?;
        let messages = checked(request.into_inner());
        // Arrow's decoder panics at what is none of Arrow's: a task of its own ends with it.
        let bound = tokio::spawn(parameters(messages)).await;
        handle.parameters =
            bound.map_err(|_| Status::invalid_argument("no batch of Arrow's"))??;
        let handle = self.seal.close(&handle)?;
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) })
    }

    async fn do_action_create_prepared_statement(
        &self,
        asked: ActionCreatePreparedStatementRequest,
        _: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let (schema, types) = self.prepared(&asked.query, None).await?;
        let parameters =
            (1..).zip(types).map(|(number, known)| Field::new(format!("${number}"), known, true));
        let parameters = Schema::new(parameters.collect::<Vec<_>>());
        let handle = self.seal.close(&Handle { sql: asked.query, parameters: None })?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle,
            dataset_schema: ipc(&schema)?,
            parameter_schema: ipc(&parameters)?,
        })
    }

    /// There is nothing to close.
    async fn do_action_close_prepared_statement(
        &self,
        _: ActionClosePreparedStatementRequest,
        _: Request<Action>,
    ) -> Result<(), Status> {
        Ok(())
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}

/// Messages that may be decoded: of a few bytes, and not compressed, since their true length would
/// be what they say.
fn checked(
    messages: impl Stream<Item = Result<FlightData, Status>> + Send + 'static,
) -> impl Stream<Item = Result<FlightData, FlightError>> + Send + 'static {
    let mut bytes = 0;
    messages.map(move |message| {
        let message = message?;
        bytes += message.data_header.len() + message.data_body.len();
        if bytes > MAX_PARAMETER_BYTES {
            let text = format!("parameters are at most {MAX_PARAMETER_BYTES} bytes");
            return Err(Status::invalid_argument(text).into());
        }
        let header = root_as_message(&message.data_header);
        let header = header.map_err(|_| Status::invalid_argument("no message of Arrow's"))?;
        let dictionary = header.header_as_dictionary_batch().and_then(|batch| batch.data());
        let batches = header.header_as_record_batch().into_iter().chain(dictionary);
        if batches.into_iter().any(|batch| batch.compression().is_some()) {
            return Err(Status::invalid_argument("parameters are not compressed").into());
        }
        Ok(message)
    })
}

/// The one row that a client binds.
async fn parameters(
    messages: impl Stream<Item = Result<FlightData, FlightError>> + Send + 'static,
) -> Result<Option<RecordBatch>, Status> {
    let mut batches = FlightRecordBatchStream::new_from_flight_data(messages);
    let mut bound = None;
    while let Some(batch) = batches.try_next().await? {
        match (batch.num_rows(), &bound) {
            (0, _) => {}
            (1, None) => bound = Some(batch),
            _ => {
                let text = "a query is run once for one row of parameters: bind one row";
                return Err(Status::invalid_argument(text));
            }
        }
    }
    Ok(bound)
}

/// Tables appear with their first rows and are never replaced.
fn check_ingest(asked: &CommandStatementIngest, exists: bool) -> Result<(), Status> {
    let table = &asked.table;
    let options = asked.table_definition_options.unwrap_or(TableDefinitionOptions {
        if_not_exist: TableNotExistOption::Create as i32,
        if_exists: TableExistsOption::Append as i32,
    });
    let ours = |given: &Option<String>, own| given.as_deref().is_none_or(|name| name == own);
    if !ours(&asked.catalog, CATALOG) || !ours(&asked.schema, SCHEMA) {
        let text = format!("rows go into tables of {CATALOG}.{SCHEMA} alone");
        return Err(Status::invalid_argument(text));
    }
    if asked.temporary || asked.transaction_id.is_some() {
        return Err(Status::unimplemented("there are no temporary tables and no transactions"));
    }
    if options.if_exists == TableExistsOption::Replace as i32 {
        return Err(Status::unimplemented("tables are not replaced: append, or use another name"));
    }
    if exists && options.if_exists == TableExistsOption::Fail as i32 {
        return Err(Status::already_exists(format!("table {table:?} exists: append to it")));
    }
    if !exists && options.if_not_exist == TableNotExistOption::Fail as i32 {
        return Err(Status::not_found(format!("table {table:?} does not exist: create it")));
    }
    Ok(())
}
