//! Blocks of all requests become batches of one producer, and wait until they are durable.
//!
//! The producer's name is the server's own, and its sequences go on where the log has them: they
//! are given out under a lock that is held until the writer has the batch, so they reach it in
//! their order. Requests wait for the disk side by side: one sync serves all that came meanwhile.

use super::answer::Failure;
use crate::stream::SERVER_PRODUCER;
use std::time::Duration;
use tokio::sync::Mutex;
use warpline_storage::model::{Batch, Block, ProducerId, Sequence};
use warpline_storage::{ErrorKind, Storage};

#[derive(Debug)]
pub(super) struct Intake {
    storage: Storage,
    producer: ProducerId,
    last: Mutex<Sequence>,
    patience: Duration,
}

impl Intake {
    pub(super) fn new(storage: Storage, patience: Duration) -> Self {
        let producer = ProducerId::new(SERVER_PRODUCER).expect("the name is short");
        let last = storage.producer(&producer).borrow().durable;
        Self { storage, producer, last: Mutex::new(last), patience }
    }

    pub(super) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Answers once the blocks are on disk. Where it fails they may come to be there all the
    /// same: sent again, they are the same rows.
    pub(super) async fn store(&self, blocks: Vec<Block>) -> Result<(), Failure> {
        if blocks.is_empty() {
            return Ok(());
        }
        let full = "the store's memory is full (storage.memory): it takes rows again once some are \
                    flushed";
        let appended = tokio::time::timeout(self.patience, self.append(blocks)).await;
        appended.map_err(|_| Failure::busy(full))??;
        let synced = tokio::time::timeout(self.patience, self.storage.sync()).await;
        Ok(synced.map_err(|_| Failure::busy("the log's disk is slow"))??)
    }

    async fn append(&self, blocks: Vec<Block>) -> Result<(), Failure> {
        let mut last = self.last.lock().await;
        *last += 1;
        let batch = Batch { producer: self.producer.clone(), sequence: *last, blocks };
        let appended = self.storage.append(batch).await;
        if let Err(error) = &appended
            && error.kind() == ErrorKind::Internal
        {
            tracing::error!(%error, "rows of a request were not taken");
        }
        Ok(appended?)
    }
}
