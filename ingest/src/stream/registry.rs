//! One stream per producer at a time: a newer one ends the older and waits until it has settled.
//!
//! Without it a restarted producer could be welcomed with a sequence that the older stream is just
//! moving past, and its first frames would be dropped as repeats.

use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{OwnedMutexGuard, watch};
use tonic::Status;
use warpline_storage::model::ProducerId;

/// Why the server ends a stream that did nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The same producer has reconnected.
    Reconnected,
    /// Another process opened a stream under the same name.
    Replaced,
    /// The server stops.
    Stopping,
}

impl End {
    pub(super) fn status(self, producer: &ProducerId) -> Status {
        let name = producer.as_str();
        match self {
            Self::Reconnected => Status::unavailable(format!("producer {name:?} has reconnected")),
            Self::Replaced => Status::aborted(format!(
                "another process opened a stream as producer {name:?}: give each its own name"
            )),
            Self::Stopping => Status::unavailable("the server is stopping"),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Registry {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    open: HashMap<ProducerId, Entry>,
    generation: u64,
    stopping: bool,
}

#[derive(Debug)]
struct Entry {
    generation: u64,
    session: u64,
    end: watch::Sender<Option<End>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// Held for as long as a stream is a producer's newest; dropped when it has settled.
#[derive(Debug)]
pub(super) struct Turn {
    registry: Arc<Registry>,
    producer: ProducerId,
    generation: u64,
    end: watch::Receiver<Option<End>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Registry {
    /// Ends the producer's older stream, if any, and waits for its turn.
    pub(super) async fn take(
        self: &Arc<Self>,
        producer: &ProducerId,
        session: u64,
    ) -> Result<Turn, Status> {
        let (generation, end, free) = self.enter(producer, session);
        let registry = self.clone();
        // Made before the wait, so that its drop takes the entry out if the wait is given up.
        let mut turn = Turn { registry, producer: producer.clone(), generation, end, guard: None };
        turn.guard = Some(free.lock_owned().await);
        let ended = *turn.end.borrow();
        match ended {
            Some(end) => Err(end.status(producer)),
            None => Ok(turn),
        }
    }

    fn enter(
        &self,
        producer: &ProducerId,
        session: u64,
    ) -> (u64, watch::Receiver<Option<End>>, Arc<tokio::sync::Mutex<()>>) {
        let inner = &mut *self.inner.lock();
        inner.generation += 1;
        let generation = inner.generation;
        let (end, receiver) = watch::channel(inner.stopping.then_some(End::Stopping));
        let older = inner.open.remove(producer);
        if let Some(older) = &older {
            let why = if older.session == session { End::Reconnected } else { End::Replaced };
            older.end.send_replace(Some(why));
        }
        let turn = older.map_or_else(Arc::default, |older| older.turn);
        let entry = Entry { generation, session, end, turn: turn.clone() };
        inner.open.insert(producer.clone(), entry);
        (generation, receiver, turn)
    }

    /// Ends all streams, those to come included.
    pub(super) fn stop(&self) {
        let inner = &mut *self.inner.lock();
        inner.stopping = true;
        for entry in inner.open.values() {
            entry.end.send_replace(Some(End::Stopping));
        }
    }
}

impl Turn {
    /// Waits until the stream should end.
    pub(super) async fn ended(&mut self) -> End {
        loop {
            if let Some(end) = *self.end.borrow_and_update() {
                return end;
            }
            if self.end.changed().await.is_err() {
                // The entry was taken out by a newer stream, which sent its reason first.
                let end = *self.end.borrow();
                return end.unwrap_or(End::Reconnected);
            }
        }
    }
}

impl Drop for Turn {
    /// Leaves the registry, then (with the guard) lets a waiting stream in.
    fn drop(&mut self) {
        let inner = &mut *self.registry.inner.lock();
        let own = |entry: &Entry| entry.generation == self.generation;
        if inner.open.get(&self.producer).is_some_and(own) {
            inner.open.remove(&self.producer);
        }
    }
}
