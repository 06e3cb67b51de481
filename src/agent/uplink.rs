//! The agent's stream: layouts are named once, and a message that is too large does not stop it.

use bytes::Bytes;
use std::sync::Arc;
use tracing::warn;
use url::Url;
use warpline_ingest::client::{ClientError, ClientOptions, Keep, StreamClient, Summary};
use warpline_storage::Acknowledged;
use warpline_storage::model::{Layout, ProducerId, Sequence};

/// Layouts after which a fresh stream is begun, or so many times those of a tick: jobs come and
/// go, and each change of labels is a new layout, which client and server keep as long as the
/// stream lives.
const MANY_LAYOUTS: usize = 64;
const MANY_TIMES: usize = 4;

/// So many times that, a fresh stream is not put off until all is stored.
const TOO_MANY_TIMES: usize = 4;

/// Frames under way; their bytes bound them.
const MAX_FRAMES: usize = 1 << 16;

#[derive(Debug)]
pub(super) struct Uplink {
    server: Url,
    producer: ProducerId,
    spool: usize,
    client: StreamClient,
    /// Layouts that the stream knows, with their numbers; `None` where one is too large for it.
    layouts: Vec<(Arc<Layout>, Option<u32>)>,
}

/// Why the uplink cannot go on.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct UplinkError(#[from] ClientError);

impl Uplink {
    /// Connects; sequences go on after the last one that the server has of this producer.
    pub(super) async fn connect(
        server: &Url,
        producer: &ProducerId,
        spool: usize,
    ) -> Result<Self, UplinkError> {
        let options = ClientOptions {
            window_frames: MAX_FRAMES,
            window_bytes: spool,
            keep: Keep::Stored { bytes: spool },
            ..ClientOptions::default()
        };
        let (server, producer) = (server.clone(), producer.clone());
        let client = StreamClient::connect(server.clone(), producer.clone(), options).await?;
        Ok(Self { server, producer, spool, client, layouts: Vec::new() })
    }

    /// The same, trying until the server answers: an agent may be started before it.
    pub(super) async fn connect_patiently(
        server: &Url,
        producer: &ProducerId,
        spool: usize,
    ) -> Result<Self, UplinkError> {
        loop {
            match Self::connect(server, producer, spool).await {
                Err(UplinkError(error @ ClientError::Unreachable { .. })) => {
                    warn!("{server}: {error}; trying on");
                }
                other => return other,
            }
        }
    }

    /// Sends a tick as one frame, or block by block where that is too large. Waits while the spool
    /// is full.
    pub(super) async fn send(
        &mut self,
        blocks: Vec<(Arc<Layout>, Bytes)>,
    ) -> Result<(), UplinkError> {
        self.begin_anew_if_due(blocks.len()).await?;
        let mut numbered = Vec::with_capacity(blocks.len());
        for (layout, bytes) in blocks {
            if let Some(number) = self.number(layout).await? {
                numbered.push((number, bytes));
            }
        }
        if numbered.is_empty() {
            return Ok(());
        }
        match self.client.send(numbered.clone()).await {
            Err(ClientError::TooLarge { .. }) => self.send_apart(numbered).await,
            sent => Ok(sent.map(drop)?),
        }
    }

    async fn send_apart(&mut self, blocks: Vec<(u32, Bytes)>) -> Result<(), UplinkError> {
        for block in blocks {
            match self.client.send(vec![block]).await {
                Err(error @ ClientError::TooLarge { .. }) => warn!("left out: {error}"),
                sent => drop(sent?),
            }
        }
        Ok(())
    }

    /// The number of a layout on this stream; `None` if it is too large to be sent.
    async fn number(&mut self, layout: Arc<Layout>) -> Result<Option<u32>, UplinkError> {
        let same = |known: &Arc<Layout>| Arc::ptr_eq(known, &layout) || **known == *layout;
        if let Some((_, number)) = self.layouts.iter().find(|(known, _)| same(known)) {
            return Ok(*number);
        }
        let number = match self.client.define(layout.clone()).await {
            Ok(number) => Some(number),
            Err(error @ ClientError::TooLarge { .. }) => {
                warn!("table {} of a target is left out: {error}", layout.table());
                None
            }
            Err(error) => return Err(error.into()),
        };
        self.layouts.push((layout, number));
        Ok(number)
    }

    /// Begins a fresh stream when many layouts were defined; the server ends the older one, and
    /// what that kept goes with it.
    async fn begin_anew_if_due(&mut self, in_use: usize) -> Result<(), UplinkError> {
        let now = *self.client.acknowledged().borrow();
        let last = self.client.next_sequence() - 1;
        let due = is_due(self.layouts.len(), in_use, last, now);
        if !(due && self.client.is_connected()) {
            return Ok(());
        }
        *self = Self::connect_patiently(&self.server, &self.producer, self.spool).await?;
        Ok(())
    }

    /// Waits until all that was sent is durable.
    pub(super) async fn finish(self) -> Result<Summary, UplinkError> {
        Ok(self.client.finish().await?)
    }
}

/// Whether a stream with so many layouts should give way to a fresh one, now that `last` is the
/// last frame. Never before all is durable; if it can be, when all is stored.
fn is_due(layouts: usize, in_use: usize, last: Sequence, now: Acknowledged) -> bool {
    let many = MANY_LAYOUTS.max(MANY_TIMES * in_use);
    let settled = if layouts < TOO_MANY_TIMES * many { now.stored } else { now.durable };
    layouts >= many && settled == last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_stream_waits_until_all_is_stored_but_not_for_ever() {
        let stored = Acknowledged { durable: 9, stored: 9 };
        let durable = Acknowledged { durable: 9, stored: 8 };
        let under_way = Acknowledged { durable: 8, stored: 8 };
        let due = |layouts, in_use, now| is_due(layouts, in_use, 9, now);
        assert!(!due(63, 2, stored) && due(64, 2, stored));
        assert!(!due(64, 2, durable) && !due(255, 2, durable) && due(256, 2, durable));
        assert!(!due(256, 2, under_way));
        assert!(!due(399, 100, stored) && due(400, 100, stored), "many targets, many layouts");
    }
}
