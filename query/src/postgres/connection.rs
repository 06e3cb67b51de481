//! What belongs to one connection: what it has set, and its cursors.

use super::cursor::Cursor;
use crate::error::{QueryError, QueryErrorKind};
use crate::settings::SessionSettings;
use datafusion_postgres::pgwire::api::ClientInfo;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Cursors that one connection may have: each holds a statement that runs.
const MAX_CURSORS: usize = 64;

/// Shared by all that happens on the connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    settings: Mutex<SessionSettings>,
    cursors: Mutex<HashMap<String, Arc<Cursor>>>,
}

impl Connection {
    pub(super) fn of(client: &(impl ClientInfo + ?Sized)) -> Arc<Self> {
        client.session_extensions().get_or_insert_with(Self::default)
    }

    /// What is set now.
    pub(super) fn settings(&self) -> SessionSettings {
        self.settings.lock().clone()
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut SessionSettings) -> T) -> T {
        change(&mut self.settings.lock())
    }

    pub(super) fn open(&self, name: String, cursor: Cursor) -> Result<(), QueryError> {
        let mut cursors = self.cursors.lock();
        if cursors.contains_key(&name) {
            let text = format!("cursor \"{name}\" already exists");
            return Err(QueryError::new(QueryErrorKind::DuplicateCursor, text));
        }
        if cursors.len() >= MAX_CURSORS {
            let text = format!("a connection has at most {MAX_CURSORS} cursors: close some");
            return Err(QueryError::new(QueryErrorKind::Resources, text));
        }
        cursors.insert(name, Arc::new(cursor));
        Ok(())
    }

    pub(super) fn cursor(&self, name: &str) -> Result<Arc<Cursor>, QueryError> {
        let known = self.cursors.lock().get(name).cloned();
        known.ok_or_else(|| unknown(name))
    }

    pub(super) fn close(&self, name: &str) -> Result<(), QueryError> {
        let known = self.cursors.lock().remove(name);
        known.map(drop).ok_or_else(|| unknown(name))
    }

    pub(super) fn close_all(&self) {
        self.cursors.lock().clear();
    }

    /// Those without hold go with their transaction.
    pub(super) fn end_transaction(&self) {
        self.cursors.lock().retain(|_, cursor| cursor.holds());
    }
}

fn unknown(name: &str) -> QueryError {
    let text = format!("cursor \"{name}\" does not exist");
    QueryError::new(QueryErrorKind::UnknownCursor, text)
}
