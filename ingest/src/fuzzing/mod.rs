//! Entries for hostile bytes, one a decoder: each calls it as its callers do and holds the answer to
//! what is promised of it. The targets of `fuzz/` and the tests of kept inputs run the same entries.
//!
//! An entry answers why its input, or a part of it, is refused, and panics where a promise is broken.

#[cfg(test)]
#[path = "../../../tests/hostile/bounded.rs"]
mod bounded;
mod exposition;
mod flight;
mod frame;
mod lines;
mod otlp;
mod remote_write;
#[cfg(test)]
#[path = "../../../tests/hostile/replay.rs"]
mod replay;
mod rows;
#[cfg(test)]
mod tests;
mod text;

pub use crate::spool::fuzzing::spool;
pub use exposition::exposition;
pub use flight::flight;
pub use frame::frame;
pub use lines::lines;
pub use otlp::otlp;
pub use remote_write::{remote_write_1, remote_write_2, remote_write_body};
pub use text::{dictionary, labels};

use crate::dictionary::Dictionary;
use std::sync::{Arc, LazyLock};

/// Why an input, or a part of it, was refused.
pub type Verdict = Result<(), String>;

/// Read once: every input meets the same.
static DICTIONARY: LazyLock<Arc<Dictionary>> = LazyLock::new(|| Arc::new(Dictionary::builtin()));
