//! How a connection begins: what it sets from the start, and what it is told.

use super::connection::Connection;
use super::respond::refusal;
use crate::error::QueryError;
use crate::settings::SessionSettings;
use async_trait::async_trait;
use datafusion_postgres::pgwire::api::auth::{
    ServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use datafusion_postgres::pgwire::api::{
    ClientInfo, ConnectionGuard, ConnectionHandle, ConnectionManager, METADATA_USER,
    PidSecretKeyGenerator, RandomPidSecretKeyGenerator,
};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::startup::Startup as StartupMessage;
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use futures::Sink;
use std::collections::HashMap;
use std::sync::Arc;

/// Parameters of the first message that are no settings.
const NO_SETTINGS: [&str; 4] = ["user", "database", "replication", "options"];
/// What begins the names of the protocol's own options.
const PROTOCOL: &str = "_pq_.";

/// Lets everybody in; the manager knows connections by their cancel key.
pub(super) struct Startup {
    connections: Arc<ConnectionManager>,
    keys: RandomPidSecretKeyGenerator,
}

impl Startup {
    pub(super) fn new(connections: Arc<ConnectionManager>) -> Self {
        Self { connections, keys: RandomPidSecretKeyGenerator::default() }
    }
}

#[async_trait]
impl StartupHandler for Startup {
    async fn on_startup<C>(
        &self,
        client: &mut C,
        message: PgWireFrontendMessage,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let PgWireFrontendMessage::Startup(startup) = message else { return Ok(()) };
        protocol_negotiation(client, &startup).await?;
        save_startup_parameters_to_metadata(client, &startup);
        let set = Connection::of(client).begin(|settings| begin(settings, &startup));
        set.map_err(|error| refusal(&error))?;
        let (process, key) = self.keys.generate(client);
        client.set_pid_and_secret_key(process, key.clone());
        let (handle, guard) = self.connections.register(process, key);
        client.session_extensions().insert::<Arc<ConnectionHandle>>(handle);
        client.session_extensions().insert::<ConnectionGuard>(guard);
        finish_authentication(client, &Told).await
    }
}

/// Sets what the first message says, and its `options` as of a command line.
fn begin(settings: &mut SessionSettings, startup: &StartupMessage) -> Result<(), QueryError> {
    let options = startup.parameters.get("options").map_or("", String::as_str);
    for (name, value) in of_command_line(options) {
        settings.set(&name, value)?;
    }
    let set = startup
        .parameters
        .iter()
        .filter(|(name, _)| !NO_SETTINGS.contains(&name.as_str()) && !name.starts_with(PROTOCOL));
    set.into_iter().try_for_each(|(name, value)| settings.set(name, value))
}

/// `-c name=value` and `--name=value`.
fn of_command_line(options: &str) -> impl Iterator<Item = (String, &str)> {
    let words = options.split_ascii_whitespace().filter(|word| *word != "-c");
    words.filter_map(|word| {
        let word = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")).unwrap_or(word);
        let (name, value) = word.split_once('=')?;
        Some((name.replace('-', "_"), value))
    })
}

/// What clients are told of unasked.
struct Told;

impl ServerParameterProvider for Told {
    fn server_parameters<C: ClientInfo>(&self, client: &C) -> Option<HashMap<String, String>> {
        let all = Connection::of(client).settings().all().into_iter();
        let told = all.filter(|shown| shown.reported).map(|shown| (shown.name, shown.value));
        let user = client.metadata().get(METADATA_USER).cloned().unwrap_or_default();
        Some(told.chain([("session_authorization".to_owned(), user)]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_those_of_a_command_line() {
        let read = |options| of_command_line(options).collect::<Vec<_>>();
        let owned = |name: &str, value| (name.to_owned(), value);
        let want = [owned("statement_timeout", "5s"), owned("TimeZone", "UTC")];
        assert_eq!(read("-c statement_timeout=5s --TimeZone=UTC"), want);
        assert_eq!(read("-cstatement_timeout=5s  -c TimeZone=UTC"), want);
        assert_eq!(read("-c nothing"), []);
    }
}
