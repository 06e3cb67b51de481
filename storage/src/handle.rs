//! The handle that ingest and query hold.

mod open;
mod options;

pub use options::{Limits, StorageOptions};

use crate::buffer::{Budget, memory_of};
use crate::error::{ErrorKind, StorageError};
use crate::flush::Flusher;
use crate::machine::{self, Worker, now, uptime};
use crate::maintenance::{Maintenance, Merged};
use crate::metrics::{Counters, Metrics};
use crate::model::{Batch, Layout, Position, ProducerId, SchemaConflict, Sequence, Timestamp};
use crate::snapshot::{Snapshot, TimeRange};
use crate::state::State;
use crate::table::Tables;
use crate::writer::Command;
use parking_lot::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc, oneshot, watch};

/// How far a producer's sequences have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// In the log, synced to disk.
    pub durable: Sequence,
    /// Committed in the tables. After a restart it is 0 until the next flush if rows are
    /// still in the log alone.
    pub stored: Sequence,
}

/// A layout as the store takes it.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The layout in the table's own names and types, without the columns in `refused`.
    pub layout: Arc<Layout>,
    pub refused: Vec<SchemaConflict>,
}

/// An open store. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub struct Storage {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: StorageOptions,
    state: Arc<Mutex<State>>,
    tables: Arc<Tables>,
    budget: Arc<Budget>,
    counters: Arc<Counters>,
    /// `None` once closed.
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    flusher: AsyncMutex<Flusher>,
    maintenance: Arc<Maintenance>,
    /// Lets the background flush look whether it is due.
    flush_wanted: Arc<Notify>,
    /// Why the store stopped taking rows, once it has.
    failure: Arc<OnceLock<StorageError>>,
    writer: Mutex<Option<Worker>>,
    background: Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

impl Storage {
    /// Opens or creates the store: takes the data folder's lock, fences a predecessor, replays
    /// what the tables do not cover.
    pub async fn open(options: StorageOptions) -> Result<Self, StorageError> {
        open::open(options).await
    }

    /// Takes a layout: makes or widens its table. Blocks are appended under the layout in the
    /// answer.
    pub fn admit(&self, layout: &Layout) -> Result<Admission, StorageError> {
        self.shared.check()?;
        self.shared.state.lock().admit(layout)
    }

    /// Where the store stands with a producer, now and from now on.
    pub fn producer(&self, id: &ProducerId) -> watch::Receiver<Acknowledged> {
        self.shared.state.lock().producer(id)
    }

    /// The times that rows may have at this moment: from as long ago as rows are kept, and from
    /// 1970 on, to the configured future.
    pub fn accepted_times(&self) -> TimeRange {
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let last = now().saturating_add(micros(self.shared.options.future_limit));
        let kept = self.shared.options.maintenance.retention.longest();
        let first = kept.map_or(0, |kept| now().saturating_sub(micros(kept)).max(0));
        TimeRange { first, last }
    }

    /// Why rows of a time outside [`Storage::accepted_times`] are refused, and what to set.
    pub fn why_refused(&self, time: Timestamp) -> String {
        let options = &self.shared.options;
        if time > self.accepted_times().last {
            return format!(
                "time {time} (microseconds) is more than {:?} ahead of the server's clock \
                 (storage.future_limit)",
                options.future_limit
            );
        }
        match options.maintenance.retention.longest() {
            Some(kept) if time >= 0 => format!(
                "time {time} (microseconds) is longer ago than the {} days that the server keeps \
                 rows: set retention.raw of the server to more, or to \"forever\"",
                kept.as_secs_f64() / 86_400.0
            ),
            _ => format!("time {time} (microseconds) is before 1970"),
        }
    }

    /// Hands a batch to the writer, waiting while the memory budget is spent. That the batch is
    /// durable is told through [`Storage::producer`]. A sequence that was taken before is
    /// dropped: its rows are already there.
    pub async fn append(&self, batch: Batch) -> Result<(), StorageError> {
        let came = uptime();
        self.shared.check()?;
        self.check_layouts(&batch)?;
        let bytes = batch.blocks.iter().map(memory_of).sum();
        let memory = if let Some(memory) = self.shared.budget.try_reserve(bytes) {
            memory
        } else {
            let wanted = || self.shared.flush_wanted.notify_one();
            let room = self.shared.budget.reserve(bytes, wanted).await;
            room.ok_or_else(|| self.shared.stopped())?
        };
        self.shared.send(Command::Append { batch, memory, came }).await?;
        if self.shared.budget.used() >= self.shared.options.flush_bytes {
            self.shared.flush_wanted.notify_one();
        }
        Ok(())
    }

    fn check_layouts(&self, batch: &Batch) -> Result<(), StorageError> {
        let state = self.shared.state.lock();
        match batch.blocks.iter().find(|block| !state.knows(block.layout())) {
            None => Ok(()),
            Some(block) => Err(StorageError::rejected(format!(
                "a block of table {} has a layout that was not admitted",
                block.layout().table()
            ))),
        }
    }

    /// Everything that is acknowledged as durable now, and nothing twice.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.state.lock().snapshot(&self.shared.tables)
    }

    /// Waits until everything appended before is durable.
    pub async fn sync(&self) -> Result<(), StorageError> {
        self.shared.sync().await
    }

    /// Waits until everything appended before is committed in the tables.
    pub async fn flush(&self) -> Result<(), StorageError> {
        let shared = Arc::clone(&self.shared);
        // A task of its own: a commit under way must not be dropped with the caller.
        let flushing = tokio::spawn(async move { shared.flush_all().await });
        flushing.await.map_err(|error| {
            StorageError::because(ErrorKind::Internal, "the flush ended early", error)
        })?
    }

    /// Makes everything durable and stops. Rows not flushed yet are replayed at the next open.
    pub async fn close(&self) -> Result<(), StorageError> {
        for task in self.shared.background.lock().drain(..) {
            task.abort();
        }
        drop(self.shared.commands.lock().take());
        self.shared.budget.close();
        let writer = self.shared.writer.lock().take();
        if let Some(writer) = writer
            && !writer.join().await
        {
            return Err(StorageError::internal("the writer panicked"));
        }
        self.shared.failure.get().map_or(Ok(()), |_| Err(self.shared.stopped()))
    }

    #[cfg(test)]
    pub(crate) async fn open_over(
        options: StorageOptions,
        tables: Tables,
    ) -> Result<Self, StorageError> {
        open::open_over(options, tables).await
    }

    /// The end of the process: nothing of the store runs on.
    #[cfg(test)]
    pub(crate) fn kill(&self) {
        for task in self.shared.background.lock().drain(..) {
            task.abort();
        }
        if let Some(Worker::Task(writer)) = self.shared.writer.lock().take() {
            writer.abort();
        }
    }

    #[cfg(test)]
    pub(crate) fn maintenance(&self) -> &Arc<Maintenance> {
        &self.shared.maintenance
    }

    /// The error that ended the store, if one did: nothing is taken any more.
    pub fn failure(&self) -> Option<&StorageError> {
        self.shared.failure.get()
    }

    pub fn metrics(&self) -> Metrics {
        let state = self.shared.state.lock();
        let latest = state.tables().iter().map(|table| table.stored_latest().bytes());
        let latest_bytes: usize = latest.sum();
        let mut metrics = Metrics {
            buffer_bytes: self.shared.budget.used() as u64,
            tables: state.tables().len() as u64,
            series: state.series_count() as u64,
            latest_bytes: latest_bytes as u64,
            ..self.shared.counters.read()
        };
        for table in state.tables() {
            metrics.add_files(&table.stored().files, now());
        }
        metrics
    }

    /// Merges all that can be merged, as if every day were over; `done` hears of each merge and
    /// of the table that it was made in.
    pub async fn compact(
        &self,
        mut done: impl FnMut(&str, Merged) + Send,
    ) -> Result<(), StorageError> {
        self.flush().await?;
        self.shared.maintenance.roll_all().await?;
        for table in self.shared.maintenance.tables() {
            self.shared.maintenance.merge_all(&table, |merged| done(&table, merged)).await?;
        }
        Ok(())
    }
}

impl Shared {
    fn check(&self) -> Result<(), StorageError> {
        if self.failure.get().is_some() { Err(self.stopped()) } else { Ok(()) }
    }

    /// Why a command could not be taken.
    fn stopped(&self) -> StorageError {
        match self.failure.get() {
            Some(why) => StorageError::new(why.kind(), format!("the store has stopped: {why}")),
            None => StorageError::new(ErrorKind::Closed, "the store is closed"),
        }
    }

    async fn send(&self, command: Command) -> Result<(), StorageError> {
        let sender = self.commands.lock().clone().ok_or_else(|| self.stopped())?;
        sender.send(command).await.map_err(|_| self.stopped())
    }

    async fn sync(&self) -> Result<(), StorageError> {
        let (done, synced) = oneshot::channel();
        self.send(Command::Sync(done)).await?;
        synced.await.map_err(|_| self.stopped())?
    }

    /// Commits everything appended before, rows that still wait for the writer included. Where
    /// the log's disk is full, what is durable is committed all the same: that makes room.
    async fn flush_all(&self) -> Result<(), StorageError> {
        let synced = self.sync().await;
        if synced.as_ref().is_err_and(|error| error.kind() != ErrorKind::Retry) {
            return synced;
        }
        let mut flusher = self.flusher.lock().await;
        self.check()?;
        let covered: Position = match flusher.flush().await {
            Ok(covered) => covered,
            Err(error) => {
                if matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Internal) {
                    let _ = self.failure.set(StorageError::new(error.kind(), error.to_string()));
                    self.budget.close();
                }
                return Err(error);
            }
        };
        self.send(Command::Covered(covered)).await?;
        synced
    }

    /// Flushes when wanted and every `flush_interval`; after a failure again, ever more slowly.
    async fn flush_in_background(self: Arc<Self>) {
        let mut pause = Duration::from_secs(1);
        loop {
            self.flush_due().await;
            while let Err(error) = self.flush_all().await {
                tracing::warn!(%error, "flush failed; rows stay in log and memory");
                if self.failure.get().is_some() || error.kind() == ErrorKind::Closed {
                    return;
                }
                machine::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_mins(1));
            }
            pause = Duration::from_secs(1);
        }
    }

    /// Waits until memory or time asks for a flush. What was asked while another one ran counts no
    /// more once that has given memory back: a flush costs by the series as well as by the row.
    /// Memory that it did not give back (a slow query holds it) asks again soon.
    async fn flush_due(&self) {
        if self.is_flush_due() {
            machine::sleep(Duration::from_millis(50)).await;
        }
        let latest = machine::sleep(self.options.flush_interval);
        tokio::pin!(latest);
        while !self.is_flush_due() {
            tokio::select! {
                biased;
                () = &mut latest => return,
                () = self.flush_wanted.notified() => {}
            }
        }
    }

    fn is_flush_due(&self) -> bool {
        self.budget.used() >= self.options.flush_bytes
            || self.budget.is_wanted()
            || self.counters.log_full.load(Relaxed)
    }
}

#[cfg(test)]
mod tests;
