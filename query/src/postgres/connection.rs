//! What belongs to one connection: what it has set, its cursors, and statements that it has named.

use super::command::folded;
use super::cursor::Cursor;
use super::respond::fatal;
use super::scram::Challenge;
use super::statements::Named;
use crate::error::{QueryError, QueryErrorKind};
use crate::settings::{SessionSettings, Shown};
use datafusion::sql::sqlparser::ast::{ObjectNamePart, Statement};
use datafusion_postgres::pgwire::api::ClientInfo;
use datafusion_postgres::pgwire::error::PgWireResult;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Cursors that one connection may have: each holds a statement that runs.
const MAX_CURSORS: usize = 64;
/// And statements that it may name in SQL.
const MAX_STATEMENTS_BYTES: usize = 256 << 10;
const MAX_STATEMENTS: usize = 64;

/// Shared by all that happens on the connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    login: Mutex<Login>,
    settings: Mutex<Settings>,
    cursors: Mutex<HashMap<String, Arc<Cursor>>>,
    statements: Mutex<HashMap<String, Named>>,
}

#[derive(Debug)]
struct InTransaction {
    /// What `ROLLBACK` goes back to.
    before: SessionSettings,
    /// The same with what was set for good since: what `COMMIT` goes back to where something was set
    /// for the transaction alone.
    lasting: SessionSettings,
    /// Names of what was.
    local: Vec<String>,
}

/// How far a client has come to be let in.
#[derive(Debug, Default)]
enum Login {
    #[default]
    Outside,
    Challenged(Challenge),
    Inside,
}

#[derive(Debug, Default)]
struct Settings {
    now: SessionSettings,
    /// What `RESET` goes back to.
    at_start: SessionSettings,
    transaction: Option<InTransaction>,
}

impl Connection {
    pub(super) fn of(client: &(impl ClientInfo + ?Sized)) -> Arc<Self> {
        client.session_extensions().get_or_insert_with(Self::default)
    }

    pub(super) fn challenge(&self, challenge: Challenge) {
        *self.login.lock() = Login::Challenged(challenge);
    }

    /// What the client was asked; it is asked once.
    pub(super) fn take_challenge(&self) -> Option<Challenge> {
        match std::mem::take(&mut *self.login.lock()) {
            Login::Challenged(challenge) => Some(challenge),
            Login::Outside | Login::Inside => None,
        }
    }

    pub(super) fn admit(&self) {
        *self.login.lock() = Login::Inside;
    }

    /// The wire library reads on where a connection was refused: nothing is answered there.
    pub(super) fn check_admitted(&self) -> PgWireResult<()> {
        match &*self.login.lock() {
            Login::Inside => Ok(()),
            Login::Outside | Login::Challenged(_) => Err(fatal("28000", "nobody has logged in")),
        }
    }

    /// What is set now, and which cursors are open.
    pub(super) fn settings(&self) -> SessionSettings {
        let cursors = self.cursors.lock().keys().cloned().collect();
        self.settings.lock().now.clone().with_cursors(cursors)
    }

    /// What the client sets as it connects.
    pub(super) fn begin(
        &self,
        begin: impl FnOnce(&mut SessionSettings) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let mut settings = self.settings.lock();
        begin(&mut settings.now)?;
        settings.at_start = settings.now.clone();
        Ok(())
    }

    /// Sets a parameter, for the transaction alone where it is `local`; no value is that from the
    /// start. Answers how it is shown now.
    pub(super) fn set(
        &self,
        name: &str,
        value: Option<&str>,
        local: bool,
    ) -> Result<Shown, QueryError> {
        let mut settings = self.settings.lock();
        let Settings { now, at_start, transaction } = &mut *settings;
        let set = |settings: &mut SessionSettings| match value {
            Some(value) => settings.change(name, value),
            None => settings.reset(name, at_start),
        };
        let shown = set(now)?;
        if let Some(transaction) = transaction {
            transaction.local.retain(|other| !other.eq_ignore_ascii_case(name));
            if local {
                transaction.local.push(name.to_owned());
            } else {
                set(&mut transaction.lasting)?;
            }
        }
        Ok(shown)
    }

    /// All as it was at the start.
    pub(super) fn reset_all(&self) -> Vec<Shown> {
        let mut settings = self.settings.lock();
        settings.now = settings.at_start.clone();
        settings.now.all()
    }

    pub(super) fn begin_transaction(&self) {
        let mut settings = self.settings.lock();
        let (before, lasting) = (settings.now.clone(), settings.now.clone());
        settings.transaction = Some(InTransaction { before, lasting, local: Vec::new() });
    }

    /// What was set for the transaction alone is undone, and all where it was rolled back; cursors
    /// without hold go. Answers how what was undone is shown now.
    pub(super) fn end_transaction(&self, committed: bool) -> Vec<Shown> {
        self.cursors.lock().retain(|_, cursor| cursor.holds());
        let mut settings = self.settings.lock();
        let Some(ended) = settings.transaction.take() else { return Vec::new() };
        let InTransaction { before, lasting, local } = ended;
        if committed {
            let undone = local.iter().filter_map(|name| settings.now.reset(name, &lasting).ok());
            return undone.collect();
        }
        if settings.now == before {
            return Vec::new();
        }
        settings.now = before;
        settings.now.all()
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

    /// Keeps a statement by a name.
    pub(super) fn prepare(&self, name: String, named: Named) -> Result<(), QueryError> {
        let mut statements = self.statements.lock();
        if statements.contains_key(&name) {
            let text = format!("prepared statement \"{name}\" already exists");
            return Err(QueryError::new(QueryErrorKind::DuplicateStatement, text));
        }
        if statements.len() >= MAX_STATEMENTS {
            let text = format!(
                "a connection prepares at most {MAX_STATEMENTS} statements in SQL: DEALLOCATE some"
            );
            return Err(QueryError::new(QueryErrorKind::Resources, text));
        }
        let bytes = statements.values().map(Named::bytes).sum::<usize>() + named.bytes();
        if bytes > MAX_STATEMENTS_BYTES {
            let text = format!(
                "a connection prepares statements of at most {MAX_STATEMENTS_BYTES} bytes together \
                 in SQL: DEALLOCATE some, or let the protocol prepare them"
            );
            return Err(QueryError::new(QueryErrorKind::Resources, text));
        }
        statements.insert(name, named);
        Ok(())
    }

    /// What `EXECUTE` stands for; any other statement is itself.
    pub(super) fn executed(&self, statement: Statement) -> Result<Statement, QueryError> {
        let Statement::Execute { name: Some(name), parameters, .. } = &statement else {
            return Ok(statement);
        };
        let name = name.0.last().and_then(ObjectNamePart::as_ident).map(folded).unwrap_or_default();
        let named = self.statements.lock().get(&name).cloned();
        let named = named.ok_or_else(|| {
            let text = format!("prepared statement \"{name}\" does not exist");
            QueryError::new(QueryErrorKind::UnknownStatement, text)
        })?;
        named.with(parameters)
    }

    /// Lets go of a statement; without a name, of all.
    pub(super) fn deallocate(&self, name: Option<&str>) {
        let mut statements = self.statements.lock();
        match name {
            Some(name) => drop(statements.remove(name)),
            None => statements.clear(),
        }
    }

    pub(super) fn close_all(&self) {
        self.cursors.lock().clear();
    }
}

fn unknown(name: &str) -> QueryError {
    let text = format!("cursor \"{name}\" does not exist");
    QueryError::new(QueryErrorKind::UnknownCursor, text)
}
