//! Warpline's kernel: slices in, facts out.
//!
//! It knows nothing of tables, files or SQL, and depends on nothing.

mod order;

pub use order::{extremes, strictly_increasing};
