//! A process: alive, or gone with everything that it had in memory.

use super::signal::Signal;
use super::world::World;
use crate::Storage;
use crate::log::{Step, volume::Fate};
use crate::machine::simulated::{below, chance};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

pub(super) struct Process {
    pub(super) number: u64,
    gone: Signal<bool>,
    /// Its disk has been given to another process.
    detached: AtomicBool,
    /// It dies after so many calls to the outside.
    left: AtomicU64,
}

/// A process whose store is open.
pub(super) struct Session {
    pub(super) process: Arc<Process>,
    pub(super) storage: Storage,
    /// The tables that it found, and fenced.
    pub(super) known: Vec<Arc<str>>,
}

impl Process {
    pub(super) fn new(number: u64, left: u64) -> Arc<Self> {
        let (gone, detached) = (Signal::new(false), AtomicBool::new(false));
        Arc::new(Self { number, gone, detached, left: AtomicU64::new(left) })
    }

    pub(super) fn die(&self) {
        self.gone.set(true);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    pub(super) async fn gone(&self) {
        self.gone.wait_for(|gone| *gone).await;
    }

    pub(super) fn detach(&self) {
        self.detached.store(true, Relaxed);
    }

    pub(super) fn never_dies(&self) {
        self.left.store(u64::MAX, Relaxed);
    }

    /// One more call to the outside; answers whether the process dies in it.
    pub(super) fn call(&self) -> bool {
        let left = self.left.load(Relaxed);
        self.left.store(left.saturating_sub(1), Relaxed);
        if left == 0 && !self.is_gone() {
            self.die();
            return true;
        }
        false
    }

    /// What becomes of a step that the process takes on its disk.
    pub(super) fn step(&self, world: &World, step: Step, name: &str) -> Fate {
        if self.is_gone() {
            return Fate::Gone;
        }
        if self.detached.load(Relaxed) {
            return Fate::Failed;
        }
        if self.call() {
            world.note(format!("process {} dies in {step:?} of {name}", self.number));
            return if chance(50) { Fate::Last } else { Fate::Gone };
        }
        let mut faults = world.faults.lock();
        let fails = faults.disk_fails_in == Some(0);
        let is_large = matches!(step, Step::Write | Step::SyncData | Step::SyncFile);
        faults.disk_fails_in = match faults.disk_fails_in {
            Some(0) if is_large => None,
            left => left.map(|left| left.saturating_sub(1)),
        };
        drop(faults);
        if fails && is_large {
            world.note(format!("the disk fails {step:?} of {name}"));
            return Fate::Failed;
        }
        Fate::Taken
    }
}

impl Session {
    /// The future's outcome, unless the process dies or another takes its place first.
    pub(super) async fn during<T>(
        self: &Arc<Self>,
        world: &World,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let is_other = |other: &Option<Arc<Self>>| {
            other.as_ref().is_none_or(|other| other.process.number != self.process.number)
        };
        tokio::select! {
            biased;
            () = self.process.gone() => None,
            _ = world.session.wait_for(is_other) => None,
            done = work => Some(done),
        }
    }
}

/// How many calls to the outside a process makes before it dies, where it does by itself.
pub(super) fn life() -> u64 {
    if chance(60) { below([20, 100, 400][below(3) as usize]) } else { u64::MAX }
}
