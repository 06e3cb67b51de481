//! What keeps tables small and fast behind the back of those who write and read: merges, rollups,
//! retention, and the deletion of files that nothing needs.
//!
//! Promises: no answer changes but by retention; ingest waits for nothing here but a commit; one
//! thing is done at a time, within the memory that the options name. Whatever fails is tried again.

mod merging;
mod options;
mod plan;
mod retention;
mod rolling;
#[cfg(test)]
mod tests;
mod vacuum;

pub use merging::Merged;
pub use options::{MaintenanceOptions, Retention};
pub(crate) use rolling::{over, reach};

use crate::error::{ErrorKind, StorageError};
use crate::latest::StoredLatest;
use crate::machine::{self, now, uptime};
use crate::metrics::Counters;
use crate::model::Timestamp;
use crate::open_tables::OpenTables;
use crate::state::{State, Stored};
use crate::table::{Table, Tables};
use merging::Days;
use object_store::path::Path;
use parking_lot::Mutex;
use rolling::Sparse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::Mutex as AsyncMutex;

const ORPHANS_EVERY: Duration = Duration::from_hours(6);

/// The longest that a table whose maintenance fails is left alone.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// A table whose maintenance failed: what reads and writes much is not tried at each turn.
#[derive(Clone, Copy, Debug)]
struct Pause {
    length: Duration,
    /// By [`uptime`].
    until: Duration,
}

impl Pause {
    fn after(before: Option<Self>, interval: Duration) -> Self {
        let length = before.map_or(interval, |pause| (pause.length * 2).min(LONGEST_PAUSE));
        Self { length, until: uptime() + length }
    }
}

#[derive(Debug)]
pub(crate) struct Maintenance {
    state: Arc<Mutex<State>>,
    tables: Arc<Tables>,
    open: Arc<OpenTables>,
    counters: Arc<Counters>,
    options: MaintenanceOptions,
    /// What is done behind the back of others is not done behind its own.
    turn: AsyncMutex<()>,
    days: Days,
    /// By table.
    deleted: Mutex<HashMap<Arc<str>, HashSet<Path>>>,
    /// Tiers that are not made because rows are too few, and the version that was judged.
    sparse: Mutex<HashMap<Arc<str>, Sparse>>,
}

impl Maintenance {
    pub(crate) fn new(
        state: Arc<Mutex<State>>,
        tables: Arc<Tables>,
        open: Arc<OpenTables>,
        counters: Arc<Counters>,
        options: MaintenanceOptions,
    ) -> Self {
        let (turn, days, deleted, sparse) = Default::default();
        Self { state, tables, open, counters, options, turn, days, deleted, sparse }
    }

    /// Does what is due, for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut orphans_at = uptime() + self.options.interval;
        let mut pauses: HashMap<Arc<str>, Pause> = HashMap::new();
        loop {
            machine::sleep(self.options.interval).await;
            for table in self.open.names() {
                if pauses.get(&table).is_some_and(|pause| uptime() < pause.until) {
                    continue;
                }
                let work = self.maintain(&table, now()).await;
                let before = pauses.remove(&table);
                if work.is_err() {
                    pauses.insert(table.clone(), Pause::after(before, self.options.interval));
                }
                self.report(&table, work);
            }
            if uptime() >= orphans_at {
                orphans_at += ORPHANS_EVERY;
                for table in self.open.names() {
                    let work = self.delete_orphans(&table).await.map(|_| ());
                    self.report(&table, work);
                }
            }
        }
    }

    fn report(&self, table: &Arc<str>, work: Result<(), StorageError>) {
        if let Err(error) = work {
            self.counters.maintenance_failures.fetch_add(1, Relaxed);
            tracing::warn!(%table, %error, "maintenance failed and is tried again");
        }
    }

    /// Does what is due for a table at a time.
    pub(crate) async fn maintain(
        &self,
        table: &Arc<str>,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let _turn = self.turn.lock().await;
        let merged = self.merge_due(table, now).await;
        let kept = self.keep(table, now).await;
        let deleted = self.delete_replaced(table).await;
        merged.and(kept).and(deleted.map(|_| ()))
    }

    async fn merge_due(&self, table: &Arc<str>, now: Timestamp) -> Result<(), StorageError> {
        while self.merge_next(table, now, false).await?.is_some() {}
        Ok(())
    }

    /// Rollups first: days go only once these have them.
    async fn keep(&self, table: &Arc<str>, now: Timestamp) -> Result<(), StorageError> {
        if self.options.rollups && !self.is_tier(table) {
            self.roll(table, Some(now)).await?;
        }
        self.expire(table, now).await
    }

    /// Computes what rollups lack, of all tables.
    pub(crate) async fn roll_all(&self) -> Result<(), StorageError> {
        let _turn = self.turn.lock().await;
        for table in self.open.names() {
            if self.options.rollups && !self.is_tier(&table) {
                self.roll(&table, None).await?;
            }
        }
        Ok(())
    }

    /// Tells readers of the rollups that there are.
    pub(crate) async fn find_tiers(&self) -> Result<(), StorageError> {
        for table in self.open.names() {
            self.publish_tiers(&table).await?;
        }
        Ok(())
    }

    /// Merges all that can be merged of a table, as if every day were over; `done` hears of each
    /// merge.
    pub(crate) async fn merge_all(
        &self,
        table: &Arc<str>,
        mut done: impl FnMut(Merged) + Send,
    ) -> Result<(), StorageError> {
        let _turn = self.turn.lock().await;
        while let Some(merged) = self.merge_next(table, now(), true).await? {
            done(merged);
        }
        Ok(())
    }

    /// The tables there are.
    pub(crate) fn tables(&self) -> Vec<Arc<str>> {
        self.open.names()
    }

    fn is_tier(&self, table: &str) -> bool {
        let state = self.state.lock();
        state.number(table).is_some_and(|number| state.table(number).is_tier())
    }

    pub(crate) fn stored(&self, table: &str) -> Option<(usize, Stored)> {
        let state = self.state.lock();
        let number = state.number(table)?;
        Some((number, state.table(number).stored().clone()))
    }

    /// Shows readers a table's files after a change of ours, which `held` has just made. With
    /// `kept_from`, older rows are gone.
    fn publish(&self, held: &Table, kept_from: Option<Timestamp>) -> Result<(), StorageError> {
        let (number, stored, before, known) = {
            let state = self.state.lock();
            let number = state.number(&held.schema().table).ok_or_else(|| {
                StorageError::new(ErrorKind::Internal, "a table that is open is not known")
            })?;
            let table = state.table(number);
            let (before, known) = (table.stored().clone(), table.stored_latest().clone());
            (number, Stored::of(held, state.writer()), before, known)
        };
        // A flush whose answer was lost: its own next try takes its sealed rows away with it.
        if stored.version == before.version || stored.covered != before.covered {
            return Ok(());
        }
        // Whoever else shows files of this table has to hold it first.
        let latest = if stored.foreign == before.foreign {
            known.over(stored.files.clone(), kept_from)
        } else {
            StoredLatest::of_files(held.schema().clone(), stored.files.clone())
        };
        self.days.keep(&held.schema().table, &stored.files);
        self.state.lock().table_mut(number).replaced(stored, latest);
        Ok(())
    }
}
