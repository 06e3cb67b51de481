//! Descriptors: each connection of a fleet takes one, and systems give a process few unless asked.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for as many as the process may have.
pub(crate) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, ?current, "connections are bounded by the limit of open files");
    }
}
