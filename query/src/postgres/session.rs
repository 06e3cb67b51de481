//! What a connection asks, answered.

use super::command::Command;
use super::connection::Connection;
use super::copy::{Copy, copy_out};
use super::cursor::Cursor;
use super::parameter;
use super::respond::{
    Writing, cancelled_by_client, refusal, row_fields, sent_types, show_batch, show_schema,
};
use crate::answer::{Answer, Planning};
use crate::engine::Engine;
use crate::error::{QueryError, QueryErrorKind};
use crate::parameters::{heed, typed};
use crate::settings::{SessionSettings, Shown};
use crate::statement::{columns, parse};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast;
use datafusion_postgres::arrow_pg::datatypes::into_pg_type;
use datafusion_postgres::pgwire::api::portal::{Format, Portal, PortalExecutionState};
use datafusion_postgres::pgwire::api::query::{
    ExtendedQueryHandler, SimpleQueryHandler, send_describe_response, send_execution_response,
    send_query_response, send_ready_for_query,
};
use datafusion_postgres::pgwire::api::results::{
    DescribePortalResponse, FieldInfo, QueryResponse, Response, Tag,
};
use datafusion_postgres::pgwire::api::stmt::QueryParser;
use datafusion_postgres::pgwire::api::store::{Entry, PortalStore};
use datafusion_postgres::pgwire::api::{
    ClientInfo, ClientPortalStore, ConnectionHandle, DEFAULT_NAME, PgWireConnectionState, Type,
};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::extendedquery::{
    Bind, BindComplete, Describe, Execute, PortalSuspended, Sync as PgSync, TARGET_TYPE_BYTE_PORTAL,
};
use datafusion_postgres::pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};
use datafusion_postgres::pgwire::messages::simplequery::Query;
use datafusion_postgres::pgwire::messages::startup::ParameterStatus;
use futures::future::{self, Either};
use futures::{Sink, SinkExt, StreamExt, stream};
use std::sync::Arc;

/// Answers all connections; what belongs to one lies in its [`Connection`].
pub(super) struct Session {
    engine: Engine,
    parser: Arc<Preparer>,
}

/// A statement that a client prepared: its text read, and the types that its plan had.
#[derive(Clone)]
pub(super) struct Prepared {
    statement: ast::Statement,
    /// What it is where it is about the connection.
    command: Option<Command>,
    /// Of the parameters of its query.
    pub(super) types: Vec<DataType>,
    /// Of its rows.
    schema: SchemaRef,
}

impl Session {
    pub(super) fn new(engine: Engine) -> Self {
        Self { parser: Arc::new(Preparer { engine: engine.clone() }), engine }
    }

    async fn run(&self, settings: &SessionSettings, plan: Planning) -> Result<Answer, QueryError> {
        let deadline = self.engine.deadline(settings.statement_timeout());
        self.engine.execute(plan, deadline).await
    }

    /// The plan of a statement as it stands there.
    fn planning(&self, statement: ast::Statement, settings: &SessionSettings) -> Planning {
        let context = self.engine.statement(settings);
        let sql = statement.to_string();
        Box::pin(async move { context.plan(&sql, || Ok(statement)).await })
    }

    /// The plan of a prepared statement with its parameters.
    fn planning_of(
        &self,
        portal: &Portal<Prepared>,
        statement: ast::Statement,
        settings: &SessionSettings,
    ) -> PgWireResult<Planning> {
        if portal.statement.statement.types.is_empty() {
            return Ok(self.planning(statement, settings));
        }
        let parameters = parameter::values(portal)?;
        let context = self.engine.statement(settings);
        Ok(Box::pin(async move {
            let plan = context.logical(statement).await?;
            context.physical_with(plan, &parameters).await
        }))
    }

    async fn simple<C>(
        &self,
        client: &mut C,
        statement: ast::Statement,
        command: Option<Command>,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let settings = Connection::of(client).settings();
        let format = Format::UnifiedText;
        match command {
            None => {
                let answer = self.run(&settings, self.planning(statement, &settings)).await;
                Writing::of(client, &format).answer(answer.map_err(|error| refusal(&error))?)
            }
            Some(Command::Declare { name, query, hold }) => {
                let plan = self.planning(ast::Statement::Query(query), &settings);
                self.declare(client, name, hold, &settings, plan).await
            }
            Some(Command::Copy(copy)) => {
                let plan = self.planning(ast::Statement::Query(copy.query.clone()), &settings);
                self.copy(client, &copy, &settings, plan).await
            }
            Some(command) => self.answer(client, command, &format).await,
        }
    }

    async fn declare(
        &self,
        client: &(impl ClientInfo + Sync),
        name: String,
        hold: bool,
        settings: &SessionSettings,
        plan: Planning,
    ) -> PgWireResult<Response> {
        let connection = Connection::of(client);
        if !hold && client.transaction_status() != TransactionStatus::Transaction {
            let text = "DECLARE CURSOR can only be used in transaction blocks: begin one, or \
                        declare it WITH HOLD";
            return Err(refusal(&QueryError::new(QueryErrorKind::NoTransaction, text)));
        }
        let answer = self.run(settings, plan).await.map_err(|error| refusal(&error))?;
        let opened = connection.open(name, Cursor::new(answer, hold));
        opened.map_err(|error| refusal(&error))?;
        Ok(Response::Execution(Tag::new("DECLARE CURSOR")))
    }

    async fn copy<C>(
        &self,
        client: &mut C,
        copy: &Copy,
        settings: &SessionSettings,
        plan: Planning,
    ) -> PgWireResult<Response>
    where
        C: Sink<PgWireBackendMessage> + Unpin + Send,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let answer = self.run(settings, plan).await.map_err(|error| refusal(&error))?;
        copy_out(client, answer, copy, settings).await
    }
}

/// In a transaction that has failed nothing is answered but its end.
fn check_transaction(client: &impl ClientInfo, command: Option<&Command>) -> PgWireResult<()> {
    let failed = client.transaction_status() == TransactionStatus::Error;
    if !failed || command.is_some_and(Command::ends_transaction) {
        return Ok(());
    }
    let text = "current transaction is aborted, commands ignored until end of transaction block";
    Err(refusal(&QueryError::new(QueryErrorKind::FailedTransaction, text)))
}

impl Session {
    /// Does what a command without a query says.
    async fn answer<C>(
        &self,
        client: &mut C,
        command: Command,
        format: &Format,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let connection = Connection::of(client);
        let done = |tag: &str| Ok(Response::Execution(Tag::new(tag)));
        let said = |error: QueryError| refusal(&error);
        match command {
            Command::Set { name, value, local } => {
                let shown = connection.set(&name, value.as_deref(), local).map_err(said)?;
                tell(client, [shown]).await?;
                done("SET")
            }
            Command::ResetAll => {
                tell(client, connection.reset_all()).await?;
                done("RESET")
            }
            Command::DiscardAll => {
                connection.close_all();
                connection.deallocate(None);
                tell(client, connection.reset_all()).await?;
                done("DISCARD ALL")
            }
            Command::Show(name) => show(client, name.as_deref(), format),
            Command::Begin if client.transaction_status() == TransactionStatus::Idle => {
                connection.begin_transaction();
                Ok(Response::TransactionStart(Tag::new("BEGIN")))
            }
            Command::Begin => done("BEGIN"),
            Command::Commit | Command::Rollback => {
                let kept = matches!(command, Command::Commit)
                    && client.transaction_status() != TransactionStatus::Error;
                tell(client, connection.end_transaction(kept)).await?;
                Ok(Response::TransactionEnd(Tag::new(if kept { "COMMIT" } else { "ROLLBACK" })))
            }
            Command::RollbackTo => done("ROLLBACK"),
            Command::Fetch { name, rows } => {
                let cursor = connection.cursor(&name).map_err(said)?;
                let timeout = connection.settings().statement_timeout();
                let batches = cursor.fetch(rows, self.engine.deadline(timeout)).await;
                Writing::of(client, format).rows(cursor.schema(), batches, "FETCH")
            }
            Command::Close(name) => {
                match &name {
                    Some(name) => connection.close(name).map_err(said)?,
                    None => connection.close_all(),
                }
                done("CLOSE CURSOR")
            }
            Command::Prepare(name, named) => {
                connection.prepare(name, *named).map_err(said)?;
                done("PREPARE")
            }
            Command::Nothing(tag) => done(tag),
            Command::Deallocate(_) | Command::Declare { .. } | Command::Copy(_) => {
                let text = "a statement came where none of its kind can be";
                Err(refusal(&QueryError::new(QueryErrorKind::Internal, text)))
            }
        }
    }
}

/// What is set: one parameter, or all.
fn show(client: &impl ClientInfo, name: Option<&str>, format: &Format) -> PgWireResult<Response> {
    let settings = Connection::of(client).settings();
    let said = |error: QueryError| refusal(&error);
    let shown = match name {
        Some(name) => vec![settings.show(name).map_err(said)?],
        None => settings.all(),
    };
    let schema = show_schema(shown.first().filter(|_| name.is_some()));
    let batch = show_batch(&schema, &shown).map_err(|error| said(error.into()))?;
    Writing::of(client, format).rows(&schema, stream::iter([Ok(batch)]), "SHOW")
}

/// Lets go of prepared statements.
fn deallocate(
    client: &(impl ClientInfo + ClientPortalStore<PortalStore: PortalStore>),
    name: Option<&str>,
) -> Response {
    Connection::of(client).deallocate(name);
    match name {
        Some(name) => {
            client.portal_store().rm_statement(name);
            Response::Execution(Tag::new("DEALLOCATE"))
        }
        // They go with their connection: a store has no list of them.
        None => Response::Execution(Tag::new("DEALLOCATE ALL")),
    }
}

/// Tells the client what those of its parameters are that it is told of unasked.
async fn tell<C>(client: &mut C, shown: impl IntoIterator<Item = Shown>) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let told: Vec<Shown> = shown.into_iter().filter(|shown| shown.reported).collect();
    for Shown { name, value, .. } in told {
        let status = ParameterStatus::new(name, value);
        client.feed(PgWireBackendMessage::ParameterStatus(status)).await?;
    }
    Ok(())
}

#[async_trait]
impl SimpleQueryHandler for Session {
    /// One statement after the other: each is answered before the next begins, and one that fails
    /// is the last.
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Connection::of(client).check_admitted()?;
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let statements = parse(self.engine.reader(), &query.query);
        let statements = statements.map_err(|error| refusal(&error))?;
        if statements.is_empty() {
            let empty = EmptyQueryResponse::new();
            client.feed(PgWireBackendMessage::EmptyQueryResponse(empty)).await?;
        }
        for statement in statements {
            self.one(client, statement).await?;
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        send_ready_for_query(client, client.transaction_status()).await
    }

    /// Not asked: [`Self::on_query`] answers.
    async fn do_query<C>(&self, _client: &mut C, _query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Ok(Vec::new())
    }
}

impl Session {
    /// One statement of a text, and its answer.
    async fn one<C>(&self, client: &mut C, statement: ast::Statement) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statement = Connection::of(client).executed(statement);
        let statement = statement.map_err(|error| refusal(&error))?;
        let command = Command::of(&statement).map_err(|error| refusal(&error))?;
        check_transaction(client, command.as_ref())?;
        let goes_on = matches!(command, Some(Command::RollbackTo));
        let response = match command {
            Some(Command::Deallocate(name)) => deallocate(client, name.as_deref()),
            command => {
                let handle = client.session_extensions().get::<Arc<ConnectionHandle>>();
                let cancelled = match &handle {
                    Some(handle) => Either::Left(handle.start_query().await),
                    None => Either::Right(future::pending()),
                };
                tokio::select! {
                    response = self.simple(client, statement, command) => response?,
                    Ok(()) = cancelled => return Err(refusal(&cancelled_by_client())),
                }
            }
        };
        match response {
            Response::Query(rows) => send_query_response(client, rows, true).await?,
            Response::TransactionStart(tag) => {
                send_execution_response(client, tag).await?;
                client.set_transaction_status(TransactionStatus::Transaction);
            }
            Response::TransactionEnd(tag) => {
                send_execution_response(client, tag).await?;
                client.portal_store().clear_portals();
                client.set_transaction_status(TransactionStatus::Idle);
            }
            Response::Execution(tag) => send_execution_response(client, tag).await?,
            _ => {}
        }
        if goes_on {
            client.set_transaction_status(TransactionStatus::Transaction);
        }
        Ok(())
    }
}

#[async_trait]
impl ExtendedQueryHandler for Session {
    type Statement = Prepared;
    type QueryParser = Preparer;

    fn query_parser(&self) -> Arc<Preparer> {
        Arc::clone(&self.parser)
    }

    async fn on_bind<C>(&self, client: &mut C, message: Bind) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        bind(client, &message).await
    }

    /// Outside a transaction portals end with what they were opened by.
    async fn on_sync<C>(&self, client: &mut C, _message: PgSync) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if client.transaction_status() == TransactionStatus::Idle {
            client.portal_store().clear_portals();
        } else {
            client.portal_store().rm_portal(DEFAULT_NAME);
        }
        send_ready_for_query(client, client.transaction_status()).await
    }

    /// A cursor can be described by its name, as a portal is.
    async fn on_describe<C>(&self, client: &mut C, message: Describe) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if message.target_type == TARGET_TYPE_BYTE_PORTAL
            && let Some(name) = &message.name
            && client.portal_store().get_portal(name).is_none()
            && let Ok(cursor) = Connection::of(client).cursor(name)
        {
            let fields = row_fields(cursor.schema(), &Format::UnifiedText)?;
            return send_describe_response(client, &DescribePortalResponse::new(fields)).await;
        }
        self._on_describe(client, message).await
    }

    /// Rows are sent as they come: none waits for the last one.
    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let most = usize::try_from(message.max_rows).unwrap_or(0);
        let Some(Entry::Value(portal)) = client.portal_store().get_portal(name) else {
            return self._on_execute(client, message).await;
        };
        let Prepared { command, schema, .. } = &portal.statement.statement;
        check_transaction(client, command.as_ref())?;
        if schema.fields().is_empty() {
            self._on_execute(client, message).await?;
            match command {
                Some(Command::Commit | Command::Rollback) => client.portal_store().clear_portals(),
                Some(Command::RollbackTo) => {
                    client.set_transaction_status(TransactionStatus::Transaction);
                }
                _ => {}
            }
            return Ok(());
        }
        let state = portal.state();
        let mut state = state.lock().await;
        client.set_state(PgWireConnectionState::QueryInProgress);
        if matches!(*state, PortalExecutionState::Initial) {
            *state = match self.first_rows(client, &portal).await? {
                Response::Query(response) => PortalExecutionState::Suspended(response),
                _ => PortalExecutionState::Finished,
            };
        }
        let ended = if let PortalExecutionState::Suspended(response) = &mut *state {
            send_rows(client, response, most).await?
        } else {
            let mut none = QueryResponse::new(Arc::default(), stream::empty());
            send_rows(client, &mut none, 0).await?
        };
        if ended {
            *state = PortalExecutionState::Finished;
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Prepared>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let Prepared { statement, command, schema, .. } = &portal.statement.statement;
        let settings = Connection::of(client).settings();
        let format = &portal.result_column_format;
        match command {
            None => {
                let plan = self.planning_of(portal, statement.clone(), &settings)?;
                let answer = self.run(&settings, plan).await.map_err(|error| refusal(&error))?;
                check_columns(schema, answer.schema())?;
                Writing::of(client, format).answer(answer)
            }
            Some(Command::Deallocate(name)) => Ok(deallocate(client, name.as_deref())),
            Some(Command::Declare { name, query, hold }) => {
                let query = ast::Statement::Query(query.clone());
                let plan = self.planning_of(portal, query, &settings)?;
                self.declare(client, name.clone(), *hold, &settings, plan).await
            }
            Some(Command::Copy(copy)) => {
                let query = ast::Statement::Query(copy.query.clone());
                let plan = self.planning_of(portal, query, &settings)?;
                self.copy(client, copy, &settings, plan).await
            }
            Some(command) => self.answer(client, command.clone(), format).await,
        }
    }
}

impl Session {
    /// Runs a portal's statement until its first rows are there, or until the client asks for its
    /// end.
    async fn first_rows<C>(
        &self,
        client: &mut C,
        portal: &Portal<Prepared>,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let handle = client.session_extensions().get::<Arc<ConnectionHandle>>();
        let Some(handle) = handle else {
            return ExtendedQueryHandler::do_query(self, client, portal, 0).await;
        };
        let cancelled = handle.start_query().await;
        tokio::select! {
            answer = ExtendedQueryHandler::do_query(self, client, portal, 0) => answer,
            Ok(()) = cancelled => Err(refusal(&cancelled_by_client())),
        }
    }
}

/// A portal of a statement with parameters.
async fn bind<C>(client: &mut C, message: &Bind) -> PgWireResult<()>
where
    C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
    C::PortalStore: PortalStore<Statement = Prepared>,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let name = message.statement_name.as_deref().unwrap_or(DEFAULT_NAME);
    match client.portal_store().get_statement(name) {
        Some(Entry::Value(statement)) => {
            check_bind(message, statement.statement.types.len())?;
            let portal = Portal::try_new(message, statement)?;
            client.portal_store().put_portal(Arc::new(portal));
        }
        Some(Entry::Empty) => {
            check_bind(message, 0)?;
            let portal = message.portal_name.as_deref().unwrap_or(DEFAULT_NAME);
            client.portal_store().put_empty_portal(portal);
        }
        None => return Err(PgWireError::StatementNotFound(name.to_owned())),
    }
    client.send(PgWireBackendMessage::BindComplete(BindComplete::new())).await?;
    Ok(())
}

/// As many parameters as the statement has, and one format for all or for each.
fn check_bind(message: &Bind, wanted: usize) -> PgWireResult<()> {
    let given = message.parameters.len();
    let formats = message.parameter_format_codes.len();
    let text = if given != wanted {
        format!("bind message supplies {given} parameters, but the statement requires {wanted}")
    } else if formats > 1 && formats != given {
        format!("bind message has {formats} parameter formats but {given} parameters")
    } else {
        return Ok(());
    };
    Err(refusal(&QueryError::new(QueryErrorKind::Protocol, text)))
}

/// A client reads rows by the columns that it was told of.
fn check_columns(prepared: &SchemaRef, now: &SchemaRef) -> PgWireResult<()> {
    if sent_types(prepared)? == sent_types(now)? {
        return Ok(());
    }
    let text = "cached plan must not change result type: prepare the statement again";
    Err(refusal(&QueryError::new(QueryErrorKind::Changed, text)))
}

/// Sends up to `most` rows, all where it is 0; whether none are left.
async fn send_rows<C>(
    client: &mut C,
    response: &mut QueryResponse,
    most: usize,
) -> PgWireResult<bool>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let mut sent = 0;
    while most == 0 || sent < most {
        let Some(row) = response.data_rows().next().await else {
            let tag = Tag::new(response.command_tag()).with_rows(sent);
            client.send(PgWireBackendMessage::CommandComplete(tag.into())).await?;
            return Ok(true);
        };
        client.feed(PgWireBackendMessage::DataRow(row?)).await?;
        sent += 1;
    }
    client.send(PgWireBackendMessage::PortalSuspended(PortalSuspended::new())).await?;
    Ok(false)
}

/// Reads statements that clients prepare.
pub(super) struct Preparer {
    engine: Engine,
}

#[async_trait]
impl QueryParser for Preparer {
    type Statement = Prepared;

    async fn parse_sql<C>(
        &self,
        client: &C,
        sql: &str,
        types: &[Option<Type>],
    ) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let connection = Connection::of(client);
        connection.check_admitted()?;
        let mut statements = parse(self.engine.reader(), sql).map_err(|error| refusal(&error))?;
        let Some(statement) = statements.pop() else {
            return Ok(None);
        };
        if !statements.is_empty() {
            let text = "cannot insert multiple commands into a prepared statement";
            return Err(refusal(&QueryError::new(QueryErrorKind::Syntax, text)));
        }
        let told: Vec<_> = types.iter().map(|told| parameter::data_type(told.as_ref()?)).collect();
        let prepared = self.prepared(&connection, statement, &told).await;
        prepared.map(Some).map_err(|error| refusal(&error))
    }

    fn get_parameter_types(&self, prepared: &Prepared) -> PgWireResult<Vec<Type>> {
        prepared.types.iter().map(into_pg_type).collect()
    }

    fn get_result_schema(
        &self,
        prepared: &Prepared,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        row_fields(&prepared.schema, format.unwrap_or(&Format::UnifiedText))
    }
}

impl Preparer {
    async fn prepared(
        &self,
        connection: &Connection,
        mut statement: ast::Statement,
        told: &[Option<DataType>],
    ) -> Result<Prepared, QueryError> {
        statement = connection.executed(statement)?;
        heed(&mut statement, told);
        let settings = connection.settings();
        let command = Command::of(&statement)?;
        let query = match &command {
            None => Some(statement.clone()),
            Some(Command::Declare { query, .. }) => Some(ast::Statement::Query(query.clone())),
            Some(Command::Copy(copy)) => Some(ast::Statement::Query(copy.query.clone())),
            Some(_) => None,
        };
        let (plan, types) = match query {
            None => (None, Vec::new()),
            Some(query) => {
                let (plan, types) = self.typed(query, &settings, told.to_vec()).await?;
                (Some(plan), types)
            }
        };
        let schema = match (&command, &plan) {
            (None, Some(plan)) => columns(plan),
            (Some(Command::Show(name)), _) => {
                let shown = name.as_ref().map(|name| settings.show(name)).transpose()?;
                show_schema(shown.as_ref())
            }
            (Some(Command::Fetch { name, .. }), _) => Arc::clone(connection.cursor(name)?.schema()),
            _ => Arc::new(Schema::empty()),
        };
        Ok(Prepared { statement, command, types, schema })
    }

    /// The plan, and the types of its parameters.
    async fn typed(
        &self,
        query: ast::Statement,
        settings: &SessionSettings,
        told: Vec<Option<DataType>>,
    ) -> Result<(LogicalPlan, Vec<DataType>), QueryError> {
        let context = self.engine.statement(settings);
        let plan = self
            .engine
            .on_query_threads(async move { Ok(typed(context.logical(query).await?, &told)?) });
        self.engine.deadline(settings.statement_timeout()).bound(plan).await
    }
}
