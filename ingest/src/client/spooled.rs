//! A producer whose frames wait in a spool: it takes them at any time, with or without a server.

use super::feed::Feed;
use super::options::{ClientError, ClientOptions, Summary};
use super::remote::{Remote, dial};
use super::state::{Phase, Shared};
use super::{connection, refusals::Refusals};
use crate::spool::{Spool, SpoolCounts};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use warpline_storage::Acknowledged;
use warpline_storage::model::{Layout, ProducerId, Timestamp};

/// One producer's stream out of its spool. It connects and reconnects by itself; what is not sent
/// when it is dropped stays in the spool's folder.
#[derive(Debug)]
pub struct SpoolClient {
    shared: Arc<Shared<Feed>>,
    connection: JoinHandle<()>,
}

/// What a finished stream has done.
#[derive(Clone, Debug)]
pub struct SpoolSummary {
    pub stream: Summary,
    pub spool: SpoolCounts,
}

impl SpoolClient {
    /// Begins to send what is in the spool; waits for nothing.
    pub fn start(
        server: impl Into<Remote>,
        producer: &ProducerId,
        spool: Spool,
    ) -> Result<Self, ClientError> {
        let link = dial(server)?;
        let backoff = ClientOptions::default().backoff;
        let shared = Arc::new(Shared::new(producer, backoff, Feed::new(spool)));
        let connection = tokio::spawn(connection::run(shared.clone(), link));
        Ok(Self { shared, connection })
    }

    /// Puts what was measured at a tick into the spool. Never waits for the server.
    pub fn append(&self, blocks: Vec<(Arc<Layout>, Bytes)>, now: Timestamp) {
        self.shared.with(|feed| feed.spool.append(blocks, now));
    }

    /// Waits until a server has answered.
    pub async fn met(&self, patience: Duration) -> Result<(), ClientError> {
        let waited = tokio::time::timeout(patience, self.shared.welcomed()).await;
        let reason = || self.shared.last_error();
        let unreachable = |_| ClientError::Unreachable { waited: patience, reason: reason() };
        waited.map_err(unreachable)?.map(drop)
    }

    /// Waits until the stream cannot go on.
    pub async fn failed(&self) -> ClientError {
        self.shared.failed().await
    }

    pub fn acknowledged(&self) -> watch::Receiver<Acknowledged> {
        self.shared.acknowledged()
    }

    pub fn counts(&self) -> SpoolCounts {
        self.shared.with(|feed| feed.spool.counts())
    }

    pub fn refusals(&self) -> Refusals {
        self.shared.refusals()
    }

    pub fn is_connected(&self) -> bool {
        self.shared.phase() == Phase::Streaming
    }

    /// Waits until the server has all on its disk, then ends the stream; at most for `patience`.
    /// Whether all was taken is told beside what was done.
    pub async fn finish(mut self, patience: Duration) -> Result<(SpoolSummary, bool), ClientError> {
        self.shared.close();
        // The task ends by itself; it cannot be cancelled from elsewhere.
        let ended = tokio::time::timeout(patience, &mut self.connection).await.is_ok();
        self.shared.failure().map_or(Ok(()), Err)?;
        let spool = self.counts();
        let stream = Summary {
            frames: spool.appended,
            bytes: spool.appended_bytes,
            acknowledged: *self.shared.acknowledged().borrow(),
            reconnects: self.shared.reconnects(),
            refusals: self.shared.refusals(),
        };
        Ok((SpoolSummary { stream, spool }, ended))
    }
}

impl Drop for SpoolClient {
    fn drop(&mut self) {
        self.shared.abandon();
        self.connection.abort();
    }
}
