//! Opening: lock, tables, fence, replay, writer.

use super::{Shared, Storage, StorageOptions};
use crate::buffer::Budget;
use crate::error::StorageError;
use crate::flush::Flusher;
use crate::log::{Entry, Log, LogOptions, Recovery};
use crate::machine::{Worker, blocking};
use crate::maintenance::Maintenance;
use crate::metrics::Counters;
use crate::model::{Block, Layout, Position};
use crate::open_tables::OpenTables;
use crate::state::{State, Stored, TableState};
use crate::table::Tables;
use crate::writer::Writer;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc};
use uuid::Uuid;

/// Batches that may wait for the writer; their memory is bounded by the budget.
const WAITING_BATCHES: usize = 16_384;

pub(super) async fn open(options: StorageOptions) -> Result<Storage, StorageError> {
    let tables = Tables::open(&options.store_url, &options.store_options)?;
    open_over(options, tables).await
}

/// Opens the store with its tables wherever they are.
pub(super) async fn open_over(
    options: StorageOptions,
    tables: Tables,
) -> Result<Storage, StorageError> {
    let options = StorageOptions {
        flush_bytes: options.flush_bytes.min(options.memory_budget / 2),
        ..options
    };
    let log =
        LogOptions { dir: options.data_dir.join("log"), segment_bytes: options.segment_bytes };
    let recovery = blocking(move || Log::recover(&log)).await?;
    let incarnation = recovery.incarnation();
    let tables = Arc::new(tables);
    let budget = Budget::new(options.memory_budget);
    let mut state = State::new(incarnation, budget.clone());
    let open = Arc::new(OpenTables::default());
    let mut covered = HashMap::new();
    for name in tables.names().await? {
        let mut table = tables.open_table(&name).await?;
        table.fence(incarnation).await?;
        let name = table.schema().table.clone();
        covered.insert(name, table.covered(incarnation).unwrap_or(0));
        let stored = Stored::of(&table, incarnation);
        state.add_table(TableState::new(table.schema().clone(), stored, incarnation, &budget));
        open.insert(table);
    }
    let state = Arc::new(Mutex::new(state));
    let counters = Arc::new(Counters::default());
    let flusher =
        Flusher::new(state.clone(), tables.clone(), counters.clone(), incarnation, open.clone());
    let maintenance = Maintenance::new(
        state.clone(),
        tables.clone(),
        open.clone(),
        counters.clone(),
        options.maintenance.clone(),
    );
    maintenance.find_tiers().await?;
    let mut replay = Replay { state, budget, flusher, covered, options: &options };
    let log = replay.run(recovery).await?;
    let Replay { state, budget, flusher, .. } = replay;
    state.lock().resume(log.end(), log.producers(), options.limits.clone());
    Ok(start(
        options,
        log,
        Parts { state, budget, flusher, tables, counters, maintenance: Arc::new(maintenance) },
    ))
}

/// Puts back what the log holds and the tables do not.
struct Replay<'a> {
    state: Arc<Mutex<State>>,
    budget: Arc<Budget>,
    flusher: Flusher,
    /// By table: the position up to which its files have the log's rows.
    covered: HashMap<Arc<str>, Position>,
    options: &'a StorageOptions,
}

impl Replay<'_> {
    async fn run(&mut self, mut recovery: Recovery) -> Result<Log, StorageError> {
        loop {
            let (group, rest) =
                blocking(move || Ok((recovery.next().transpose()?, recovery))).await?;
            recovery = rest;
            let Some(group) = group else { break };
            for entry in group.entries {
                self.put(entry)?;
            }
            if self.budget.used() >= self.options.flush_bytes {
                self.flusher.flush().await?;
            }
        }
        let log = recovery.into_log()?;
        self.check_end(log.end(), log.incarnation())?;
        Ok(log)
    }

    fn put(&mut self, mut entry: Entry) -> Result<(), StorageError> {
        let covered = |block: &Block| {
            self.covered.get(block.layout().table()).is_some_and(|at| *at >= entry.position)
        };
        entry.blocks.retain(|block| !covered(block));
        let mut state = self.state.lock();
        for block in &mut entry.blocks {
            *block = readmit(&mut state, block)?;
        }
        let bytes = entry.blocks.iter().map(crate::buffer::memory_of).sum();
        let mut memory = self.budget.force(bytes);
        state.publish(entry, &mut memory);
        Ok(())
    }

    /// A table ahead of the log means that the log is an old copy: its next positions are taken.
    fn check_end(&self, end: Position, incarnation: Uuid) -> Result<(), StorageError> {
        match self.covered.iter().find(|(_, covered)| **covered > end) {
            None => Ok(()),
            Some((table, covered)) => Err(StorageError::corrupt(format!(
                "table {table} covers log {incarnation} up to position {covered}, but the log in {} \
                 ends at {end}: it was restored from an older copy or lost segments. Bring back the \
                 newest log, or move the log folder away to begin a new one; rows that only the \
                 lost part held must be resent",
                self.options.data_dir.join("log").display()
            ))),
        }
    }
}

/// The block under the layout that the state knows. The log holds only layouts that were
/// admitted once, so nothing is refused now.
fn readmit(state: &mut State, block: &Block) -> Result<Block, StorageError> {
    let layout: &Arc<Layout> = block.layout();
    let admission = state.admit(layout)?;
    if !admission.refused.is_empty() || admission.layout != *layout {
        return Err(StorageError::corrupt(format!(
            "table {} no longer takes a layout that is in the log",
            layout.table()
        )));
    }
    Ok(block.under(admission.layout))
}

struct Parts {
    state: Arc<Mutex<State>>,
    budget: Arc<Budget>,
    flusher: Flusher,
    tables: Arc<Tables>,
    counters: Arc<Counters>,
    maintenance: Arc<Maintenance>,
}

fn start(options: StorageOptions, log: Log, parts: Parts) -> Storage {
    let (sender, commands) = mpsc::channel(WAITING_BATCHES);
    let failure: Arc<OnceLock<StorageError>> = Arc::default();
    let flush_wanted = Arc::new(Notify::new());
    let mut writer = Writer::new(
        log,
        commands,
        parts.state.clone(),
        parts.counters.clone(),
        flush_wanted.clone(),
    );
    let (failed, budget) = (failure.clone(), parts.budget.clone());
    let writer = Worker::start("warpline-writer", async move {
        if let Err(error) = writer.run().await {
            tracing::error!(%error, "the log failed; nothing is taken any more");
            let _ = failed.set(error);
            budget.close();
        }
    });
    let shared = Arc::new(Shared {
        options,
        state: parts.state,
        tables: parts.tables,
        budget: parts.budget,
        counters: parts.counters,
        commands: Mutex::new(Some(sender)),
        flusher: AsyncMutex::new(parts.flusher),
        flush_wanted,
        failure,
        writer: Mutex::new(Some(writer)),
        maintenance: parts.maintenance,
        background: Mutex::default(),
    });
    let mut tasks = vec![tokio::spawn(Arc::clone(&shared).flush_in_background())];
    if shared.options.maintenance.background {
        tasks.push(tokio::spawn(shared.maintenance.clone().run()));
    }
    *shared.background.lock() = tasks;
    Storage { shared }
}
