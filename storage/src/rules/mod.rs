//! What must hold between the files of a table, as pure functions over what the log says of them.
//!
//! Nothing here reads a file or a clock: the model in the tests and the store itself decide by the
//! same rules.

mod check;
mod contest;
mod dirty;
mod merge;
#[cfg(test)]
mod model;

pub(crate) use check::{Broken, check_flush, check_merge, check_table};
pub(crate) use contest::{buffer_repeats, deduplicated_until, resolvable, times_of_others};
pub use contest::{contested, merged};
pub(crate) use dirty::{dirty, whole_buckets};
pub(crate) use merge::{FOREIGN, is_closed, late_stays, merged_version, merged_writer};
