//! What a client can be told, and what it can answer.

use super::refusals::Refusals;
use std::time::Duration;
use warpline_storage::Acknowledged;
use warpline_storage::model::Sequence;

#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Frames, and their bytes, that may be under way without being durable. More frames hide a
    /// longer round trip; bytes bound this producer's memory.
    pub window_frames: usize,
    pub window_bytes: usize,
    /// The sequence of the first frame. `None` continues after the server's last one; a producer
    /// that numbers its own journal says its own, and frames the server has are passed over.
    pub start: Option<Sequence>,
    /// How long `connect` tries before it gives up. Later losses are retried without an end.
    pub patience: Duration,
    /// Waits between attempts double from the first to the last, each cut short at random.
    pub backoff: (Duration, Duration),
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            window_frames: 1_024,
            window_bytes: 16 << 20,
            start: None,
            patience: Duration::from_secs(10),
            backoff: (Duration::from_millis(100), Duration::from_secs(5)),
        }
    }
}

/// What a finished stream has done.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Frames and their bytes, each counted once however often it was sent.
    pub frames: u64,
    pub bytes: u64,
    pub acknowledged: Acknowledged,
    pub reconnects: u64,
    pub refusals: Refusals,
}

/// Why a stream cannot go on; none of them goes away by waiting.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{url}: {reason}; use http://host:port or https://")]
    Address { url: String, reason: String },
    #[error("no stream within {waited:?}: {reason}")]
    Unreachable { waited: Duration, reason: String },
    #[error(
        "a message of {bytes} bytes is larger than the server's limit of {limit}: send less at once"
    )]
    TooLarge { bytes: usize, limit: usize },
    #[error("layout {number} is not defined on this stream")]
    UnknownLayout { number: u32 },
    #[error("the server ended the stream for good ({code}): {reason}")]
    Refused { code: &'static str, reason: String },
    #[error(
        "the server has frames up to {durable} of this producer, and this process sent none after \
         {claimed}: another process has the same producer id; give each its own"
    )]
    Overtaken { durable: Sequence, claimed: Sequence },
    #[error("the server sent what is no answer: {0}")]
    Protocol(String),
}
