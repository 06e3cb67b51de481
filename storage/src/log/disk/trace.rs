//! For tests: records the disk steps of this thread and lets one of them fail.

use super::Step;
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};

thread_local! {
    static STEPS: RefCell<Vec<Step>> = const { RefCell::new(Vec::new()) };
    static FAILING: Cell<Option<(Step, ErrorKind)>> = const { Cell::new(None) };
}

pub(super) fn step(step: Step) -> io::Result<()> {
    STEPS.with_borrow_mut(|steps| steps.push(step));
    match FAILING.get() {
        Some((failing, kind)) if failing == step => Err(io::Error::new(kind, "injected")),
        _ => Ok(()),
    }
}

/// The steps since the last call.
pub(in crate::log) fn taken() -> Vec<Step> {
    STEPS.take()
}

/// From now on every such step of this thread fails; `None` mends the disk.
pub(in crate::log) fn fail(step: Option<Step>) {
    FAILING.set(step.map(|step| (step, ErrorKind::Other)));
}

/// From now on every such step of this thread finds no room on the disk.
pub(in crate::log) fn fill(step: Step) {
    FAILING.set(Some((step, ErrorKind::StorageFull)));
}
