//! What a connection can set: PostgreSQL's parameters, a few of which mean something here, and
//! our own.
//!
//! ```text
//! TimeZone             how a timestamptz is shown, cut and read where its text has no offset
//! statement_timeout    how long a statement may run, never longer than the server's own limit
//! search_path          its first schema that is ours is where unqualified names are looked for
//! extra_float_digits   how doubles are written as text
//! warpline.rollups     whether the planner reads rollups
//! all others           kept and told, as clients expect it; nothing depends on them
//! ```
//! Promises: what is not a value is refused, and so is a name that PostgreSQL does not have, unless
//! it has a dot, which makes it the client's own.

mod parameters;
mod value;

use crate::catalog::{CATALOG, LATEST, SCHEMA};
use crate::error::{QueryError, QueryErrorKind};
use crate::system::SYSTEM;
use arrow::array::timezone::Tz;
use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::error::Result as DataFusionResult;
use parameters::{PARAMETERS, Parameter, Span};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const ROLLUPS: &str = "warpline.rollups";
/// What begins the names of settings that are the operator's, and of our own.
const ENGINES: &str = "datafusion.";
const OURS: &str = "warpline.";

const EFFECTIVE: [&str; 5] =
    ["timezone", "statement_timeout", "search_path", "extra_float_digits", ROLLUPS];

/// A name and its value, and how many names may be the client's own.
const MAX_BYTES: usize = 4_096;
const MAX_OWN: usize = 64;

/// A parameter as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Whether clients are told of it unasked.
    pub(crate) reported: bool,
}

/// What one connection has set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionSettings {
    /// By lower-case name.
    set: BTreeMap<String, String>,
    /// Who has set it, where that is known.
    user: Option<Arc<str>>,
    /// The cursors that are open on the connection.
    cursors: Vec<String>,
}

impl SessionSettings {
    /// Settings of somebody's connection.
    pub(crate) fn be(&mut self, user: &str) {
        self.user = Some(user.into());
    }

    /// Whoever asks.
    pub(crate) fn user(&self) -> &str {
        self.user.as_deref().unwrap_or(CATALOG)
    }

    pub(crate) fn with_cursors(self, cursors: Vec<String>) -> Self {
        Self { cursors, ..self }
    }

    pub(crate) fn cursors(&self) -> &[String] {
        &self.cursors
    }

    /// Sets a parameter and answers how it is shown now.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), QueryError> {
        self.change(name, value).map(|_| ())
    }

    pub(crate) fn change(&mut self, name: &str, value: &str) -> Result<Shown, QueryError> {
        let key = name.to_ascii_lowercase();
        let kept = match known(&key) {
            Some(parameter) => parameter.read(value)?,
            None if is_own(&key) => value.to_owned(),
            None => return Err(unknown(name)),
        };
        self.check_room(&key, &kept)?;
        self.set.insert(key, kept);
        self.show(name)
    }

    /// Takes a parameter back to what it was and answers how it is shown now.
    pub(crate) fn reset(&mut self, name: &str, before: &Self) -> Result<Shown, QueryError> {
        let key = name.to_ascii_lowercase();
        let own = match before.set.get(&key) {
            Some(value) => self.set.insert(key, value.clone()),
            None => self.set.remove(&key),
        };
        match self.show(name) {
            Err(_) if own.is_some() => {
                Ok(Shown { name: name.to_owned(), value: String::new(), reported: false })
            }
            shown => shown,
        }
    }

    fn check_room(&self, key: &str, value: &str) -> Result<(), QueryError> {
        if key.len() + value.len() > MAX_BYTES {
            let text = format!("a setting has at most {MAX_BYTES} bytes, its name included");
            return Err(QueryError::new(QueryErrorKind::InvalidSetting, text));
        }
        let own = self.set.keys().filter(|known_key| known(known_key).is_none()).count();
        if own >= MAX_OWN && known(key).is_none() && !self.set.contains_key(key) {
            let text = format!("a connection has at most {MAX_OWN} settings of its own");
            return Err(QueryError::new(QueryErrorKind::Resources, text));
        }
        Ok(())
    }

    pub(crate) fn show(&self, name: &str) -> Result<Shown, QueryError> {
        let key = name.to_ascii_lowercase();
        let set = self.set.get(&key).cloned();
        match (known(&key), set) {
            (Some(parameter), set) => Ok(parameter.shown(set)),
            (None, Some(value)) => Ok(Shown { name: key, value, reported: false }),
            (None, None) => Err(unknown(name)),
        }
    }

    /// Every parameter, as PostgreSQL orders them.
    pub(crate) fn all(&self) -> Vec<Shown> {
        let own = self.set.iter().filter(|(key, _)| known(key).is_none());
        let own = own.map(|(key, value)| Shown {
            name: key.clone(),
            value: value.clone(),
            reported: false,
        });
        let parameters = PARAMETERS
            .iter()
            .map(|parameter| parameter.shown(self.set.get(&parameter.key()).cloned()));
        let mut all: Vec<Shown> = parameters.chain(own).collect();
        all.sort_by_key(|shown| shown.name.to_ascii_lowercase());
        all
    }

    /// Whether the planner reads rollups, where the connection says so.
    pub fn rollups(&self) -> Option<bool> {
        self.set.get(ROLLUPS).and_then(|value| value::switch(value))
    }

    /// The zone, where it is another than UTC.
    pub(crate) fn time_zone(&self) -> Option<Tz> {
        self.time_zone_name()?.parse().ok()
    }

    /// The name of that zone.
    pub(crate) fn time_zone_name(&self) -> Option<&str> {
        self.set.get("timezone").map(String::as_str).filter(|zone| !value::is_utc(zone))
    }

    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        let millis = self.set.get("statement_timeout")?.parse().ok().filter(|millis| *millis > 0);
        millis.map(Duration::from_millis)
    }

    pub(crate) fn extra_float_digits(&self) -> Option<i8> {
        self.set.get("extra_float_digits")?.parse().ok()
    }

    /// The schema of unqualified names, where it is another than the usual one.
    pub(crate) fn schema(&self) -> Option<&'static str> {
        let path = self.set.get("search_path")?;
        let mut words =
            path.split(',').map(|word| word.trim().trim_matches('"').to_ascii_lowercase());
        let ours = |word: String| [SCHEMA, LATEST, SYSTEM].into_iter().find(|own| *own == word);
        words.find_map(ours).filter(|schema| *schema != SCHEMA)
    }

    /// Whether anything depends on a parameter.
    pub(crate) fn has_effect(name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        EFFECTIVE.contains(&name.as_str())
    }

    /// Whether statements are planned as if nothing had been set.
    pub(crate) fn plans_as_usual(&self) -> bool {
        self.time_zone_name().is_none() && self.schema().is_none()
    }
}

fn known(name: &str) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name))
}

/// Names with a dot are the client's, as in PostgreSQL.
fn is_own(key: &str) -> bool {
    key.contains('.') && !key.starts_with(ENGINES) && !key.starts_with(OURS)
}

fn unknown(name: &str) -> QueryError {
    let key = name.to_ascii_lowercase();
    if key.starts_with(ENGINES) {
        let text = format!("{name} is a setting of the engine and cannot be set from SQL");
        return QueryError::new(QueryErrorKind::ReadOnly, text);
    }
    let hint = if key.starts_with(OURS) { format!("; there is {ROLLUPS}") } else { String::new() };
    let text = format!("unrecognized configuration parameter \"{name}\"{hint}");
    QueryError::new(QueryErrorKind::UnknownSetting, text)
}

impl Parameter {
    fn key(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    fn shown(&self, set: Option<String>) -> Shown {
        let value = set.unwrap_or_else(|| self.default.to_owned());
        let value = if self.span == Some(Span::Millis) { value::in_words(&value) } else { value };
        Shown { name: self.name.to_owned(), value, reported: self.reported }
    }
}

/// So that functions and rules find them in the session's configuration.
impl ConfigExtension for SessionSettings {
    const PREFIX: &'static str = "session";
}

impl ExtensionOptions for SessionSettings {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> DataFusionResult<()> {
        let set = self.change(key, value);
        set.map(|_| ()).map_err(|error| datafusion::common::plan_datafusion_err!("{error}"))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
