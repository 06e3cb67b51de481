//! Checkpoints of a table's log, written in the background, and the end of versions before them.

use deltalake::checkpoints::{cleanup_metadata, create_checkpoint};
use deltalake::logstore::LogStoreRef;
use deltalake::{DeltaTable, DeltaTableError};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Versions from one checkpoint to the next: as many are read one by one by whoever opens a table.
const INTERVAL: u64 = 50;

pub(super) struct Checkpoints {
    interval: u64,
    /// The version of the newest one that was written or tried.
    newest: u64,
    writing: Option<JoinHandle<()>>,
}

impl Checkpoints {
    pub(super) fn new() -> Self {
        Self { interval: INTERVAL, newest: 0, writing: None }
    }

    #[cfg(test)]
    pub(super) fn every(interval: u64) -> Self {
        Self { interval, ..Self::new() }
    }

    /// Learns of those that others have written.
    pub(super) async fn look(&mut self, log_store: &LogStoreRef) {
        self.newest = self.newest.max(newest(log_store).await);
    }

    /// Starts one at `version` where it is due and none is being written.
    pub(super) fn write_if_due(&mut self, table: &Arc<str>, log_store: &LogStoreRef, version: u64) {
        let busy = self.writing.as_ref().is_some_and(|writing| !writing.is_finished());
        if busy || version < self.newest + self.interval {
            return;
        }
        self.newest = version;
        let (table, log_store) = (table.clone(), log_store.clone());
        self.writing = Some(tokio::spawn(async move {
            if let Err(error) = write(log_store).await {
                tracing::warn!(%table, %error, "no checkpoint was written");
            }
        }));
    }
}

/// The version of the newest checkpoint; 0 where there is none or it cannot be told, which costs
/// no more than a checkpoint too many.
async fn newest(log_store: &LogStoreRef) -> u64 {
    let store = log_store.object_store(None);
    let Ok(found) = store.get(&Path::from("_delta_log/_last_checkpoint")).await else { return 0 };
    let Ok(bytes) = found.bytes().await else { return 0 };
    let hint: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    hint.and_then(|hint| hint["version"].as_u64()).unwrap_or(0)
}

async fn write(log_store: LogStoreRef) -> Result<(), DeltaTableError> {
    let mut table = DeltaTable::new(log_store);
    table.load().await?;
    create_checkpoint(&table, None).await?;
    cleanup_metadata(&table, None).await?;
    Ok(())
}
