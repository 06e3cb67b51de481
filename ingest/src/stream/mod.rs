//! The server's side of the native stream: frames of producers become batches of the store.
//!
//! ```text
//! Hello -> Welcome       the producer's turn is taken, an older stream of it has settled
//! Define -> admit        columns the store cannot take are told, the rest works
//! Frame -> append        each block parsed, converted, checked by itself
//!          Acknowledge   when the log is synced, when the tables are committed; coalesced
//!          Refusal       what was not taken, counted; the stream goes on
//! ```
//! Promises: a bad block harms neither the blocks beside it nor its stream; a bad message ends its
//! own stream with a reason and no other; no input panics; memory is bounded by [`WireLimits`].

mod metrics;
mod registry;
mod reports;
mod service;
mod session;
#[cfg(test)]
mod tests;

pub use metrics::{WireCounts, WireMetrics};
pub use service::{StreamService, stream_service};

use std::time::Duration;

/// The name under which the server itself counts what is written over other protocols. Names that
/// begin like it belong to the server: a producer's sequences must be its own.
pub(crate) const SERVER_PRODUCER: &str = "warpline-server/write";
const SERVER_PREFIX: &str = "warpline-server/";

/// What one stream, and all together, may cost.
#[derive(Clone, Debug)]
pub struct WireLimits {
    /// The largest message in bytes.
    pub message_bytes: usize,
    /// Streams open at one time.
    pub streams: usize,
    /// Layouts of one stream; their numbers are below it.
    pub layouts: usize,
    /// Series of all layouts of one stream.
    pub series: usize,
    /// How long a new stream may wait with its Hello.
    pub hello: Duration,
}

impl Default for WireLimits {
    fn default() -> Self {
        Self {
            message_bytes: 16 << 20,
            streams: 100_000,
            layouts: 1 << 16,
            series: 1 << 20,
            hello: Duration::from_secs(10),
        }
    }
}
