//! What the handle, the connection's task and the stream that gRPC reads from share.
//!
//! gRPC pulls messages straight from here, so a frame passes through no channel and no other task.

use super::options::{ClientError, ClientOptions};
use super::refusals::Refusals;
use super::window::Window;
use crate::frame::{self, Refusal, Welcome};
use bytes::Bytes;
use parking_lot::Mutex;
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use uuid::Uuid;
use warpline_storage::Acknowledged;
use warpline_storage::model::{Layout, ProducerId, Sequence};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Streaming,
    /// For good: the state says why.
    Failed,
}

#[derive(Debug)]
pub(super) struct Shared {
    hello: Bytes,
    window_frames: usize,
    window_bytes: usize,
    pub(super) backoff: (Duration, Duration),
    phase: watch::Sender<Phase>,
    acknowledged: watch::Sender<Acknowledged>,
    /// Told when the window may have room, or the stream has failed.
    room: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    window: Window,
    /// The Define messages by layout number; sent anew on each connection.
    definitions: Vec<Bytes>,
    defined: usize,
    /// Counts connections: a stream of an older one ends when it is next read.
    connection: u64,
    greeted: bool,
    welcome: Option<Welcome>,
    /// The last sequence that may be on the server by this client's account: where its first
    /// Welcome stood, or what it has sent since. `None` before that.
    claimed: Option<Sequence>,
    /// The last Welcome's: it outlives the connection.
    max_message: usize,
    closing: bool,
    abandoned: bool,
    failure: Option<ClientError>,
    last_error: String,
    refusals: Refusals,
    waker: Option<Waker>,
}

impl Shared {
    pub(super) fn new(producer: &ProducerId, options: &ClientOptions) -> Self {
        let state = State {
            window: Window::new(options.keep),
            definitions: Vec::new(),
            defined: 0,
            connection: 0,
            greeted: false,
            welcome: None,
            claimed: None,
            max_message: usize::MAX,
            closing: false,
            abandoned: false,
            failure: None,
            last_error: "no answer yet".to_owned(),
            refusals: Refusals::default(),
            waker: None,
        };
        Self {
            hello: frame::hello(producer.as_str(), Uuid::new_v4().as_u64_pair().0),
            window_frames: options.window_frames.max(1),
            window_bytes: options.window_bytes,
            backoff: options.backoff,
            phase: watch::Sender::new(Phase::Connecting),
            acknowledged: watch::Sender::default(),
            room: Notify::new(),
            state: Mutex::new(state),
        }
    }

    // ---- the handle's side ----

    /// Waits for the first Welcome.
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

    pub(super) fn define(&self, layout: &Layout) -> Result<u32, ClientError> {
        let number = self.state.lock().definitions.len() as u32;
        let message = frame::define(number, layout);
        self.check_size(message.len())?;
        let state = &mut *self.state.lock();
        state.definitions.push(message);
        state.wake();
        Ok(number)
    }

    pub(super) fn check_frame(&self, blocks: &[(u32, Bytes)]) -> Result<(), ClientError> {
        let defined = self.state.lock().definitions.len();
        if let Some((number, _)) = blocks.iter().find(|(number, _)| *number as usize >= defined) {
            return Err(ClientError::UnknownLayout { number: *number });
        }
        self.check_size(frame::frame_bytes(blocks))
    }

    fn check_size(&self, bytes: usize) -> Result<(), ClientError> {
        let limit = self.state.lock().max_message;
        if bytes <= limit { Ok(()) } else { Err(ClientError::TooLarge { bytes, limit }) }
    }

    /// Puts a frame into the window once it has room.
    pub(super) async fn push(&self, sequence: Sequence, message: Bytes) -> Result<(), ClientError> {
        loop {
            if self.try_push(sequence, &message)? {
                return Ok(());
            }
            self.room.notified().await;
        }
    }

    fn try_push(&self, sequence: Sequence, message: &Bytes) -> Result<bool, ClientError> {
        let state = &mut *self.state.lock();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        if sequence <= self.acknowledged.borrow().durable {
            state.claim(sequence);
            return Ok(true);
        }
        let (frames, bytes) = state.window.pending();
        let room = frames < self.window_frames && bytes + message.len() <= self.window_bytes;
        // A frame larger than the whole window goes alone.
        if !room && frames > 0 {
            return Ok(false);
        }
        state.window.push(sequence, message.clone());
        state.claim(sequence);
        state.wake();
        Ok(true)
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

    /// Lets the stream end when all in the window is durable.
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
        state.defined = 0;
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
            if let Some(message) = state.definitions.get(state.defined) {
                state.defined += 1;
                return Poll::Ready(Some(message.clone()));
            }
            if let Some(message) = state.window.next() {
                return Poll::Ready(Some(message));
            }
            if state.closing && state.window.pending().0 == 0 {
                return Poll::Ready(None);
            }
        }
        state.waker = Some(waker.clone());
        Poll::Pending
    }

    /// Whether the server has ever welcomed this client.
    pub(super) fn has_stood(&self) -> bool {
        self.state.lock().claimed.is_some()
    }

    pub(super) fn welcome(&self, welcome: Welcome) -> Result<(), ClientError> {
        let standing = Acknowledged { durable: welcome.durable, stored: welcome.stored };
        {
            let state = &mut *self.state.lock();
            state.check_own(standing.durable)?;
            state.claim(standing.durable);
            state.welcome = Some(welcome);
            state.max_message = welcome.max_message as usize;
            state.window.restart(standing);
            state.wake();
        }
        self.acknowledged.send_replace(standing);
        self.phase.send_replace(Phase::Streaming);
        self.room.notify_one();
        Ok(())
    }

    pub(super) fn acknowledge(&self, now: Acknowledged) -> Result<(), ClientError> {
        {
            let state = &mut *self.state.lock();
            state.check_own(now.durable)?;
            state.window.acknowledge(now);
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
            state.abandoned || state.closing && state.window.pending().0 == 0
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

impl State {
    fn claim(&mut self, sequence: Sequence) {
        self.claimed = self.claimed.max(Some(sequence));
    }

    /// Frames of another process under this producer's name have taken the sequences of ours, which
    /// would be dropped as repeats.
    fn check_own(&self, durable: Sequence) -> Result<(), ClientError> {
        match self.claimed {
            Some(claimed) if durable > claimed => Err(ClientError::Overtaken { durable, claimed }),
            _ => Ok(()),
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
