//! A producer's side of the native stream.
//!
//! ```text
//! send -> window (bounded) -> one gRPC stream -> server
//!              ^  frames leave when acknowledged; what is left is resent after a reconnect
//! ```
//! [`StreamClient`] keeps its frames in memory, [`SpoolClient`] in a [`crate::spool::Spool`].
//! Promises: frames are taken in order and once, by sequence, however often the connection breaks;
//! `send` waits where the window is full, so a slow server costs a bounded amount of memory;
//! nothing is dropped without being told as a refusal or an error.

mod connection;
mod feed;
mod options;
mod outbound;
mod refusals;
mod remote;
mod spooled;
mod state;
mod window;

pub use options::{ClientError, ClientOptions, Summary};
pub use refusals::Refusals;
pub use remote::{Link, Remote, dial};
pub use spooled::{SpoolClient, SpoolSummary};

use crate::frame;
use bytes::Bytes;
use state::{Phase, Shared};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use warpline_storage::Acknowledged;
use warpline_storage::model::{Layout, ProducerId, Sequence};
use window::Window;

/// One producer's stream. It reconnects by itself; dropping it abandons what is not acknowledged.
#[derive(Debug)]
pub struct StreamClient {
    shared: Arc<Shared<Window>>,
    connection: JoinHandle<()>,
    next: Sequence,
    summary: Summary,
}

impl StreamClient {
    /// Connects to `server` and returns when it has said where it stands.
    pub async fn connect(
        server: impl Into<Remote>,
        producer: ProducerId,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        Self::connect_over(dial(server)?, producer, options).await
    }

    /// The same over a connection that carries other producers' streams too: see [`dial`].
    pub async fn connect_over(
        link: Link,
        producer: ProducerId,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let shared = Arc::new(Shared::new(&producer, options.backoff, Window::new(&options)));
        let connection = tokio::spawn(connection::run(shared.clone(), link));
        let summary = Summary::default();
        let mut client = Self { shared, connection, next: 0, summary };
        let waited = tokio::time::timeout(options.patience, client.shared.welcomed()).await;
        let welcome = waited.map_err(|_| client.unreachable(&options))??;
        client.next = options.start.unwrap_or(welcome.durable + 1);
        Ok(client)
    }

    fn unreachable(&self, options: &ClientOptions) -> ClientError {
        let reason = self.shared.last_error();
        ClientError::Unreachable { waited: options.patience, reason }
    }

    /// Names a layout for this stream; its number stands for it in [`StreamClient::send`].
    #[expect(clippy::unused_async, reason = "a server may come to bound what is defined ahead")]
    pub async fn define(&mut self, layout: Arc<Layout>) -> Result<u32, ClientError> {
        self.shared.with(|window| window.define(&layout))
    }

    /// Sends blocks, each under its layout's number, as one frame. Waits while the window of
    /// frames that are not durable is full; on return the frame is in the window, not yet durable.
    pub async fn send(&mut self, blocks: Vec<(u32, Bytes)>) -> Result<Sequence, ClientError> {
        self.shared.with(|window| window.check_frame(&blocks))?;
        let sequence = self.next;
        let message = frame::frame(sequence, &blocks);
        drop(blocks);
        self.summary.bytes += message.len() as u64;
        self.push(sequence, &message).await?;
        self.summary.frames += 1;
        self.next += 1;
        Ok(sequence)
    }

    async fn push(&self, sequence: Sequence, message: &Bytes) -> Result<(), ClientError> {
        loop {
            self.shared.failure().map_or(Ok(()), Err)?;
            if self.shared.with(|window| window.push(sequence, message)) {
                return Ok(());
            }
            self.shared.room().await;
        }
    }

    /// The sequence that the next frame will have.
    pub fn next_sequence(&self) -> Sequence {
        self.next
    }

    /// How far the server is with this producer's frames.
    pub fn acknowledged(&self) -> watch::Receiver<Acknowledged> {
        self.shared.acknowledged()
    }

    /// What the server did not take so far.
    pub fn refusals(&self) -> Refusals {
        self.shared.refusals()
    }

    /// Whether the stream stands at this moment.
    pub fn is_connected(&self) -> bool {
        self.shared.phase() == Phase::Streaming
    }

    /// Waits until all that was sent is durable, then ends the stream.
    pub async fn finish(mut self) -> Result<Summary, ClientError> {
        self.shared.close();
        // The task ends by itself; it cannot be cancelled from elsewhere.
        drop((&mut self.connection).await);
        self.shared.failure().map_or(Ok(()), Err)?;
        let mut summary = self.summary.clone();
        summary.acknowledged = *self.shared.acknowledged().borrow();
        summary.refusals = self.shared.refusals();
        summary.reconnects = self.shared.reconnects();
        Ok(summary)
    }
}

impl Drop for StreamClient {
    fn drop(&mut self) {
        self.shared.abandon();
        self.connection.abort();
    }
}
