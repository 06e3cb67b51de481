//! Who may do what: tokens with roles, TLS, and the gate in front of every listener.
//!
//! ```text
//! tokens    the file of hashed tokens, and who a token belongs to
//! tls       certificate and key, read again when they change; handshakes
//! gate      HTTP and gRPC: a request's token before its route      (PostgreSQL: query's `Logins`)
//! command   `warpline token add | list | remove`
//! ```
//! Promises: without tokens a server listens on loopback alone; beyond it with tokens and TLS, or
//! it does not start. A token stands in no file and in no log. What changes in the file counts
//! within seconds for whoever connects; a file that became unreadable changes nothing.

mod command;
mod gate;
mod tls;
mod tokens;

pub use command::{TokenOptions, run as run_command};
pub use gate::{Gate, Holder, Need, Needs};
pub use tls::Certificate;
pub use tokens::{Role, TokenError};

use crate::config::ServerConfig;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokens::Tokens;
use warpline_query::{Logins, PasswordVerifier, PostgresAccess};

/// Where tokens are unless the configuration says otherwise, in the data folder.
const TOKENS_FILE: &str = "tokens.toml";

#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error(transparent)]
    Tokens(#[from] TokenError),
    #[error(
        "there are no tokens in {}: make the first with `warpline token add NAME --role ROLE`, or \
         leave server.tokens out", .0.display()
    )]
    NoTokens(PathBuf),
    #[error(
        "refusing to listen on {address}, beyond loopback, without {what}: {remedy}; or reach the \
         server through an SSH tunnel"
    )]
    Beyond { address: SocketAddr, what: &'static str, remedy: &'static str },
    #[error("server.tls_certificate and server.tls_key are given together or not at all")]
    HalfOfTls,
    #[error("cannot use {} for TLS: {reason}; it is PEM: certificates, the server's first, and a key", path.display())]
    Tls { path: PathBuf, reason: String },
}

/// What guards a server.
#[derive(Clone, Debug)]
pub struct Access {
    tokens: Option<Arc<Tokens>>,
    certificate: Option<Arc<Certificate>>,
}

impl Access {
    /// What the configuration asks for, or why it must not be so.
    pub fn open(server: &ServerConfig) -> Result<Self, AccessError> {
        let path = server.tokens_file();
        let tokens = match Tokens::open(&path)? {
            Some(tokens) => Some(Arc::new(tokens)),
            None if server.tokens.is_some() => return Err(AccessError::NoTokens(path)),
            None => None,
        };
        let certificate = match (&server.tls_certificate, &server.tls_key) {
            (Some(certificate), Some(key)) => Some(Arc::new(Certificate::open(certificate, key)?)),
            (None, None) => None,
            _ => return Err(AccessError::HalfOfTls),
        };
        let access = Self { tokens, certificate };
        for address in [server.listen, server.postgres] {
            access.check(address.address())?;
        }
        Ok(access)
    }

    fn check(&self, address: SocketAddr) -> Result<(), AccessError> {
        let beyond = |what, remedy| Err(AccessError::Beyond { address, what, remedy });
        if address.ip().is_loopback() {
            return Ok(());
        }
        if self.tokens.is_none() {
            return beyond("tokens", "make one with `warpline token add NAME --role ROLE`");
        }
        if self.certificate.is_none() {
            return beyond("TLS", "give --tls-certificate and --tls-key");
        }
        Ok(())
    }

    /// The gate of HTTP and gRPC.
    pub fn gate(&self) -> Gate {
        Gate::new(self.tokens.clone())
    }

    /// The same of the PostgreSQL wire.
    pub fn postgres(&self) -> PostgresAccess {
        let logins = self.tokens.clone().map(|tokens| tokens as Arc<dyn Logins>);
        let tls =
            self.certificate.as_ref().map(|certificate| certificate.acceptor(&[tls::POSTGRES]));
        PostgresAccess { logins, tls }
    }

    pub fn certificate(&self) -> Option<&Arc<Certificate>> {
        self.certificate.as_ref()
    }

    /// Takes up what has changed in the files.
    pub fn look(&self) {
        if let Some(tokens) = &self.tokens {
            tokens.look();
        }
        if let Some(certificate) = &self.certificate {
            certificate.look();
        }
    }
}

/// Reading over the PostgreSQL wire: the user is a token's name, the password the token.
impl Logins for Tokens {
    fn verifier(&self, name: &str) -> Option<PasswordVerifier> {
        let entry = self.named(name)?;
        entry.role.may_read().then_some(entry.scram.0)
    }
}

impl ServerConfig {
    /// Where the tokens are.
    pub fn tokens_file(&self) -> PathBuf {
        self.tokens.clone().unwrap_or_else(|| self.data.join(TOKENS_FILE))
    }
}
