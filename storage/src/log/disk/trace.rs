//! For tests: records the disk steps of this thread and lets one of them fail.

use super::Step;
use std::cell::{Cell, RefCell};
use std::io;

thread_local! {
    static STEPS: RefCell<Vec<Step>> = const { RefCell::new(Vec::new()) };
    static FAILING: Cell<Option<Step>> = const { Cell::new(None) };
}

pub(super) fn step(step: Step) -> io::Result<()> {
    STEPS.with_borrow_mut(|steps| steps.push(step));
    if FAILING.get() == Some(step) {
        return Err(io::Error::other("injected"));
    }
    Ok(())
}

/// The steps since the last call.
pub(in crate::log) fn taken() -> Vec<Step> {
    STEPS.take()
}

/// From now on every such step of this thread fails; `None` mends the disk.
pub(in crate::log) fn fail(step: Option<Step>) {
    FAILING.set(step);
}
