//! What a server is told before it starts: defaults, then a TOML file, then `WARPLINE_...`
//! variables, then the command line; each overrides what came before.
//!
//! Promises: a server needs no file; a key that nobody reads is an error that names it. Every key
//! of section `s` named `k` has the variable `WARPLINE_S_K`.

mod environment;
mod maintenance;
mod units;

pub use maintenance::{MaintenanceConfig, RetentionConfig};
pub use units::{ByteSize, Keep, Span};

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use url::Url;
use warpline_ingest::dictionary::{Dictionary, DictionaryError};
use warpline_query::EngineOptions;
use warpline_storage::StorageOptions;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: ServerConfig,
    pub store: StoreConfig,
    pub storage: StorageConfig,
    pub maintenance: MaintenanceConfig,
    pub retention: RetentionConfig,
    pub limits: LimitsConfig,
    pub query: QueryConfig,
}

/// Where the server listens and keeps its data.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    pub data: PathBuf,
    pub listen: Address,
    pub postgres: Address,
    /// The file of tokens; in the data folder unless given.
    pub tokens: Option<PathBuf>,
    /// Fields beside those of the built-in dictionary, as CSV.
    pub dictionary: Option<PathBuf>,
    /// PEM files; both or neither.
    pub tls_certificate: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
}

/// Where the tables are. `options` go to the object store as they are (`aws_endpoint`, ...).
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    pub url: Option<Url>,
    pub options: HashMap<String, String>,
}

/// What the write path may use and how long it may wait.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    pub memory: ByteSize,
    pub flush_size: ByteSize,
    pub flush_interval: Span,
    pub segment_size: ByteSize,
    pub future_limit: Span,
}

/// How much one server takes in before it refuses with a reason.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    pub tables: usize,
    pub columns: usize,
    pub series: usize,
}

/// What queries may take.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryConfig {
    pub memory: ByteSize,
    /// Of one statement, out of that of all.
    pub statement_memory: ByteSize,
    /// Rows of one answer; 0 is any number.
    pub rows: u64,
    /// Decoded column chunks of data files, kept between statements.
    pub chunks: ByteSize,
    /// Plans kept for statements whose text comes again.
    pub plans: usize,
    /// Whether aggregates by bucket and tag go to the downsample operator.
    pub downsample: bool,
    /// Whether such aggregates read rollups where they answer.
    pub rollups: bool,
    pub threads: usize,
    pub timeout: Span,
}

/// Where a server listens. `localhost` is 127.0.0.1.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(try_from = "String", into = "String")]
pub struct Address(SocketAddr);

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}:{line}: {reason}", path.display())]
    File { path: PathBuf, line: usize, reason: String },
    #[error("the variable {name} is not usable: {reason}")]
    Variable { name: String, reason: String },
    #[error("{name} is not a setting; those of its section are {known}")]
    UnknownVariable { name: String, known: String },
    #[error("cannot use {} as the data folder: {source}", path.display())]
    Data { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Dictionary(#[from] DictionaryError),
}

impl Config {
    /// Defaults, overridden by the file if one is named, overridden by the variables.
    pub fn load(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let settings = match file {
            None => toml::Table::new(),
            Some(path) => read_file(path)?,
        };
        environment::apply(settings, variables)
    }

    /// What names of GPU fields mean: the built-in dictionary, with the fields of a file added.
    pub fn dictionary(&self) -> Result<Dictionary, DictionaryError> {
        Dictionary::with(self.server.dictionary.as_deref())
    }

    /// The storage room's options.
    pub fn storage_options(&self) -> Result<StorageOptions, ConfigError> {
        let unusable = |source| ConfigError::Data { path: self.server.data.clone(), source };
        let data = std::path::absolute(&self.server.data).map_err(unusable)?;
        std::fs::create_dir_all(&data).map_err(unusable)?;
        let mut options = StorageOptions::new(data);
        if let Some(url) = &self.store.url {
            options.store_url = url.clone();
        }
        options.store_options.clone_from(&self.store.options);
        options.memory_budget = self.storage.memory.0 as usize;
        options.flush_bytes = self.storage.flush_size.0 as usize;
        options.flush_interval = self.storage.flush_interval.0;
        options.segment_bytes = self.storage.segment_size.0;
        options.future_limit = self.storage.future_limit.0;
        options.maintenance = self.maintenance.options(&self.retention, &self.dictionary()?);
        options.limits.tables = self.limits.tables;
        options.limits.columns = self.limits.columns;
        options.limits.series = self.limits.series;
        Ok(options)
    }

    /// The same of a store that is there already: its data folder is not made.
    pub fn storage_options_of_a_store(&self) -> Result<StorageOptions, ConfigError> {
        if !self.server.data.is_dir() {
            let source = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(ConfigError::Data { path: self.server.data.clone(), source });
        }
        self.storage_options()
    }

    /// The query room's options.
    pub fn engine_options(&self) -> EngineOptions {
        EngineOptions {
            memory_bytes: self.query.memory.0 as usize,
            statement_bytes: self.query.statement_memory.0 as usize,
            answer_rows: if self.query.rows == 0 { u64::MAX } else { self.query.rows },
            chunk_bytes: self.query.chunks.0 as usize,
            plans: self.query.plans,
            downsample: self.query.downsample,
            rollups: self.query.rollups,
            threads: self.query.threads.max(1),
            timeout: self.query.timeout.0,
            ..EngineOptions::default()
        }
    }
}

impl Default for QueryConfig {
    fn default() -> Self {
        let options = EngineOptions::default();
        Self {
            memory: ByteSize(options.memory_bytes as u64),
            statement_memory: ByteSize(options.statement_bytes as u64),
            rows: 0,
            chunks: ByteSize(options.chunk_bytes as u64),
            plans: options.plans,
            downsample: options.downsample,
            rollups: options.rollups,
            threads: options.threads,
            timeout: Span(options.timeout),
        }
    }
}

/// The file's table, already known to hold settings only. Errors name their line and never quote
/// it: a store option can be a key to a bucket.
fn read_file(path: &Path) -> Result<toml::Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.into(), source })?;
    let unusable = |error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = 1 + before.matches('\n').count();
        ConfigError::File { path: path.into(), line, reason: error.message().to_owned() }
    };
    toml::from_str::<Config>(&text).map_err(unusable)?;
    toml::from_str(&text).map_err(unusable)
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            data: "warpline-data".into(),
            listen: Address(SocketAddr::from(([127, 0, 0, 1], 7480))),
            postgres: Address(SocketAddr::from(([127, 0, 0, 1], 7432))),
            tokens: None,
            dictionary: None,
            tls_certificate: None,
            tls_key: None,
        }
    }
}

impl Default for StorageConfig {
    fn default() -> Self {
        let options = StorageOptions::new("/");
        Self {
            memory: ByteSize(options.memory_budget as u64),
            flush_size: ByteSize(options.flush_bytes as u64),
            flush_interval: Span(options.flush_interval),
            segment_size: ByteSize(options.segment_bytes),
            future_limit: Span(options.future_limit),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let limits = warpline_storage::Limits::default();
        Self { tables: limits.tables, columns: limits.columns, series: limits.series }
    }
}

/// Values of store options can be keys to a bucket: they are never printed.
impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.options.keys().collect();
        f.debug_struct("StoreConfig").field("url", &self.url).field("options", &names).finish()
    }
}

impl Address {
    pub fn address(self) -> SocketAddr {
        self.0
    }

    /// The same address on another port; 0 lets the system choose.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.0.set_port(port);
        self
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let address = named.as_deref().unwrap_or(text).parse();
        let wrong = |_| format!("{text:?} is not an address: write 127.0.0.1:7480");
        address.map(Self).map_err(wrong)
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0.to_string()
    }
}

#[cfg(test)]
mod tests;
