//! A table's log in Delta Lake's format, by way of the `deltalake` crate.
//!
//! The crate may rebase a commit onto versions that others wrote meanwhile. We do not let it: a
//! change becomes exactly the version it was made for or fails, so that its files can carry that
//! version in their tags, and so that no commit of another handle goes by unread.
//!
//! The crate's commits grow slower with the versions since the checkpoint that its state started
//! from. So a checkpoint is written in the background now and then, and the state is read anew.

use super::files::{Listed, WrittenFile, data_file, in_store, text_time, time_text};
use super::log::{Change, Entry, LogState, Mark, TableLog, TableLogs};
use super::schema::{DEDUPLICATED_UNTIL, PARTITION, columns, properties, table_schema};
use crate::error::{ErrorKind, StorageError};
use crate::model::TableSchema;
use crate::snapshot::DataFile;
use crate::store::store_error;
use async_trait::async_trait;
use deltalake::checkpoints::{cleanup_metadata, create_checkpoint};
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake::kernel::{Action, Add, Metadata, MetadataExt, Remove, StructType, Transaction};
use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore, get_actions};
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, DeltaTableError, TableProperty};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::JoinHandle;
use url::Url;

/// Names our changes in the log.
const CHANGE_ID: &str = "warpline.change";
const CHECKPOINT_INTERVAL: u64 = 50;
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
    state: Option<DeltaTableState>,
    checkpoint_interval: u64,
    /// The version of the newest checkpoint that was written or tried.
    checkpointed: u64,
    checkpoint: Option<JoinHandle<()>>,
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
            state: None,
            checkpoint_interval: CHECKPOINT_INTERVAL,
            checkpointed: 0,
            checkpoint: None,
        })
    }

    #[cfg(test)]
    pub(super) fn with_checkpoint_interval(mut self, commits: u64) -> Self {
        self.checkpoint_interval = commits;
        self
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

    fn state(&self) -> &DeltaTableState {
        self.state.as_ref().expect("a log is loaded before anything else is asked of it")
    }

    fn actions(&self, change: &Change) -> Result<Vec<Action>, StorageError> {
        let removed = change.removed.iter().map(|file| self.remove(file, change.changes_rows));
        let mut actions: Vec<_> = removed.collect::<Result<_, _>>()?;
        let added = change.files.iter();
        actions.extend(added.map(|file| Action::Add(add(file, change))));
        actions.extend(self.metadata(change)?.map(Action::Metadata));
        Ok(actions)
    }

    /// The table's metadata, where the change changes them.
    fn metadata(&self, change: &Change) -> Result<Option<Metadata>, StorageError> {
        let mut settings = Vec::new();
        let mut metadata = self.state().metadata().clone();
        if let Some(schema) = &change.schema {
            let columns = StructType::try_new(columns(schema)?).map_err(|error| {
                StorageError::because(ErrorKind::Rejected, format!("table {}", self.table), error)
            })?;
            let widened = metadata.with_schema(&columns);
            metadata = widened.map_err(|e| self.error("cannot be widened", e.into()))?;
            settings.extend(properties(schema));
        }
        if let Some(time) = change.deduplicated_until {
            settings.push((DEDUPLICATED_UNTIL, time_text(time)));
        }
        if settings.is_empty() {
            return Ok(None);
        }
        for (key, value) in settings {
            let set = metadata.add_config_key(key.to_owned(), value);
            metadata = set.map_err(|e| self.error("takes no property", e.into()))?;
        }
        Ok(Some(metadata))
    }

    fn remove(&self, file: &DataFile, changes_rows: bool) -> Result<Action, StorageError> {
        let path = file.path.as_ref().strip_prefix(&*self.table);
        let path = path.and_then(|path| path.strip_prefix('/')).ok_or_else(|| {
            StorageError::internal(format!("{} is no file of table {}", file.path, self.table))
        })?;
        let date = (PARTITION.to_owned(), Some(file.date.to_string()));
        Ok(Action::Remove(Remove {
            path: path.to_owned(),
            data_change: changes_rows,
            deletion_timestamp: Some(chrono::Utc::now().timestamp_millis()),
            extended_file_metadata: Some(true),
            partition_values: Some(HashMap::from([date])),
            size: Some(file.bytes as i64),
            ..Remove::default()
        }))
    }

    /// The files of the handle's version with all that the log says of them.
    pub(super) fn listed(&self) -> Result<Vec<Listed>, StorageError> {
        let listed = adds(self.state()).map(|add| {
            let file = file_of(&self.table, &add)?;
            Ok(Listed::new(file, add.stats.as_deref(), &add.tags.unwrap_or_default()))
        });
        listed.collect()
    }

    /// Starts a checkpoint where one is due, and reads the state anew where one has been written.
    async fn maintain(&mut self) {
        if self.checkpoint.as_ref().is_some_and(JoinHandle::is_finished) {
            self.checkpoint = None;
            let version = Some(self.state().version());
            match DeltaTableState::try_new(&self.log_store, version).await {
                Ok(state) => self.state = Some(state),
                Err(error) => {
                    tracing::warn!(table = %self.table, %error, "the table was not read anew");
                }
            }
        }
        let version = self.state().version();
        if self.checkpoint.is_none() && version >= self.checkpointed + self.checkpoint_interval {
            self.checkpointed = version;
            let (table, log_store) = (self.table.clone(), self.log_store.clone());
            self.checkpoint = Some(tokio::spawn(async move {
                if let Err(error) = write_checkpoint(log_store).await {
                    tracing::warn!(%table, %error, "no checkpoint was written");
                }
            }));
        }
    }

    fn error(&self, what: &str, error: DeltaTableError) -> StorageError {
        let what = format!("table {} {what}", self.table);
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
        self.checkpointed = self.checkpointed.max(last_checkpoint(&self.log_store).await);
        self.state = Some(state);
        Ok(LogState { version, schema, id, deduplicated_until, files })
    }

    async fn append(&mut self, change: &Change) -> Result<(), StorageError> {
        let mut properties = CommitProperties::default()
            .with_max_retries(0)
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false))
            .with_metadata([(CHANGE_ID.to_owned(), change.id.to_string().into())]);
        for Mark { name, value } in &change.marks {
            let transaction = Transaction::new(name, *value);
            properties = properties.with_application_transaction(transaction);
        }
        let committed = CommitBuilder::from(properties)
            .with_actions(self.actions(change)?)
            .build(Some(self.state()), self.log_store.clone(), operation(change))
            .await
            .map_err(|e| self.error(&format!("has no version {} of ours", change.version), e))?;
        assert_eq!(committed.version, change.version, "a commit is never rebased");
        self.state = Some(committed.snapshot);
        self.maintain().await;
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

    async fn mark(&self, name: &str) -> Result<Option<i64>, StorageError> {
        let found = self.state().transaction_version(&self.log_store, name).await;
        found.map_err(|e| self.error("cannot be read", e))
    }

    async fn removed(&self) -> Result<Vec<(Path, i64)>, StorageError> {
        let tombstones: Vec<_> = (self.state().all_tombstones(&self.log_store).try_collect().await)
            .map_err(|e| self.error("cannot be read", e))?;
        let removed = tombstones.iter().map(|view| {
            Ok((in_store(&self.table, &view.path())?, view.deletion_timestamp().unwrap_or(0)))
        });
        removed.collect()
    }
}

impl std::fmt::Debug for DeltaLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let version = self.state.as_ref().map(DeltaTableState::version);
        f.debug_struct("DeltaLog")
            .field("table", &self.table)
            .field("version", &version)
            .finish_non_exhaustive()
    }
}

#[expect(deprecated, reason = "the only public way to a file's tags")]
fn adds(state: &DeltaTableState) -> impl Iterator<Item = Add> {
    state.log_data().into_iter().map(|view| view.add_action())
}

fn file_of(table: &str, add: &Add) -> Result<DataFile, StorageError> {
    let none = HashMap::new();
    let tags = add.tags.as_ref().unwrap_or(&none);
    let date = add.partition_values.get(PARTITION).and_then(Option::as_deref);
    let date = date.unwrap_or_default();
    data_file(table, &add.path, add.size as u64, date, add.stats.as_deref(), tags)
}

/// What other programs are told of a change.
fn operation(change: &Change) -> DeltaOperation {
    if change.removed.is_empty() || change.changes_rows {
        let partition_by = Some(vec![PARTITION.to_owned()]);
        return DeltaOperation::Write { mode: SaveMode::Append, partition_by, predicate: None };
    }
    DeltaOperation::Optimize { predicate: None, target_size: 0 }
}

fn add(file: &WrittenFile, change: &Change) -> Add {
    let date = (PARTITION.to_owned(), Some(file.about.date.to_string()));
    Add {
        path: file.path.clone(),
        partition_values: HashMap::from([date]),
        size: file.bytes as i64,
        modification_time: chrono::Utc::now().timestamp_millis(),
        data_change: change.changes_rows,
        stats: Some(file.statistics()),
        tags: Some(file.tags(change.version)),
        ..Add::default()
    }
}

/// The version of the newest checkpoint; 0 where there is none or it cannot be told, which costs
/// no more than a checkpoint too many.
async fn last_checkpoint(log_store: &LogStoreRef) -> u64 {
    let store = log_store.object_store(None);
    let Ok(found) = store.get(&Path::from("_delta_log/_last_checkpoint")).await else { return 0 };
    let Ok(bytes) = found.bytes().await else { return 0 };
    let hint: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    hint.and_then(|hint| hint["version"].as_u64()).unwrap_or(0)
}

async fn write_checkpoint(log_store: LogStoreRef) -> Result<(), DeltaTableError> {
    let mut table = DeltaTable::new(log_store);
    table.load().await?;
    create_checkpoint(&table, None).await?;
    cleanup_metadata(&table, None).await?;
    Ok(())
}
