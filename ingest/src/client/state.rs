//! What the handle, the connection's task and the stream that gRPC reads from share.
//!
//! gRPC pulls messages straight from here, so a frame passes through no channel and no other task.

use super::options::ClientError;
use super::refusals::Refusals;
use crate::frame::{self, Refusal, Welcome};
use bytes::Bytes;
use parking_lot::Mutex;
use std::fmt::Debug;
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use uuid::Uuid;
use warpline_storage::Acknowledged;
use warpline_storage::model::ProducerId;

/// Where a stream's messages come from once it stands, and when they are done with.
pub(super) trait Backlog: Debug + Send + 'static {
    /// A server has been met: what follows is for it, from where it stands.
    fn meet(&mut self, welcome: &Welcome) -> Result<(), ClientError>;
    /// The next message of this connection.
    fn next(&mut self) -> Option<Bytes>;
    fn acknowledge(&mut self, now: Acknowledged) -> Result<(), ClientError>;
    /// Whether the server has everything on its disk.
    fn is_settled(&self) -> bool;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Streaming,
    /// For good: the state says why.
    Failed,
}

#[derive(Debug)]
pub(super) struct Shared<B> {
    hello: Bytes,
    pub(super) backoff: (Duration, Duration),
    phase: watch::Sender<Phase>,
    acknowledged: watch::Sender<Acknowledged>,
    /// Told when the backlog may have room, or the stream has failed.
    room: Notify,
    state: Mutex<State<B>>,
}

#[derive(Debug)]
struct State<B> {
    backlog: B,
    /// Counts connections: a stream of an older one ends when it is next read.
    connection: u64,
    greeted: bool,
    welcome: Option<Welcome>,
    closing: bool,
    abandoned: bool,
    failure: Option<ClientError>,
    last_error: String,
    refusals: Refusals,
    waker: Option<Waker>,
}

impl<B: Backlog> Shared<B> {
    pub(super) fn new(producer: &ProducerId, backoff: (Duration, Duration), backlog: B) -> Self {
        let state = State {
            backlog,
            connection: 0,
            greeted: false,
            welcome: None,
            closing: false,
            abandoned: false,
            failure: None,
            last_error: "no answer yet".to_owned(),
            refusals: Refusals::default(),
            waker: None,
        };
        Self {
            hello: frame::hello(producer.as_str(), Uuid::new_v4().as_u64_pair().0),
            backoff,
            phase: watch::Sender::new(Phase::Connecting),
            acknowledged: watch::Sender::default(),
            room: Notify::new(),
            state: Mutex::new(state),
        }
    }

    // ---- the handle's side ----

    /// Waits for a Welcome.
    pub(super) async fn welcomed(&self) -> Result<Welcome, ClientError> {
        let mut phase = self.phase.subscribe();
        loop {
            if let Some(failure) = self.failure() {
                return Err(failure);
            }
            if let Some(welcome) = self.state.lock().welcome {
                return Ok(welcome);
            }
            phase.changed().await.expect("the sender lives in self");
        }
    }

    /// Waits until the stream fails for good.
    pub(super) async fn failed(&self) -> ClientError {
        let mut phase = self.phase.subscribe();
        loop {
            if let Some(failure) = self.failure() {
                return failure;
            }
            phase.changed().await.expect("the sender lives in self");
        }
    }

    /// Works on the backlog; what it then has to send is sent.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut B) -> T) -> T {
        let state = &mut *self.state.lock();
        let outcome = work(&mut state.backlog);
        state.wake();
        outcome
    }

    /// Waits until the backlog may have room, or the stream has failed.
    pub(super) async fn room(&self) {
        self.room.notified().await;
    }

    pub(super) fn acknowledged(&self) -> watch::Receiver<Acknowledged> {
        self.acknowledged.subscribe()
    }

    pub(super) fn refusals(&self) -> Refusals {
        self.state.lock().refusals.clone()
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(super) fn failure(&self) -> Option<ClientError> {
        self.state.lock().failure.clone()
    }

    pub(super) fn last_error(&self) -> String {
        self.state.lock().last_error.clone()
    }

    pub(super) fn reconnects(&self) -> u64 {
        self.state.lock().connection.saturating_sub(1)
    }

    /// Lets the stream end when all in the backlog is durable.
    pub(super) fn close(&self) {
        let state = &mut *self.state.lock();
        state.closing = true;
        state.wake();
    }

    /// Lets the stream end at once.
    pub(super) fn abandon(&self) {
        let state = &mut *self.state.lock();
        state.abandoned = true;
        state.wake();
    }

    // ---- the connection's side ----

    /// Begins a connection; its number marks the stream that may read from here.
    pub(super) fn begin(&self) -> u64 {
        let state = &mut *self.state.lock();
        state.connection += 1;
        state.greeted = false;
        state.welcome = None;
        state.connection
    }

    /// The next message for the server; `None` where the stream ends.
    pub(super) fn poll_message(&self, connection: u64, waker: &Waker) -> Poll<Option<Bytes>> {
        let state = &mut *self.state.lock();
        if state.connection != connection || state.abandoned || state.failure.is_some() {
            return Poll::Ready(None);
        }
        if !state.greeted {
            state.greeted = true;
            return Poll::Ready(Some(self.hello.clone()));
        }
        if state.welcome.is_some() {
            if let Some(message) = state.backlog.next() {
                return Poll::Ready(Some(message));
            }
            if state.closing && state.backlog.is_settled() {
                return Poll::Ready(None);
            }
        }
        state.waker = Some(waker.clone());
        Poll::Pending
    }

    pub(super) fn welcome(&self, welcome: Welcome) -> Result<(), ClientError> {
        {
            let state = &mut *self.state.lock();
            state.backlog.meet(&welcome)?;
            state.welcome = Some(welcome);
            state.wake();
        }
        let standing = Acknowledged { durable: welcome.durable, stored: welcome.stored };
        self.acknowledged.send_replace(standing);
        self.phase.send_replace(Phase::Streaming);
        self.room.notify_one();
        Ok(())
    }

    pub(super) fn acknowledge(&self, now: Acknowledged) -> Result<(), ClientError> {
        {
            let state = &mut *self.state.lock();
            state.backlog.acknowledge(now)?;
            if state.closing {
                state.wake();
            }
        }
        self.acknowledged.send_replace(now);
        self.room.notify_one();
        Ok(())
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        self.state.lock().refusals.add(refusal);
    }

    /// Notes that the connection broke. `true` says that nothing is left to reconnect for.
    pub(super) fn broken(&self, reason: &str) -> bool {
        let done = {
            let state = &mut *self.state.lock();
            reason.clone_into(&mut state.last_error);
            state.wake();
            state.abandoned || state.closing && state.backlog.is_settled()
        };
        self.phase.send_replace(Phase::Connecting);
        done
    }

    pub(super) fn fail(&self, failure: ClientError) {
        {
            let state = &mut *self.state.lock();
            state.failure = Some(failure);
            state.wake();
        }
        self.phase.send_replace(Phase::Failed);
        self.room.notify_one();
    }
}

impl<B> State<B> {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
