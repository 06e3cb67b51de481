//! One statement's share of the memory that all statements have.
//!
//! Promises: a statement that comes to the end of its share spills, or fails with an error that
//! names the setting; the others do not notice.

use datafusion::common::resources_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};
use datafusion::execution::runtime_env::RuntimeEnv;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[derive(Debug)]
struct Share {
    all: Arc<dyn MemoryPool>,
    limit: usize,
    used: AtomicUsize,
}

/// What all statements run in, with memory of at most `limit` bytes for this one.
pub(crate) fn share(all: &RuntimeEnv, limit: usize) -> Arc<RuntimeEnv> {
    let mut own = all.clone();
    own.memory_pool =
        Arc::new(Share { all: Arc::clone(&all.memory_pool), limit, used: AtomicUsize::new(0) });
    Arc::new(own)
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes for a statement", self.used.load(Relaxed), self.limit)
    }
}

impl MemoryPool for Share {
    fn name(&self) -> &'static str {
        "statement"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.all.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.all.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.used.fetch_add(additional, Relaxed);
        self.all.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.used.fetch_sub(shrink, Relaxed);
        self.all.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let grown = |used: usize| used.checked_add(additional).filter(|used| *used <= self.limit);
        self.used.fetch_update(Relaxed, Relaxed, grown).map_err(|used| {
            resources_datafusion_err!(
                "the statement has {used} bytes of memory and needs {additional} more; one may have \
                 {} (query.statement_memory): ask for less at once",
                self.limit
            )
        })?;
        let given = self.all.try_grow(reservation, additional);
        if given.is_err() {
            self.used.fetch_sub(additional, Relaxed);
        }
        given
    }

    fn reserved(&self) -> usize {
        self.used.load(Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}
