//! What the store takes from the machine it runs on: the time, names that nobody else has, and
//! threads that may block.
//!
//! In tests a thread can be given a simulated machine: its time and names come from a seed, and
//! blocking work runs where it is asked for.

use crate::error::{ErrorKind, StorageError};
use crate::model::Timestamp;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Handle;
use uuid::Uuid;

#[cfg(test)]
pub(crate) mod simulated;

static FIRST_ASKED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds since 1970.
pub(crate) fn now() -> Timestamp {
    #[cfg(test)]
    if let Some(now) = simulated::now() {
        return now;
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

/// A time of this process that never goes back.
pub(crate) fn uptime() -> Duration {
    #[cfg(test)]
    if let Some(uptime) = simulated::uptime() {
        return uptime;
    }
    FIRST_ASKED.elapsed()
}

/// A number that nobody else has.
pub(crate) fn new_id() -> Uuid {
    #[cfg(test)]
    if let Some(id) = simulated::new_id() {
        return id;
    }
    Uuid::new_v4()
}

pub(crate) async fn sleep(time: Duration) {
    #[cfg(test)]
    if simulated::is_on() {
        return simulated::sleep(time).await;
    }
    tokio::time::sleep(time).await;
}

/// Runs work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    #[cfg(test)]
    if simulated::is_on() {
        return simulated::blocking(work).await;
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        StorageError::because(ErrorKind::Internal, "work beside the tasks ended early", error)
    })?
}

/// For work that may block: waits for what happens on a runtime.
pub(crate) fn wait<T>(runtime: &Handle, future: impl Future<Output = T>) -> T {
    #[cfg(test)]
    if simulated::is_on() {
        return simulated::at_once(future);
    }
    runtime.block_on(future)
}

/// Work with a thread of its own, where it may block.
#[derive(Debug)]
pub(crate) enum Worker {
    Thread(std::thread::JoinHandle<()>),
    #[cfg(test)]
    Task(tokio::task::JoinHandle<()>),
}

impl Worker {
    pub(crate) fn start(name: &str, work: impl Future<Output = ()> + Send + 'static) -> Self {
        #[cfg(test)]
        if simulated::is_on() {
            return Self::Task(tokio::spawn(work));
        }
        let thread = std::thread::Builder::new().name(name.into());
        let started = thread.spawn(move || futures::executor::block_on(work));
        Self::Thread(started.expect("a thread can be started"))
    }

    /// Waits for its end; answers whether it came to it without a panic.
    pub(crate) async fn join(self) -> bool {
        match self {
            Self::Thread(thread) => {
                matches!(blocking(move || Ok(thread.join().is_ok())).await, Ok(true))
            }
            #[cfg(test)]
            Self::Task(task) => task.await.is_ok(),
        }
    }
}

/// For a worker: lets time pass on its thread.
pub(crate) async fn pause(time: Duration) {
    #[cfg(test)]
    if simulated::is_on() {
        return simulated::sleep(time).await;
    }
    std::thread::sleep(time);
}
