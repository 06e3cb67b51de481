//! Who may ask over the PostgreSQL wire: names, and what their passwords are verified by.

use crate::postgres::PasswordVerifier;
use datafusion_postgres::pgwire::tokio::TlsAcceptor;
use std::fmt;
use std::sync::Arc;

/// Knows who may ask.
pub trait Logins: Send + Sync {
    /// What the password of somebody who may ask is verified by.
    fn verifier(&self, name: &str) -> Option<PasswordVerifier>;
}

/// What a connection needs to be let in.
#[derive(Clone, Default)]
pub struct PostgresAccess {
    /// Nothing lets anybody in, whatever their name.
    pub logins: Option<Arc<dyn Logins>>,
    /// Where there is one, a connection without TLS is refused.
    pub tls: Option<TlsAcceptor>,
}

impl fmt::Debug for PostgresAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresAccess")
            .field("logins", &self.logins.is_some())
            .field("tls", &self.tls.is_some())
            .finish()
    }
}
