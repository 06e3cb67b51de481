//! A change in Delta's words, and what these say of a file.

use crate::error::{ErrorKind, StorageError};
use crate::snapshot::DataFile;
use crate::table::files::{WrittenFile, data_file, time_text};
use crate::table::log::Change;
use crate::table::schema::{DEDUPLICATED_UNTIL, PARTITION, columns, properties};
use deltalake::kernel::{Action, Add, Metadata, MetadataExt, Remove, StructType};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::state::DeltaTableState;
use std::collections::HashMap;

/// What the change does to the table's files.
pub(super) fn actions(table: &str, change: &Change) -> Result<Vec<Action>, StorageError> {
    let removed = change.removed.iter().map(|file| remove(table, file, change.changes_rows));
    let mut actions: Vec<_> = removed.collect::<Result<_, _>>()?;
    actions.extend(change.files.iter().map(|file| Action::Add(add(file, change))));
    Ok(actions)
}

/// The table's metadata after the change, where that changes them.
pub(super) fn metadata_after(
    table: &str,
    before: &Metadata,
    change: &Change,
) -> Result<Option<Metadata>, StorageError> {
    let mut settings = Vec::new();
    let mut metadata = before.clone();
    if let Some(schema) = &change.schema {
        let columns = StructType::try_new(columns(schema)?);
        let columns = columns.map_err(|e| rejected(table, e))?;
        metadata = metadata.with_schema(&columns).map_err(|e| rejected(table, e))?;
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
        metadata = set.map_err(|e| rejected(table, e))?;
    }
    Ok(Some(metadata))
}

fn rejected(table: &str, error: impl std::error::Error + Send + Sync + 'static) -> StorageError {
    StorageError::because(ErrorKind::Rejected, format!("table {table}"), error)
}

/// What other programs are told of a change.
pub(super) fn operation(change: &Change) -> DeltaOperation {
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

fn remove(table: &str, file: &DataFile, changes_rows: bool) -> Result<Action, StorageError> {
    let path = file.path.as_ref().strip_prefix(table);
    let path = path.and_then(|path| path.strip_prefix('/')).ok_or_else(|| {
        StorageError::internal(format!("{} is no file of table {table}", file.path))
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

#[expect(deprecated, reason = "the only public way to a file's tags")]
pub(super) fn adds(state: &DeltaTableState) -> impl Iterator<Item = Add> {
    state.log_data().into_iter().map(|view| view.add_action())
}

pub(super) fn file_of(table: &str, add: &Add) -> Result<DataFile, StorageError> {
    let none = HashMap::new();
    let tags = add.tags.as_ref().unwrap_or(&none);
    let date = add.partition_values.get(PARTITION).and_then(Option::as_deref);
    let date = date.unwrap_or_default();
    data_file(table, &add.path, add.size, date, add.stats.as_deref(), tags)
}
