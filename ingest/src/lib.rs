//! Warpline's ingest: bytes of any protocol become [`warpline_storage::model::Batch`].

pub mod client;
pub mod convert;
pub mod dictionary;
pub mod exposition;
mod flight;
mod forgetting;
pub mod frame;
#[doc(hidden)]
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod labels;
pub mod line_protocol;
mod lines;
mod naming;
pub mod node;
pub mod nvml;
mod otlp;
mod pages;
mod protobuf;
pub mod refused;
mod register;
pub mod remote_write;
pub mod rocm_smi;
pub mod scrape;
pub mod spool;
pub mod stream;
pub mod write;

#[cfg(test)]
mod test_data;

pub use client::{ClientError, ClientOptions, Remote, SpoolClient, StreamClient};
pub use stream::{StreamService, WireLimits, stream_service};
pub use write::{FlightPut, WriteLimits, WriteService, write_service};
