//! How a connection begins: who is let in, what it sets from the start, and what it is told.

use super::connection::Connection;
use super::respond::fatal;
use super::scram::{MECHANISM, Malformed, Scram};
use crate::access::{Logins, PostgresAccess};
use crate::error::QueryError;
use crate::settings::SessionSettings;
use async_trait::async_trait;
use datafusion_postgres::pgwire::api::auth::{
    ServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use datafusion_postgres::pgwire::api::{
    ClientInfo, ConnectionGuard, ConnectionHandle, ConnectionManager, METADATA_USER,
    PgWireConnectionState, PidSecretKeyGenerator, RandomPidSecretKeyGenerator,
};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::startup::{
    Authentication, PasswordMessageFamily, Startup as StartupMessage,
};
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use futures::{Sink, SinkExt};
use std::collections::HashMap;
use std::sync::Arc;

/// Parameters of the first message that are no settings.
const NO_SETTINGS: [&str; 4] = ["user", "database", "replication", "options"];
/// What begins the names of the protocol's own options.
const PROTOCOL: &str = "_pq_.";

/// SQLSTATE of a connection that is refused before a password is asked for.
const REFUSED: &str = "28000";
/// And of messages that the protocol does not have there.
const MALFORMED: &str = "08P01";

/// Lets in who may ask; the manager knows connections by their cancel key.
pub(super) struct Startup {
    connections: Arc<ConnectionManager>,
    keys: RandomPidSecretKeyGenerator,
    logins: Option<Arc<dyn Logins>>,
    scram: Scram,
    /// Whether a connection without TLS is refused.
    tls: bool,
}

impl Startup {
    pub(super) fn new(connections: Arc<ConnectionManager>, access: &PostgresAccess) -> Self {
        Self {
            connections,
            keys: RandomPidSecretKeyGenerator::default(),
            logins: access.logins.clone(),
            scram: Scram::new(),
            tls: access.tls.is_some(),
        }
    }

    /// Lets the client in, and sets what its first message says.
    async fn admit<C>(&self, client: &mut C) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let connection = Connection::of(client);
        let set = connection.begin(|settings| {
            settings.be(&user(client));
            begin(settings, client.metadata())
        });
        set.map_err(|error| fatal(error.sqlstate(), error.to_string()))?;
        connection.admit();
        let (process, key) = self.keys.generate(client);
        client.set_pid_and_secret_key(process, key.clone());
        let (handle, guard) = self.connections.register(process, key);
        client.session_extensions().insert::<Arc<ConnectionHandle>>(handle);
        client.session_extensions().insert::<ConnectionGuard>(guard);
        finish_authentication(client, &Told).await
    }

    async fn first<C>(&self, client: &mut C, startup: &StartupMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if self.tls && !client.is_secure() {
            let text = "this server takes TLS connections only: connect with sslmode=require or \
                        stricter";
            return Err(fatal(REFUSED, text));
        }
        protocol_negotiation(client, startup).await?;
        save_startup_parameters_to_metadata(client, startup);
        if self.logins.is_none() {
            return self.admit(client).await;
        }
        client.set_state(PgWireConnectionState::AuthenticationInProgress);
        let mechanisms = Authentication::SASL(vec![MECHANISM.to_owned()]);
        Ok(client.send(PgWireBackendMessage::Authentication(mechanisms)).await?)
    }

    /// What to answer to a message of the password's exchange, and whether that ends it well.
    fn exchange(
        &self,
        client: &impl ClientInfo,
        message: &[u8],
    ) -> PgWireResult<(Authentication, bool)> {
        let malformed = |Malformed(why): Malformed| fatal(MALFORMED, why);
        let name = user(client);
        let connection = Connection::of(client);
        if let Some(challenge) = connection.take_challenge() {
            return match challenge.verify(message).map_err(malformed)? {
                Some(last) => Ok((Authentication::SASLFinal(last.into()), true)),
                None => Err(wrong_password(&name)),
            };
        }
        let (mechanism, first) = initial(message).map_err(malformed)?;
        if mechanism != MECHANISM.as_bytes() {
            return Err(malformed(Malformed("the mechanism is SCRAM-SHA-256")));
        }
        let verifier = self.logins.as_ref().and_then(|logins| logins.verifier(&name));
        let begun = self.scram.begin(&name, verifier, first);
        let (challenge, answer) = begun.map_err(malformed)?;
        connection.challenge(challenge);
        Ok((Authentication::SASLContinue(answer.into()), false))
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
        match message {
            PgWireFrontendMessage::Startup(startup) => self.first(client, &startup).await,
            PgWireFrontendMessage::PasswordMessageFamily(PasswordMessageFamily::Raw(message)) => {
                let (answer, is_in) = self.exchange(client, &message)?;
                client.send(PgWireBackendMessage::Authentication(answer)).await?;
                if is_in { self.admit(client).await } else { Ok(()) }
            }
            _ => Err(fatal(MALFORMED, "a connection begins with its startup message")),
        }
    }
}

fn user(client: &(impl ClientInfo + ?Sized)) -> String {
    client.metadata().get(METADATA_USER).cloned().unwrap_or_default()
}

/// Mechanism and message of the exchange's first message: text that ends with zero, a length, bytes.
fn initial(message: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let read = || {
        let end = message.iter().position(|byte| *byte == 0)?;
        let (mechanism, rest) = (&message[..end], &message[end + 1..]);
        let (length, first) = rest.split_first_chunk::<4>()?;
        (u32::from_be_bytes(*length) as usize == first.len()).then_some((mechanism, first))
    };
    read().ok_or(Malformed("the password is not sent as SCRAM-SHA-256 has it"))
}

/// The same for a name that is not there.
fn wrong_password(name: &str) -> PgWireError {
    let text = format!(
        "password authentication failed for user \"{name}\": user and password are a token's name \
         and the token"
    );
    fatal("28P01", text)
}

/// Sets what the first message says, and its `options` as of a command line.
fn begin(
    settings: &mut SessionSettings,
    parameters: &HashMap<String, String>,
) -> Result<(), QueryError> {
    let options = parameters.get("options").map_or("", String::as_str);
    for (name, value) in of_command_line(options) {
        settings.set(&name, value)?;
    }
    let set = parameters
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
        Some(told.chain([("session_authorization".to_owned(), user(client))]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_of_a_password_is_read_or_refused() {
        assert_eq!(initial(b"X\0\0\0\0\x02ab"), Ok((&b"X"[..], &b"ab"[..])));
        for broken in
            [&b""[..], b"X", b"X\0", b"X\0\0\0\0", b"X\0\0\0\0\x03ab", b"X\0\xff\xff\xff\xff"]
        {
            assert!(initial(broken).is_err(), "{broken:?}");
        }
    }

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
