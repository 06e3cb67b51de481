//! `SET warpline....`: settings of ours that belong to a connection.
//!
//! They lie in the client's metadata, where each statement finds them.

use super::respond::refusal;
use crate::engine::SessionSettings;
use crate::error::{QueryError, QueryErrorKind};
use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{Expr, Set, Statement};
use datafusion_postgres::QueryHook;
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::pgwire::api::ClientInfo;
use datafusion_postgres::pgwire::api::results::{Response, Tag};
use datafusion_postgres::pgwire::error::PgWireResult;

const OURS: &str = "warpline.";
const ROLLUPS: &str = "warpline.rollups";

/// What the client has set.
pub(super) fn settings_of(client: &(impl ClientInfo + ?Sized)) -> SessionSettings {
    let rollups = client.metadata().get(ROLLUPS).and_then(|value| switch(value));
    SessionSettings { rollups }
}

#[derive(Debug)]
pub(super) struct SettingsHook;

impl SettingsHook {
    fn answer(
        statement: &Statement,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        let Statement::Set(Set::SingleAssignment { variable, values, .. }) = statement else {
            return None;
        };
        let name = variable.to_string().to_ascii_lowercase();
        if !name.starts_with(OURS) {
            return None;
        }
        let set = change(&name, values).map(|value| {
            match value {
                Some(value) => client.metadata_mut().insert(name, value.to_owned()),
                None => client.metadata_mut().remove(&name),
            };
            Response::Execution(Tag::new("SET"))
        });
        Some(set.map_err(|error| refusal(&error)))
    }
}

/// The value that a setting gets; `None` is the server's own.
fn change(name: &str, values: &[Expr]) -> Result<Option<&'static str>, QueryError> {
    let invalid = |text: String| QueryError::new(QueryErrorKind::Invalid, text);
    if name != ROLLUPS {
        return Err(invalid(format!("there is no setting {name}; there is {ROLLUPS}")));
    }
    let text: Vec<String> = values.iter().map(ToString::to_string).collect();
    let text = text.join(", ");
    let text = text.trim_matches(['\'', '"']);
    match switch(text) {
        Some(true) => Ok(Some("on")),
        Some(false) => Ok(Some("off")),
        None if text.eq_ignore_ascii_case("default") => Ok(None),
        None => Err(invalid(format!("{ROLLUPS} is on, off or default, not {text}"))),
    }
}

/// A client may also have given the value when it connected.
fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "1" => Some(true),
        "off" | "false" | "0" => Some(false),
        _ => None,
    }
}

#[async_trait]
impl QueryHook for SettingsHook {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        _session: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        Self::answer(statement, client)
    }

    /// Any `SET` has the plan that the next hook gives it.
    async fn handle_extended_parse_query(
        &self,
        _statement: &Statement,
        _session: &SessionContext,
        _client: &(dyn ClientInfo + Send + Sync),
    ) -> Option<PgWireResult<LogicalPlan>> {
        None
    }

    async fn handle_extended_query(
        &self,
        statement: &Statement,
        _plan: &LogicalPlan,
        _parameters: &ParamValues,
        _session: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        Self::answer(statement, client)
    }
}
