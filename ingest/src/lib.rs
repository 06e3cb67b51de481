//! Warpline's ingest: bytes of any protocol become [`warpline_storage::model::Batch`].

pub mod client;
pub mod convert;
pub mod dictionary;
pub mod exposition;
pub mod frame;
pub mod labels;
pub mod node;
pub mod nvml;
pub mod rocm_smi;
pub mod scrape;
pub mod spool;
pub mod stream;

#[cfg(test)]
mod test_data;

pub use client::{ClientError, ClientOptions, SpoolClient, StreamClient};
pub use stream::{StreamService, WireLimits, stream_service};
