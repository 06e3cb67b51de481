//! What everybody in a simulation shares.

use super::load::Load;
use super::oracle::Oracle;
use super::process::Session;
use super::signal::Signal;
use super::store::Objects;
use crate::error::{ErrorKind, StorageError};
use crate::machine::simulated::{below, chance};
use crate::machine::uptime;
use crate::table::simulated::Shared;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// How often things go wrong, in percent of the times that they could.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) reads: u64,
    pub(super) writes: u64,
    /// The disk fails a sync or a write after so many steps.
    pub(super) disk_fails_in: Option<u64>,
}

/// What the outside does that it must not: what a history must find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A sync of the log's disk is answered and not done.
    SyncsNothing,
    /// Now and then a commit is answered and not made.
    LosesCommits,
    /// Now and then a file is answered and not there.
    LosesFiles,
}

/// What a run comes to.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Of everything that happened, in order.
    pub(super) hash: u64,
    pub(super) failure: Option<String>,
    pub(super) history: Vec<String>,
    /// How often a snapshot was compared with the truth, and a bucket of a tier with its rows.
    pub(super) compared: u64,
    pub(super) buckets: u64,
}

pub(super) struct World {
    pub(super) tables: Arc<Shared>,
    pub(super) objects: Arc<Objects>,
    pub(super) oracle: Mutex<Oracle>,
    pub(super) faults: Mutex<Faults>,
    pub(super) session: Signal<Option<Arc<Session>>>,
    pub(super) flaw: Option<Flaw>,
    trace: Mutex<Trace>,
    folder: TempDir,
}

#[derive(Default)]
struct Trace {
    hash: u64,
    history: Vec<String>,
    failure: Option<String>,
    compared: u64,
    buckets: u64,
}

impl Faults {
    pub(super) fn drawn() -> Self {
        let percent = [0, 0, 2, 10, 30];
        Self {
            reads: percent[below(5) as usize] / 2,
            writes: percent[below(5) as usize],
            disk_fails_in: chance(35).then(|| below(60)),
        }
    }
}

impl World {
    pub(super) fn new(loads: Vec<Vec<Load>>, flaw: Option<Flaw>) -> Arc<Self> {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        Arc::new(Self {
            tables: Arc::default(),
            objects: Arc::default(),
            oracle: Mutex::new(Oracle::new(loads)),
            faults: Mutex::default(),
            session: Signal::new(None),
            flaw,
            trace: Mutex::default(),
            folder: folder.expect("a folder"),
        })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Something happened.
    pub(super) fn note(&self, what: impl std::fmt::Display) {
        let line = format!("{:>12.6} {what}", uptime().as_secs_f64());
        let mut trace = self.trace.lock();
        for byte in line.bytes() {
            trace.hash = (trace.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        trace.history.push(line);
    }

    /// Something happened that must not.
    pub(super) fn fail(&self, what: impl std::fmt::Display) {
        self.note(format!("WRONG: {what}"));
        self.trace.lock().failure.get_or_insert_with(|| what.to_string());
    }

    pub(super) fn has_failed(&self) -> bool {
        self.trace.lock().failure.is_some()
    }

    /// What an error says of whoever met it: some there must be, of some kinds there must be none.
    pub(super) fn judge(&self, during: &str, error: &StorageError) {
        self.note(format!("{during}: {error}"));
        let text = error.to_string();
        if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Internal | ErrorKind::Rejected)
            || text.contains("not found")
        {
            self.fail(format!("{during}: {:?}: {text}", error.kind()));
        }
    }

    pub(super) fn compared(&self, buckets: u64) {
        let mut trace = self.trace.lock();
        trace.compared += 1;
        trace.buckets += buckets;
    }

    /// Whoever is the process now, once there is one.
    pub(super) async fn session(&self) -> Arc<Session> {
        self.session.wait_for(Option::is_some).await.expect("there is one")
    }

    pub(super) fn outcome(&self) -> Outcome {
        let mut trace = self.trace.lock();
        Outcome {
            hash: trace.hash,
            failure: trace.failure.take(),
            history: std::mem::take(&mut trace.history),
            compared: trace.compared,
            buckets: trace.buckets,
        }
    }
}
