//! The PostgreSQL wire: simple and extended protocol over the engine.
//!
//! ```text
//! conversation  bytes into messages, and how long
//! startup       who is let in, and what it sets from the start      scram    by which password
//! session       statements, prepared and not      command     those about the connection itself
//! connection    what belongs to one connection    cursor      queries fetched some rows at a time
//! respond       rows and errors as messages       copy        rows to the client as a file's
//! parameter     what clients bind                 times       those with a zone as text
//! statements    those prepared by a name in SQL
//! ```
//! Promises: a prepared statement keeps its text, and each execution is planned anew over the newest
//! snapshot; rows are sent as they come, and none is kept for later; a cancel, the connection's
//! `statement_timeout` or its end stop the work; nobody is answered before being let in.

mod command;
mod connection;
mod conversation;
mod copy;
mod cursor;
mod parameter;
mod respond;
mod scram;
mod session;
mod startup;
mod statements;
mod times;

pub use scram::PasswordVerifier;

use crate::access::PostgresAccess;
use crate::engine::Engine;
use conversation::converse;
use datafusion_postgres::pgwire::api::ConnectionManager;
use datafusion_postgres::pgwire::api::cancel::DefaultCancelHandler;
use session::Session;
use startup::Startup;
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Serves PostgreSQL clients that `access` lets in until `shutdown`, then drops the connections
/// that are left.
pub async fn serve_postgres(
    listener: TcpListener,
    engine: Engine,
    access: PostgresAccess,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let handlers = Arc::new(Handlers::new(engine, &access));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    let (handlers, tls) = (Arc::clone(&handlers), access.tls.clone());
                    connections.spawn(async move {
                        if let Err(error) = converse(socket, tls, &handlers).await {
                            tracing::debug!(%peer, %error, "a PostgreSQL connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a PostgreSQL connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            },
        }
    }
}

struct Handlers {
    session: Arc<Session>,
    startup: Arc<Startup>,
    cancel: Arc<DefaultCancelHandler>,
}

impl Handlers {
    fn new(engine: Engine, access: &PostgresAccess) -> Self {
        let connections = Arc::new(ConnectionManager::new());
        Self {
            session: Arc::new(Session::new(engine)),
            startup: Arc::new(Startup::new(Arc::clone(&connections), access)),
            cancel: Arc::new(DefaultCancelHandler::new(connections)),
        }
    }
}
