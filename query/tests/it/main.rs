//! The query room over files written here, over a real store, against its specification
//! in text, and through real clients.
#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

mod attacks;
mod clients;
mod downsample;
mod fixture;
mod latest;
mod logins;
mod oracle;
mod plans;
mod postgres;
mod rollups;
mod slt;
mod store;
mod system;
mod values;
