//! The memory that buffered rows may take: appends wait for room, dropping the last holder of the
//! rows (a flush or a slow query) gives it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// How many wait for room.
    waiting: AtomicUsize,
    closed: AtomicBool,
    room: Notify,
}

/// Bytes taken from a budget until dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        let (used, waiting, closed, room) = Default::default();
        Arc::new(Self { limit, used, waiting, closed, room })
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether somebody waits for room.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Waits until `bytes` fit, having told so by `wanted`; `None` once closed. More than the whole
    /// limit is let through once nothing else is held, so that no batch can wait for ever.
    pub(crate) async fn reserve(
        self: &Arc<Self>,
        bytes: usize,
        wanted: impl FnOnce(),
    ) -> Option<Reservation> {
        let _waiting = Waiting::among(&self.waiting);
        wanted();
        loop {
            let room = self.room.notified();
            if self.closed.load(Ordering::Acquire) {
                return None;
            }
            if let Some(reservation) = self.try_reserve(bytes) {
                return Some(reservation);
            }
            room.await;
        }
    }

    /// Nothing will be given back any more: whoever waits is told.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.room.notify_waiters();
    }

    pub(crate) fn try_reserve(self: &Arc<Self>, bytes: usize) -> Option<Reservation> {
        let fits = |used: usize| (used == 0 || used + bytes <= self.limit).then_some(used + bytes);
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, fits)
            .ok()
            .map(|_| Reservation { budget: Arc::clone(self), bytes })
    }

    /// Takes `bytes` whether they fit or not: for rows that are already in the log.
    pub(crate) fn force(self: &Arc<Self>, bytes: usize) -> Reservation {
        self.used.fetch_add(bytes, Ordering::AcqRel);
        Reservation { budget: Arc::clone(self), bytes }
    }
}

/// Somebody who waits, until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn among(all: &'a AtomicUsize) -> Self {
        all.fetch_add(1, Ordering::AcqRel);
        Self(all)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Reservation {
    /// Adds what another reservation of the same budget holds.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        debug_assert!(Arc::ptr_eq(&self.budget, &other.budget));
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Parts with `bytes` of what it holds, at most all.
    #[must_use]
    pub(crate) fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { budget: Arc::clone(&self.budget), bytes }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let before = self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
            debug_assert!(before >= self.bytes, "released {} of {before}", self.bytes);
            self.budget.room.notify_waiters();
        }
    }
}
