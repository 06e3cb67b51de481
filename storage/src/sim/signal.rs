//! A value that can be waited for. Whoever waits wakes in the order of their coming: those of
//! tokio's `watch` wake in an order that no seed can set.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::{Poll, Waker};

pub(super) struct Signal<T>(Mutex<Inner<T>>);

struct Inner<T> {
    value: T,
    waiting: BTreeMap<u64, Waker>,
    came: u64,
}

impl<T: Clone + Send> Signal<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Mutex::new(Inner { value, waiting: BTreeMap::new(), came: 0 }))
    }

    pub(super) fn get(&self) -> T {
        self.0.lock().value.clone()
    }

    pub(super) fn set(&self, value: T) {
        let mut inner = self.0.lock();
        inner.value = value;
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        waiting.into_values().for_each(Waker::wake);
    }

    pub(super) async fn wait_for(&self, is_wanted: impl Fn(&T) -> bool + Send + Sync) -> T {
        let mut place = None;
        poll_fn(|context| {
            let mut inner = self.0.lock();
            if is_wanted(&inner.value) {
                return Poll::Ready(inner.value.clone());
            }
            let own = *place.get_or_insert_with(|| {
                inner.came += 1;
                inner.came
            });
            inner.waiting.insert(own, context.waker().clone());
            Poll::Pending
        })
        .await
    }
}
