//! What a connection asks, answered.

use super::command::Command;
use super::connection::Connection;
use super::copy::{Copy, copy_out};
use super::cursor::Cursor;
use super::parameters::parameter_types;
use super::respond::{Writing, cancelled_by_client, refusal, row_fields, show_batch, show_schema};
use crate::answer::{Answer, Planning};
use crate::engine::Engine;
use crate::error::{QueryError, QueryErrorKind};
use crate::settings::{SessionSettings, Shown};
use crate::statement::parse;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast;
use datafusion_postgres::arrow_pg::datatypes::df::deserialize_parameters;
use datafusion_postgres::arrow_pg::datatypes::into_pg_type;
use datafusion_postgres::pgwire::api::portal::{Format, Portal, PortalExecutionState};
use datafusion_postgres::pgwire::api::query::{
    ExtendedQueryHandler, SimpleQueryHandler, send_describe_response,
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
    Describe, Execute, PortalSuspended, TARGET_TYPE_BYTE_PORTAL,
};
use datafusion_postgres::pgwire::messages::response::TransactionStatus;
use datafusion_postgres::pgwire::messages::startup::ParameterStatus;
use futures::{Sink, SinkExt, StreamExt, stream};
use std::sync::Arc;

/// Answers all connections; what belongs to one lies in its [`Connection`].
pub(super) struct Session {
    engine: Engine,
    parser: Arc<Preparer>,
}

/// A statement that a client prepared: its text read, its plan for the types alone.
#[derive(Clone)]
pub(super) struct Prepared {
    statement: ast::Statement,
    /// What it is where it is about the connection.
    command: Option<Command>,
    /// Of the query, or of the query of the cursor that it declares.
    plan: Option<LogicalPlan>,
    /// Of its rows.
    schema: SchemaRef,
    settings: SessionSettings,
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
        let Some(plan) = &portal.statement.statement.plan else {
            return Ok(self.planning(statement, settings));
        };
        let types = parameter_types(plan).map_err(|error| refusal(&error.into()))?;
        if types.is_empty() {
            return Ok(self.planning(statement, settings));
        }
        let types: Vec<Option<&DataType>> = types.iter().map(Option::as_ref).collect();
        let parameters: ParamValues = deserialize_parameters(portal, &types)?;
        let context = self.engine.statement(settings);
        Ok(Box::pin(async move {
            let plan = context.logical(statement).await?;
            context.physical_with(plan, &parameters).await
        }))
    }

    async fn simple<C>(&self, client: &mut C, statement: ast::Statement) -> PgWireResult<Response>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let command = Command::of(&statement).map_err(|error| refusal(&error))?;
        check_transaction(client, command.as_ref())?;
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
            Some(command) => answer(client, command, &format).await,
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

/// Does what a command without a query says.
async fn answer<C>(client: &mut C, command: Command, format: &Format) -> PgWireResult<Response>
where
    C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let connection = Connection::of(client);
    let done = |tag: &str| Ok(Response::Execution(Tag::new(tag)));
    let said = |error: QueryError| refusal(&error);
    match command {
        Command::Set { name, value } => {
            let shown = connection.change(|settings| match &value {
                Some(value) => settings.change(&name, value),
                None => settings.reset(&name),
            });
            tell(client, [shown.map_err(said)?]).await?;
            done("SET")
        }
        Command::ResetAll => {
            reset(client, &connection).await?;
            done("RESET")
        }
        Command::DiscardAll => {
            connection.close_all();
            reset(client, &connection).await?;
            done("DISCARD ALL")
        }
        Command::Show(name) => {
            let settings = connection.settings();
            let shown = match &name {
                Some(name) => vec![settings.show(name).map_err(said)?],
                None => settings.all(),
            };
            let schema = show_schema(shown.first().filter(|_| name.is_some()));
            let batch = show_batch(&schema, &shown).map_err(|error| said(error.into()))?;
            let batches = stream::iter([Ok(batch)]);
            Writing::of(client, format).rows(&schema, batches, "SHOW")
        }
        Command::Begin => Ok(match client.transaction_status() {
            TransactionStatus::Idle => Response::TransactionStart(Tag::new("BEGIN")),
            _ => Response::Execution(Tag::new("BEGIN")),
        }),
        Command::Commit | Command::Rollback => {
            connection.end_transaction();
            let kept = matches!(command, Command::Commit)
                && client.transaction_status() != TransactionStatus::Error;
            Ok(Response::TransactionEnd(Tag::new(if kept { "COMMIT" } else { "ROLLBACK" })))
        }
        Command::Fetch { name, rows } => {
            let cursor = connection.cursor(&name).map_err(said)?;
            let batches = cursor.fetch(rows);
            Writing::of(client, format).rows(cursor.schema(), batches, "FETCH")
        }
        Command::Close(name) => {
            match &name {
                Some(name) => connection.close(name).map_err(said)?,
                None => connection.close_all(),
            }
            done("CLOSE CURSOR")
        }
        Command::Deallocate(name) => {
            done(if name.is_some() { "DEALLOCATE" } else { "DEALLOCATE ALL" })
        }
        Command::Nothing(tag) => done(tag),
        Command::Declare { .. } | Command::Copy(_) => {
            let text = "a statement with a query came where none can be";
            Err(refusal(&QueryError::new(QueryErrorKind::Internal, text)))
        }
    }
}

async fn reset<C>(client: &mut C, connection: &Connection) -> PgWireResult<()>
where
    C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let shown = connection.change(|settings| {
        settings.reset_all();
        settings.all()
    });
    tell(client, shown).await
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
    /// A statement that fails ends the text; those before it are answered.
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statements = parse(self.engine.parser(), query).map_err(|error| refusal(&error))?;
        if statements.is_empty() {
            return Ok(vec![Response::EmptyQuery]);
        }
        if statements.len() > 1
            && statements.iter().any(|one| matches!(one, ast::Statement::Copy { .. }))
        {
            let text = "COPY must be the only statement of its text";
            return Err(refusal(&QueryError::new(QueryErrorKind::Invalid, text)));
        }
        let mut responses = Vec::with_capacity(statements.len());
        for statement in statements {
            match self.simple(client, statement).await {
                Ok(response) => responses.push(response),
                Err(PgWireError::UserError(error)) if !responses.is_empty() => {
                    responses.push(Response::Error(error));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(responses)
    }
}

#[async_trait]
impl ExtendedQueryHandler for Session {
    type Statement = Prepared;
    type QueryParser = Preparer;

    fn query_parser(&self) -> Arc<Preparer> {
        Arc::clone(&self.parser)
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
            let settings = Connection::of(client).settings();
            let fields = row_fields(cursor.schema(), &Format::UnifiedText, &settings)?;
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
        if portal.statement.statement.schema.fields().is_empty() {
            return self._on_execute(client, message).await;
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
        let Prepared { statement, command, .. } = &portal.statement.statement;
        check_transaction(client, command.as_ref())?;
        let settings = Connection::of(client).settings();
        let format = &portal.result_column_format;
        match command {
            None => {
                let plan = self.planning_of(portal, statement.clone(), &settings)?;
                let answer = self.run(&settings, plan).await.map_err(|error| refusal(&error))?;
                Writing::of(client, format).answer(answer)
            }
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
            Some(command) => answer(client, command.clone(), format).await,
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
        _types: &[Option<Type>],
    ) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut statements = parse(self.engine.parser(), sql).map_err(|error| refusal(&error))?;
        let Some(statement) = statements.pop() else {
            return Ok(None);
        };
        if !statements.is_empty() {
            let text = "cannot insert multiple commands into a prepared statement";
            return Err(refusal(&QueryError::new(QueryErrorKind::Syntax, text)));
        }
        let prepared = self.prepared(&Connection::of(client), statement).await;
        prepared.map(Some).map_err(|error| refusal(&error))
    }

    fn get_parameter_types(&self, prepared: &Prepared) -> PgWireResult<Vec<Type>> {
        let Some(plan) = &prepared.plan else { return Ok(Vec::new()) };
        let types = parameter_types(plan).map_err(|error| refusal(&error.into()))?;
        let types = types.iter();
        types.map(|known| known.as_ref().map_or(Ok(Type::UNKNOWN), into_pg_type)).collect()
    }

    fn get_result_schema(
        &self,
        prepared: &Prepared,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        let format = format.unwrap_or(&Format::UnifiedText);
        row_fields(&prepared.schema, format, &prepared.settings)
    }
}

impl Preparer {
    async fn prepared(
        &self,
        connection: &Connection,
        statement: ast::Statement,
    ) -> Result<Prepared, QueryError> {
        let settings = connection.settings();
        let command = Command::of(&statement)?;
        let query = match &command {
            None => Some(statement.clone()),
            Some(Command::Declare { query, .. }) => Some(ast::Statement::Query(query.clone())),
            Some(Command::Copy(copy)) => Some(ast::Statement::Query(copy.query.clone())),
            Some(_) => None,
        };
        let plan = match query {
            None => None,
            Some(query) => Some(self.plan(query, &settings).await?),
        };
        let schema = match (&command, &plan) {
            (None, Some(plan)) => Arc::new(plan.schema().as_arrow().clone()),
            (Some(Command::Show(name)), _) => {
                let shown = name.as_ref().map(|name| settings.show(name)).transpose()?;
                show_schema(shown.as_ref())
            }
            (Some(Command::Fetch { name, .. }), _) => Arc::clone(connection.cursor(name)?.schema()),
            _ => Arc::new(Schema::empty()),
        };
        Ok(Prepared { statement, command, plan, schema, settings })
    }

    async fn plan(
        &self,
        query: ast::Statement,
        settings: &SessionSettings,
    ) -> Result<LogicalPlan, QueryError> {
        let context = self.engine.statement(settings);
        let plan = self.engine.on_query_threads(async move { context.logical(query).await });
        self.engine.deadline(settings.statement_timeout()).bound(plan).await
    }
}
