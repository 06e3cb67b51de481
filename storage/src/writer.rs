//! The one task that writes: it gives batches their positions, makes them durable group by group
//! and publishes them to the buffer. Everyone else sends it messages.
//!
//! While one group is being synced the next one gathers in the channel, so that a sync serves
//! everything that arrived meanwhile. A row is acknowledged after its sync and is in the buffer
//! before its acknowledgement goes out.
//!
//! While the log's disk is full, what was staged stays staged, nothing more is, and nothing is
//! acknowledged; a flush is asked for, since what it covers frees segments.

use crate::buffer::Reservation;
use crate::error::{ErrorKind, StorageError};
use crate::log::{Entry, Group, Log};
use crate::machine::{pause, uptime};
use crate::metrics::Counters;
use crate::model::{Batch, Position};
use crate::state::State;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Notify, mpsc, oneshot};

/// A group is synced once it holds this much, even if more is waiting.
const GROUP_BYTES: usize = 512 << 10;
/// The shortest time between two syncs. A sync costs about 0.1 ms of CPU whatever its size
/// (docs/decisions/2026-11-23-write-path.md), so a log that took a large group waits for company.
const SYNC_INTERVAL: Duration = Duration::from_millis(1);
const BUSY_SYNC_INTERVAL: Duration = Duration::from_millis(8);
const BUSY_GROUP_BYTES: usize = 64 << 10;
/// How often a full disk is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) enum Command {
    Append {
        batch: Batch,
        memory: Reservation,
        /// When the batch came, by [`uptime`].
        came: Duration,
    },
    /// Answered when everything sent before is durable.
    Sync(oneshot::Sender<Result<(), StorageError>>),
    /// The tables cover the log up to here.
    Covered(Position),
}

#[derive(Debug)]
pub(crate) struct Writer {
    log: Log,
    commands: mpsc::Receiver<Command>,
    state: Arc<Mutex<State>>,
    counters: Arc<Counters>,
    /// Memory of the staged batches, and when they came, in their order.
    staged: VecDeque<(Reservation, Duration)>,
    syncs: Vec<oneshot::Sender<Result<(), StorageError>>>,
    /// Batches that came while the disk was full, in their order.
    held: VecDeque<Command>,
    flush_wanted: Arc<Notify>,
    /// By [`uptime`].
    last_sync: Duration,
    last_group_bytes: usize,
}

impl Writer {
    pub(crate) fn new(
        log: Log,
        commands: mpsc::Receiver<Command>,
        state: Arc<Mutex<State>>,
        counters: Arc<Counters>,
        flush_wanted: Arc<Notify>,
    ) -> Self {
        let (staged, syncs, held) = Default::default();
        let last_sync = uptime();
        counters.log_bytes.store(log.bytes(), Relaxed);
        Self {
            log,
            commands,
            state,
            counters,
            staged,
            syncs,
            held,
            flush_wanted,
            last_sync,
            last_group_bytes: 0,
        }
    }

    /// Runs until every sender has gone, then makes the rest durable. Returns early on the first
    /// failure of the log: nothing is acknowledged after it.
    pub(crate) async fn run(&mut self) -> Result<(), StorageError> {
        while let Some(command) = self.next().await {
            self.take(command)?;
            self.wait_for_company().await;
            while self.log.staged_bytes() < GROUP_BYTES {
                let held = self.held.pop_front();
                let Some(command) = held.or_else(|| self.commands.try_recv().ok()) else { break };
                self.take(command)?;
            }
            self.commit().await?;
        }
        Ok(())
    }

    async fn next(&mut self) -> Option<Command> {
        match self.held.pop_front() {
            None => self.commands.recv().await,
            held => held,
        }
    }

    async fn wait_for_company(&self) {
        let busy = self.last_group_bytes >= BUSY_GROUP_BYTES;
        let interval = if busy { BUSY_SYNC_INTERVAL } else { SYNC_INTERVAL };
        if (1..GROUP_BYTES).contains(&self.log.staged_bytes()) {
            pause((self.last_sync + interval).saturating_sub(uptime())).await;
        }
    }

    fn take(&mut self, command: Command) -> Result<(), StorageError> {
        match command {
            Command::Append { batch, memory, came } => {
                if self.log.stage(batch)?.is_some() {
                    self.staged.push_back((memory, came));
                } else {
                    self.counters.duplicate_batches.fetch_add(1, Relaxed);
                }
            }
            Command::Sync(done) => self.syncs.push(done),
            Command::Covered(position) => self.forget(position),
        }
        Ok(())
    }

    /// A segment that cannot be deleted now is deleted after a later flush.
    fn forget(&mut self, covered: Position) {
        if let Err(error) = self.log.truncate(covered) {
            tracing::warn!(%error, "covered log segments stay for now");
        }
    }

    async fn commit(&mut self) -> Result<(), StorageError> {
        if self.log.staged_bytes() > 0 {
            self.last_group_bytes = self.log.staged_bytes();
            let group = self.commit_when_there_is_room().await?;
            self.last_sync = uptime();
            self.counters.log_syncs.fetch_add(1, Relaxed);
            self.publish(group.entries);
        }
        self.counters.log_bytes.store(self.log.bytes(), Relaxed);
        for done in self.syncs.drain(..) {
            // The asker may have gone; its rows are durable all the same.
            let _ = done.send(Ok(()));
        }
        Ok(())
    }

    async fn commit_when_there_is_room(&mut self) -> Result<Group, StorageError> {
        loop {
            let begun = uptime();
            match self.log.commit() {
                Err(error) if error.kind() == ErrorKind::Retry => {
                    if !self.counters.log_full.swap(true, Relaxed) {
                        self.counters.log_waits.fetch_add(1, Relaxed);
                        tracing::warn!(%error, "nothing is acknowledged until there is room");
                    }
                    self.wait_for_room(error).await?;
                }
                outcome => {
                    if self.counters.log_full.swap(false, Relaxed) {
                        tracing::info!("the log goes on");
                    }
                    self.counters.log_sync.add(uptime().saturating_sub(begun));
                    return outcome;
                }
            }
        }
    }

    /// Frees what is covered, and tells those who wait for a sync that there is none. Batches
    /// are held: their memory counts against the budget, so there are not many.
    async fn wait_for_room(&mut self, full: StorageError) -> Result<(), StorageError> {
        self.flush_wanted.notify_one();
        pause(FULL_PAUSE).await;
        let told = || StorageError::new(ErrorKind::Retry, full.to_string());
        for waiting in self.syncs.drain(..) {
            let _ = waiting.send(Err(told()));
        }
        loop {
            match self.commands.try_recv() {
                Ok(Command::Sync(done)) => drop(done.send(Err(told()))),
                Ok(Command::Covered(position)) => self.forget(position),
                Ok(append @ Command::Append { .. }) => self.held.push_back(append),
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(full),
            }
        }
    }

    fn publish(&mut self, entries: Vec<Entry>) {
        let mut state = self.state.lock();
        for entry in entries {
            self.counters.count(&entry);
            let (mut memory, came) =
                self.staged.pop_front().expect("each staged batch has its memory");
            self.counters.durable.add(self.last_sync.saturating_sub(came));
            state.publish(entry, &mut memory);
        }
        assert!(self.staged.is_empty(), "a group holds all that was staged");
    }
}
