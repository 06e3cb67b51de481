//! Bodies of requests, within the memory that all of them share. What stays from one message of a
//! stream to the next is held apart, so that idle streams keep nobody waiting.

use super::WriteLimits;
use super::answer::Failure;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use flate2::read::MultiGzDecoder;
use futures::StreamExt;
use parking_lot::Mutex;
use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What may be kept by streams, as a part of what may be held by requests.
const KEPT_SHARE: usize = 4;
/// Memory is given out in pieces of this size.
const PIECE: usize = 1 << 10;
/// A longer body is worked on by a thread of its own, so that no connection waits for it.
const LONG_BODY: usize = 1 << 20;

/// Buffers kept for the next bodies, and the largest that is kept.
const SPARE_BUFFERS: usize = 4;
const SPARE_BYTES: usize = 4 << 20;

/// A body of gzip that becomes more times as long is refused: text does not.
const GZIP_RATIO: usize = 200;

/// The memory of all bodies.
#[derive(Debug)]
pub(super) struct Bodies {
    pieces: Arc<Semaphore>,
    kept: Arc<Semaphore>,
    kept_limit: usize,
    limit: usize,
    patience: Duration,
}

/// Memory that is held while a request is worked on.
#[derive(Debug, Default)]
pub(super) struct Held(Option<OwnedSemaphorePermit>);

impl Held {
    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.0 {
            Some(held) => held.merge(more),
            None => self.0 = Some(more),
        }
    }
}

impl Bodies {
    pub(super) fn new(limits: &WriteLimits) -> Self {
        let pool = |bytes: usize| Arc::new(Semaphore::new(bytes.div_ceil(PIECE)));
        let kept_limit = limits.memory_bytes / KEPT_SHARE;
        let (pieces, kept) = (pool(limits.memory_bytes), pool(kept_limit));
        Self { pieces, kept, kept_limit, limit: limits.body_bytes, patience: limits.patience }
    }

    /// Reads a body, whatever length it is said to have.
    pub(super) async fn read(&self, body: Body) -> Result<(Bytes, Held), Failure> {
        let mut held = Held::default();
        let mut all = Vec::new();
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| {
                Failure::malformed(format!("the body could not be read: {error}"))
            })?;
            if all.len() + chunk.len() > self.limit {
                return Err(Failure::too_large("the body", self.limit));
            }
            self.hold(&mut held, chunk.len()).await?;
            all.extend_from_slice(&chunk);
        }
        Ok((all.into(), held))
    }

    /// Holds so many bytes more, waiting for others to be done for a while.
    pub(super) async fn hold(&self, held: &mut Held, bytes: usize) -> Result<(), Failure> {
        let more = self.pieces.clone().acquire_many_owned(pieces_of(bytes));
        match tokio::time::timeout(self.patience, more).await {
            Ok(Ok(more)) => {
                held.add(more);
                Ok(())
            }
            _ => Err(Failure::busy("the server reads as many requests as it has memory for")),
        }
    }

    /// Holds what stays for as long as a stream does, or refuses it at once.
    pub(super) fn keep(&self, bytes: usize) -> Result<Held, Failure> {
        let kept = self.kept.clone().try_acquire_many_owned(pieces_of(bytes));
        kept.map(|kept| Held(Some(kept))).map_err(|_| {
            let limit = self.kept_limit;
            Failure::busy(format!(
                "the dictionaries of all streams would take more than {limit} bytes of memory, \
                 which is the limit: send smaller ones, or text without them"
            ))
        })
    }

    /// Holds what a body of so many bytes may become; answers how much that is.
    pub(super) async fn room(
        &self,
        held: &mut Held,
        bytes: usize,
        gzip: bool,
        limit: usize,
    ) -> Result<usize, Failure> {
        if !gzip {
            return Ok(limit);
        }
        let room = bytes.saturating_mul(GZIP_RATIO).max(LONG_BODY).min(limit);
        self.hold(held, room).await?;
        Ok(room)
    }
}

/// Buffers that decompressed bodies were in, for the next ones: fresh memory costs a page fault for
/// each 4 KiB.
#[derive(Debug, Default)]
pub(super) struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    /// Lends a buffer, which has any bytes.
    pub(super) fn with<T>(&self, borrow: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let kept = self.0.lock().pop();
        let mut buffer = kept.unwrap_or_default();
        let made = borrow(&mut buffer);
        let mut kept = self.0.lock();
        if kept.len() < SPARE_BUFFERS && buffer.capacity() <= SPARE_BYTES {
            kept.push(buffer);
        }
        made
    }
}

fn pieces_of(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE)).unwrap_or(u32::MAX)
}

/// Whether the body is compressed with gzip.
pub(super) fn is_gzip(headers: &HeaderMap) -> Result<bool, Failure> {
    let encoding = headers.get(header::CONTENT_ENCODING);
    match encoding.map_or("", |value| value.to_str().unwrap_or("?")) {
        "" | "identity" => Ok(false),
        "gzip" => Ok(true),
        other => {
            let text = format!("Content-Encoding {other}: send gzip or none");
            Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
        }
    }
}

/// The body as it was before compression.
pub(super) fn unpacked(body: &[u8], gzip: bool, limit: usize) -> Result<Cow<'_, [u8]>, Failure> {
    if !gzip {
        return Ok(Cow::Borrowed(body));
    }
    let mut unpacked = Vec::new();
    let read = MultiGzDecoder::new(body).take(limit as u64 + 1).read_to_end(&mut unpacked);
    read.map_err(|error| Failure::malformed(format!("the body is not gzip: {error}")))?;
    if unpacked.len() > limit {
        return Err(Failure::too_large("the decompressed body", limit));
    }
    Ok(Cow::Owned(unpacked))
}

/// Does what a body of this length takes, here or on a thread of its own. The memory is held until
/// the caller has done with what came out, even where the caller goes meanwhile.
pub(super) async fn work<T: Send + 'static>(
    bytes: usize,
    compressed: bool,
    held: Held,
    task: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<(T, Held), Failure> {
    let task = move || task().map(|done| (done, held));
    if bytes <= LONG_BODY && !compressed {
        return task();
    }
    tokio::task::spawn_blocking(task).await.map_err(|error| {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, format!("a write ended early: {error}"))
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_small_buffers_are_kept() {
        let spare = Spare::default();
        spare.with(|buffer| buffer.reserve_exact(SPARE_BYTES + 1));
        assert_eq!(spare.with(|buffer| buffer.capacity()), 0, "a large one goes back");
        lend_at_once(&spare, 2 * SPARE_BUFFERS);
        assert_eq!(spare.0.lock().len(), SPARE_BUFFERS);
        assert!(spare.with(|buffer| buffer.capacity()) > 0, "a small one is used again");
    }

    fn lend_at_once(spare: &Spare, buffers: usize) {
        if buffers > 0 {
            spare.with(|buffer| {
                buffer.push(1);
                lend_at_once(spare, buffers - 1);
            });
        }
    }
}
