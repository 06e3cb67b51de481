//! What a connection asks, answered.

use super::parameters::parameter_types;
use super::respond::{refusal, row_fields, rows};
use super::settings::{SettingsHook, settings_of};
use crate::answer::Planning;
use crate::engine::Engine;
use crate::error::{QueryError, QueryErrorKind};
use crate::statement::parse;
use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast;
use datafusion_postgres::QueryHook;
use datafusion_postgres::arrow_pg::datatypes::df::deserialize_parameters;
use datafusion_postgres::arrow_pg::datatypes::into_pg_type;
use datafusion_postgres::hooks::set_show::SetShowHook;
use datafusion_postgres::hooks::transactions::TransactionStatementHook;
use datafusion_postgres::pgwire::api::portal::{Format, Portal};
use datafusion_postgres::pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use datafusion_postgres::pgwire::api::results::{FieldInfo, Response};
use datafusion_postgres::pgwire::api::stmt::QueryParser;
use datafusion_postgres::pgwire::api::store::PortalStore;
use datafusion_postgres::pgwire::api::{ClientInfo, ClientPortalStore, Type};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::types::format::FormatOptions;
use futures::Sink;
use std::sync::Arc;
use std::time::Duration;

/// Answers all connections; what belongs to one lies in its client's metadata.
pub(super) struct Session {
    engine: Engine,
    parser: Arc<Preparer>,
    hooks: Arc<[Arc<dyn QueryHook>]>,
}

/// A statement that a client prepared: its text read, its plan for the types alone.
#[derive(Clone)]
pub(super) struct Prepared {
    statement: ast::Statement,
    plan: LogicalPlan,
}

impl Session {
    pub(super) fn new(engine: Engine) -> Self {
        let hooks: Arc<[Arc<dyn QueryHook>]> = Arc::new([
            Arc::new(SettingsHook),
            Arc::new(SetShowHook),
            Arc::new(TransactionStatementHook),
        ]);
        let parser = Preparer { engine: engine.clone(), hooks: Arc::clone(&hooks) };
        Self { engine, parser: Arc::new(parser), hooks }
    }

    async fn run(
        &self,
        client: &(impl ClientInfo + Sync),
        plan: Planning,
        format: &Format,
    ) -> PgWireResult<Response> {
        let deadline = self.engine.deadline(own_timeout(client));
        let answer = self.engine.execute(plan, deadline).await.map_err(|error| refusal(&error))?;
        let options = Arc::new(FormatOptions::from_client_metadata(client.metadata()));
        rows(answer, format, &options)
    }
}

/// The client's own `statement_timeout`, which the SET hook keeps in its metadata.
fn own_timeout(client: &impl ClientInfo) -> Option<Duration> {
    let millis = client.metadata().get("statement_timeout_ms")?.parse().ok()?;
    Some(Duration::from_millis(millis))
}

/// Settings of the engine are the operator's; settings of the session are the client's.
fn check_settings(statement: &ast::Statement) -> PgWireResult<()> {
    if let ast::Statement::Set(ast::Set::SingleAssignment { variable, .. }) = statement
        && variable.to_string().to_ascii_lowercase().starts_with("datafusion.")
    {
        let text = format!("{variable} is a setting of the engine and cannot be set from SQL");
        return Err(refusal(&QueryError::new(QueryErrorKind::ReadOnly, text)));
    }
    Ok(())
}

#[async_trait]
impl SimpleQueryHandler for Session {
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
        let mut responses = Vec::with_capacity(statements.len());
        'statements: for statement in statements {
            check_settings(&statement)?;
            let context = self.engine.statement(settings_of(client));
            let session = context.session();
            for hook in self.hooks.iter() {
                let answered = hook.handle_simple_query(&statement, &session, client);
                if let Some(response) = answered.await {
                    responses.push(response?);
                    continue 'statements;
                }
            }
            let sql = statement.to_string();
            let plan = async move { context.plan(&sql, || Ok(statement)).await };
            responses.push(self.run(client, Box::pin(plan), &Format::UnifiedText).await?);
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
        let Prepared { statement, plan } = &portal.statement.statement;
        let types = parameter_types(plan).map_err(|error| refusal(&error.into()))?;
        let types: Vec<Option<&DataType>> = types.iter().map(Option::as_ref).collect();
        let parameters: ParamValues = deserialize_parameters(portal, &types)?;
        let context = self.engine.statement(settings_of(client));
        let session = context.session();
        for hook in self.hooks.iter() {
            let answered =
                hook.handle_extended_query(statement, plan, &parameters, &session, client);
            if let Some(response) = answered.await {
                return response;
            }
        }
        let statement = statement.clone();
        let fixed = types.is_empty();
        let work = async move {
            if fixed {
                return context.plan(&statement.to_string(), || Ok(statement)).await;
            }
            let plan = context.logical(statement).await?;
            context.physical_with(plan, &parameters).await
        };
        self.run(client, Box::pin(work), &portal.result_column_format).await
    }
}

/// Reads statements that clients prepare.
pub(super) struct Preparer {
    engine: Engine,
    hooks: Arc<[Arc<dyn QueryHook>]>,
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
        check_settings(&statement)?;
        let context = self.engine.statement(settings_of(client));
        let session = context.session();
        for hook in self.hooks.iter() {
            let answered = hook.handle_extended_parse_query(&statement, &session, client);
            if let Some(plan) = answered.await {
                return Ok(Some(Prepared { statement, plan: plan? }));
            }
        }
        let parsed = statement.clone();
        let plan = self.engine.on_query_threads(async move { context.logical(parsed).await });
        let plan = self.engine.deadline(own_timeout(client)).bound(plan).await;
        let plan = plan.map_err(|error| refusal(&error))?;
        Ok(Some(Prepared { statement, plan }))
    }

    fn get_parameter_types(&self, prepared: &Prepared) -> PgWireResult<Vec<Type>> {
        let types = parameter_types(&prepared.plan).map_err(|error| refusal(&error.into()))?;
        let types = types.iter();
        types.map(|known| known.as_ref().map_or(Ok(Type::UNKNOWN), into_pg_type)).collect()
    }

    fn get_result_schema(
        &self,
        prepared: &Prepared,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        row_fields(prepared.plan.schema().as_arrow(), format.unwrap_or(&Format::UnifiedText), None)
    }
}
