//! Entries for hostile bytes, one a decoder: each calls it as its callers do and holds the answer to
//! what is promised of it. The targets of `fuzz/` and the tests of kept inputs run the same entries.
//!
//! An entry answers why its input, or a part of it, is refused, and panics where a promise is broken.

mod block;
#[cfg(test)]
#[path = "../../../tests/hostile/bounded.rs"]
mod bounded;
#[cfg(test)]
#[path = "../../../tests/hostile/replay.rs"]
mod replay;
#[cfg(test)]
mod tests;

pub use crate::backup::fuzzing::manifest;
pub use crate::log::fuzzing::log;
pub use crate::table::fuzzing::commit;
pub use block::block;

/// Why an input, or a part of it, was refused.
pub type Verdict = Result<(), String>;
