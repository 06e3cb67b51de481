//! Every call of a process to the outside.
//!
//! A call takes its time there and back. It can be lost, done without an answer, done long after
//! it was given up, or done twice; and the process can die before it or after it.

use super::process::Process;
use super::world::{Flaw, World};
use crate::error::{ErrorKind, StorageError};
use crate::machine::simulated::{below, chance, is_blocked, moment, sleep};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Line {
    world: Arc<World>,
    process: Arc<Process>,
}

/// An error that says nothing of what has happened.
pub(crate) trait NoAnswer: Sized {
    fn no_answer(what: &str) -> Self;
}

/// What becomes of a call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Done,
    Lost,
    Unanswered,
    Repeated,
    Delayed,
}

impl Line {
    pub(super) fn new(world: Arc<World>, process: Arc<Process>) -> Arc<Self> {
        Arc::new(Self { world, process })
    }

    /// The way there of a call that changes nothing.
    pub(crate) async fn read<E: NoAnswer>(&self, what: &str) -> Result<(), E> {
        self.leave(what, || ()).await?;
        let percent = self.world.faults.lock().reads;
        if chance(percent) {
            self.world.note(format!("{} {what}: fails", self.process.number));
            return Err(E::no_answer(what));
        }
        Ok(())
    }

    /// Whether a file, or else a commit, is answered and not there.
    pub(crate) fn lies(&self, of_file: bool) -> bool {
        let flaw = if of_file { Flaw::LosesFiles } else { Flaw::LosesCommits };
        self.world.flaw == Some(flaw) && chance(10)
    }

    /// The way back of a call.
    pub(crate) async fn back<E: NoAnswer>(&self, what: &str) -> Result<(), E> {
        if !is_blocked() {
            moment().await;
        }
        self.alive(what).await
    }

    /// A call that changes something, which `land` does once it is there.
    pub(crate) async fn write<T, E, L>(&self, what: &str, land: L) -> Result<T, E>
    where
        E: NoAnswer + fmt::Display + Send + 'static,
        T: Send + 'static,
        L: Fn() -> Result<T, E> + Send + Sync + 'static,
    {
        self.leave(what, || drop(land())).await?;
        let fate = self.fate();
        self.world.note(format!("{} {what}: {fate:?}", self.process.number));
        match fate {
            Fate::Lost => return Err(E::no_answer(what)),
            Fate::Delayed => {
                let wait = Duration::from_millis(below([50, 5_000, 100_000][below(3) as usize]));
                let (world, late) = (self.world.clone(), what.to_owned());
                tokio::spawn(async move {
                    sleep(wait).await;
                    let landed = land().is_ok();
                    world.note(format!("{late}: done late: {landed}"));
                });
                self.back(what).await?;
                return Err(E::no_answer(what));
            }
            Fate::Done | Fate::Unanswered => {}
            Fate::Repeated => drop(land()),
        }
        let done = land();
        if let Err(error) = &done {
            self.world.note(format!("{} {what}: {error}", self.process.number));
        }
        self.back(what).await?;
        if fate == Fate::Unanswered { Err(E::no_answer(what)) } else { done }
    }

    /// Whoever is gone waits for ever, but where nobody can wait.
    async fn alive<E: NoAnswer>(&self, what: &str) -> Result<(), E> {
        if !self.process.is_gone() {
            return Ok(());
        }
        if is_blocked() {
            return Err(E::no_answer(what));
        }
        std::future::pending().await
    }

    async fn leave<E: NoAnswer>(&self, what: &str, last: impl FnOnce()) -> Result<(), E> {
        self.alive(what).await?;
        if !is_blocked() {
            moment().await;
        }
        self.alive(what).await?;
        if self.process.call() {
            let lands = chance(50);
            self.world.note(format!("process {} dies in {what}: {lands}", self.process.number));
            if lands {
                last();
            }
            self.alive(what).await?;
        }
        Ok(())
    }

    fn fate(&self) -> Fate {
        if !chance(self.world.faults.lock().writes) {
            return Fate::Done;
        }
        [Fate::Lost, Fate::Unanswered, Fate::Repeated, Fate::Delayed][below(4) as usize]
    }
}

impl NoAnswer for StorageError {
    fn no_answer(what: &str) -> Self {
        Self::new(ErrorKind::Retry, format!("{what}: no answer"))
    }
}

impl NoAnswer for object_store::Error {
    fn no_answer(what: &str) -> Self {
        Self::Generic { store: "Objects", source: format!("{what}: no answer").into() }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("process", &self.process.number).finish_non_exhaustive()
    }
}
