//! The store, run from a seed: the real writer, log, buffer, flush, tables and maintenance, on a
//! machine whose time, names and order of tasks follow from one number, over a disk whose power
//! goes, a store that loses answers and logs of tables that are late.
//!
//! ```text
//! history.rs    rounds of a process' life and how each ends -> process.rs  a process and its end
//! actors.rs     producers, readers, maintenance, another program
//! line.rs       every call of a process to the outside, and what becomes of it
//!               -> store.rs (objects), table/simulated.rs (logs of tables), log/disk/volume.rs
//! oracle.rs     the batches in the order of their positions: what every snapshot must hold
//! reading.rs    snapshot -> rows
//! world.rs      what all of these share: faults, trace, the first thing that went wrong
//! ```
//! What is right is told by the batches alone: those that a producer was told to be durable, in the
//! order in which the writer took them, with the last write per field. docs/decisions/2026-11-24-simulation.md
//! says what is simulated and what is not.

mod actors;
mod history;
mod line;
mod load;
mod oracle;
mod process;
mod reading;
mod signal;
mod store;
#[cfg(test)]
mod tests;
mod world;

pub(crate) use line::Line;
pub(crate) use reading::{clean_buckets, rows};
