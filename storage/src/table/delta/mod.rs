//! A table's log in Delta Lake's format, by way of the `deltalake` crate.
//!
//! A change becomes exactly the version it was made for or fails, so that its files can carry that
//! version in their tags, and so that no commit of another handle goes by unread. The crate's own
//! commits list the log and read their result back, which takes longer with every version that
//! there is: so the crate writes the change in its words, and it is put in its place here, where
//! nothing may lie. What the log then says is known without reading it ([`head`]).

mod actions;
mod checkpoint;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod head;

use super::files::{Listed, text_time};
use super::log::{Change, Entry, LogState, Mark, TableLog, TableLogs};
use super::schema::{DEDUPLICATED_UNTIL, PARTITION, columns, properties, table_schema};
use crate::error::{ErrorKind, StorageError};
use crate::model::TableSchema;
use crate::store::store_error;
use actions::{adds, file_of};
use async_trait::async_trait;
use checkpoint::Checkpoints;
use deltalake::kernel::transaction::{CommitData, CommitProperties, PROTOCOL, TransactionError};
use deltalake::kernel::{Action, Transaction};
use deltalake::logstore::{
    CommitOrBytes, LogStoreRef, StorageConfig, default_logstore, get_actions,
};
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::SaveMode;
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTableError, TableProperty};
use futures::{StreamExt, TryStreamExt};
use head::Head;
use object_store::ObjectStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use std::collections::HashMap;
use std::sync::Arc;
use url::Url;
use uuid::Uuid;

/// Names our changes in the log.
const CHANGE_ID: &str = "warpline.change";
/// How long versions can be read that are not the newest.
const LOG_RETENTION: &str = "interval 7 days";

/// How many tables are looked for at once.
const LOOKUPS: usize = 16;

#[derive(Debug)]
pub(super) struct DeltaLogs {
    store: Arc<dyn ObjectStore>,
}

impl DeltaLogs {
    pub(super) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// The folder's name where it holds a Delta log with anything in it.
    async fn table_name(&self, folder: Path) -> Result<Option<String>, StorageError> {
        let log = folder.clone().join("_delta_log");
        let mut entries = self.store.list(Some(&log));
        while let Some(entry) = entries.next().await {
            let entry = entry.map_err(|e| store_error(format!("{log} cannot be listed"), e))?;
            if matches!(entry.location.extension(), Some("json" | "parquet")) {
                return Ok(folder.filename().map(str::to_owned));
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl TableLogs for DeltaLogs {
    async fn names(&self) -> Result<Vec<String>, StorageError> {
        let root = self.store.list_with_delimiter(None).await;
        let folders = root.map_err(|e| store_error("the tables cannot be listed", e))?;
        let folders = futures::stream::iter(folders.common_prefixes);
        let found = folders.map(|folder| self.table_name(folder)).buffer_unordered(LOOKUPS);
        let mut names: Vec<String> =
            found.try_filter_map(async |name| Ok(name)).try_collect().await?;
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, table: &str) -> Result<Box<dyn TableLog>, StorageError> {
        Ok(Box::new(DeltaLog::new(self.store.clone(), table)?))
    }

    async fn create(&self, schema: &TableSchema) -> Result<Box<dyn TableLog>, StorageError> {
        let log = DeltaLog::new(self.store.clone(), &schema.table)?;
        log.create(schema).await?;
        Ok(Box::new(log))
    }
}

pub(super) struct DeltaLog {
    table: Arc<str>,
    log_store: LogStoreRef,
    head: Option<Head>,
    checkpoints: Checkpoints,
}

impl DeltaLog {
    pub(super) fn new(store: Arc<dyn ObjectStore>, table: &str) -> Result<Self, StorageError> {
        // The log store wants a URL; only its path counts, which is from our store's root.
        let url = Url::parse(&format!("warpline:///{table}/")).map_err(|error| {
            StorageError::because(ErrorKind::Rejected, format!("a table named {table:?}"), error)
        })?;
        let prefixed = PrefixStore::new(store.clone(), table);
        let config = StorageConfig::default();
        Ok(Self {
            table: table.into(),
            log_store: default_logstore(Arc::new(prefixed), store, &url, &config),
            head: None,
            checkpoints: Checkpoints::new(),
        })
    }

    #[cfg(test)]
    pub(super) fn with_checkpoint_interval(mut self, commits: u64) -> Self {
        self.checkpoints = Checkpoints::every(commits);
        self
    }

    /// Has it pass for one that has heard nothing of the log for long.
    #[cfg(test)]
    pub(super) fn age(&mut self) {
        self.head_mut().age();
    }

    /// Creates the table unless it is there already.
    pub(super) async fn create(&self, schema: &TableSchema) -> Result<(), StorageError> {
        let roles = properties(schema).map(|(name, value)| (name, Some(value)));
        let created = CreateBuilder::new()
            .with_log_store(self.log_store.clone())
            .with_table_name(&*self.table)
            .with_save_mode(SaveMode::Ignore)
            .with_columns(columns(schema)?)
            .with_partition_columns([PARTITION])
            .with_raise_if_key_not_exists(false)
            .with_configuration(roles)
            .with_configuration_property(TableProperty::EnableExpiredLogCleanup, Some("true"))
            .with_configuration_property(TableProperty::LogRetentionDuration, Some(LOG_RETENTION))
            .with_commit_properties(CommitProperties::default().with_max_retries(0))
            .await;
        match created {
            Ok(_) => Ok(()),
            // Whoever wrote version 0, the table is there.
            Err(error) => match DeltaTableState::try_new(&self.log_store, None).await {
                Ok(_) => Ok(()),
                Err(_) => Err(self.error("cannot be created", error)),
            },
        }
    }

    fn head(&self) -> &Head {
        self.head.as_ref().expect("a log is loaded before anything else is asked of it")
    }

    fn head_mut(&mut self) -> &mut Head {
        self.head.as_mut().expect("a log is loaded before anything else is asked of it")
    }

    /// The files of the version that was loaded with all that the log says of them.
    pub(super) fn listed(&self) -> Result<Vec<Listed>, StorageError> {
        let listed = adds(self.head().last_read()).map(|add| {
            let file = file_of(&self.table, &add)?;
            Ok(Listed::new(file, add.stats.as_deref(), &add.tags.unwrap_or_default()))
        });
        listed.collect()
    }

    fn error(&self, what: &str, error: DeltaTableError) -> StorageError {
        delta_error(&self.table, what, error)
    }
}

#[async_trait]
impl TableLog for DeltaLog {
    async fn load(&mut self) -> Result<LogState, StorageError> {
        let loaded = DeltaTableState::try_new(&self.log_store, None).await;
        let state = loaded.map_err(|e| self.error("cannot be read", e))?;
        let schema = table_schema(&self.table, &state.schema(), state.metadata().configuration())?;
        let files = adds(&state).map(|add| file_of(&self.table, &add));
        let files = files.collect::<Result<_, _>>()?;
        let version = state.version();
        let metadata = state.metadata();
        let id = metadata.id().into();
        let deduplicated_until =
            metadata.configuration().get(DEDUPLICATED_UNTIL).and_then(|text| text_time(text));
        self.checkpoints.look(&self.log_store).await;
        self.head = Some(Head::new(&self.table, &self.log_store, state));
        Ok(LogState { version, schema, id, deduplicated_until, files })
    }

    fn is_recent(&self) -> bool {
        self.head.as_ref().is_some_and(Head::is_recent)
    }

    async fn append(&mut self, change: &Change) -> Result<(), StorageError> {
        let head = self.head();
        assert_eq!(
            change.version,
            head.version() + 1,
            "a change follows the version it is made on"
        );
        let what = format!("has no version {} of ours", change.version);
        if !head.is_recent() {
            let text = format!("table {} {what}: the log is to be read first", self.table);
            return Err(StorageError::new(ErrorKind::Retry, text));
        }
        let mut actions = actions::actions(&self.table, change)?;
        let metadata = actions::metadata_after(&self.table, head.metadata(), change)?;
        actions.extend(metadata.clone().map(Action::Metadata));
        let operation = actions::operation(change);
        PROTOCOL
            .can_commit(head.last_read(), &actions, &operation)
            .map_err(|e| self.error(&what, e.into()))?;
        let id = HashMap::from([(CHANGE_ID.to_owned(), change.id.to_string().into())]);
        let marks = change.marks.iter().map(|mark| Transaction::new(&mark.name, mark.value));
        let commit = CommitData::new(actions, operation, id, marks.collect());
        let bytes = commit.get_bytes().map_err(|e| self.error(&what, e.into()))?;
        self.log_store
            .write_commit_entry(change.version, CommitOrBytes::LogBytes(bytes), Uuid::new_v4())
            .await
            .map_err(|e| self.error(&what, e.into()))?;
        self.head_mut().advance(change, metadata);
        self.checkpoints.write_if_due(&self.table, &self.log_store, change.version);
        Ok(())
    }

    async fn read(&self, version: u64) -> Result<Entry, StorageError> {
        let bytes = self.log_store.read_commit_entry(version).await;
        let bytes = bytes.map_err(|e| self.error("cannot be read", e))?.ok_or_else(|| {
            let what = format!("table {}: version {version} is gone from its log", self.table);
            StorageError::new(ErrorKind::Fenced, what)
        })?;
        let actions = get_actions(version, &bytes).map_err(|e| self.error("cannot be read", e))?;
        let mut entry = Entry::default();
        for action in actions {
            match action {
                Action::CommitInfo(info) => {
                    let id = info.info.get(CHANGE_ID).and_then(|id| id.as_str());
                    entry.id = id.and_then(|id| id.parse().ok());
                }
                Action::Txn(transaction) => {
                    let (name, value) = (transaction.app_id, transaction.version);
                    entry.marks.push(Mark { name, value });
                }
                _ => {}
            }
        }
        Ok(entry)
    }

    async fn mark(&mut self, name: &str) -> Result<Option<i64>, StorageError> {
        self.head_mut().mark(name).await
    }

    async fn removed(&mut self) -> Result<&[(Path, i64)], StorageError> {
        self.head_mut().removed().await
    }
}

impl std::fmt::Debug for DeltaLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeltaLog")
            .field("table", &self.table)
            .field("version", &self.head.as_ref().map(Head::version))
            .finish_non_exhaustive()
    }
}

/// The error of a table, with what its caller can do.
fn delta_error(table: &str, what: &str, error: DeltaTableError) -> StorageError {
    let what = format!("table {table} {what}");
    let kind = match error {
        DeltaTableError::ObjectStore { source }
        | DeltaTableError::Transaction { source: TransactionError::ObjectStore { source } } => {
            return store_error(what, source);
        }
        DeltaTableError::InvalidJsonLog { .. }
        | DeltaTableError::InvalidStatsJson { .. }
        | DeltaTableError::InvalidData { .. } => ErrorKind::Corrupt,
        DeltaTableError::NotATable(_)
        | DeltaTableError::Transaction {
            source:
                TransactionError::UnsupportedTableFeatures(_)
                | TransactionError::TableFeaturesRequired(_)
                | TransactionError::DeltaTableAppendOnly,
        } => ErrorKind::Rejected,
        // Most others carry a failure of the store as text.
        _ => ErrorKind::Retry,
    };
    StorageError::because(kind, what, error)
}
