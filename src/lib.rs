//! Warpline's top floor: command line, configuration, listeners and wiring.
//!
//! It is the only place where ingest and query are seen together. It decides nothing about data:
//! what is valid is storage's to say, what an answer is query's.

pub mod access;
pub mod agent;
pub mod backup;
pub mod check;
pub mod cli;
pub mod compact;
pub mod config;
pub mod demo;
mod descriptors;
pub mod export;
pub mod fields;
pub mod fleet;
pub mod import;
mod metrics;
mod progress;
pub mod remote;
mod routes;
pub mod serve;
mod signals;
pub mod simulate;
pub mod sql;

/// What a command ends with when it fails: one sentence for the person who typed it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
