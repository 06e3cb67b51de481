//! What must hold between the files of a table, as pure functions over what the log says of them.
//!
//! Nothing here reads a file or a clock: the model in the tests and the store itself decide by the
//! same rules.

mod contest;

pub use contest::{contested, merged};
