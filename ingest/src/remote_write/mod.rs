//! Prometheus remote write, 1.0 and 2.0: Snappy blocks of protobuf messages, read in place.
//!
//! ```text
//! decompress      the length is told first and checked against a limit before a byte is allocated
//! read            walks the message and tells a `Sink` of series, samples and metadata
//! SeriesKey       a series' labels as bytes: the same in both versions, and what it is known by
//! ```
//! Nothing is copied out of a message of version 1.0; in 2.0 a series' labels are put together
//! from the request's symbols. Any bytes may be given: nothing here panics.

mod key;
#[cfg(test)]
pub(crate) mod tests;
mod v1;
mod v2;

pub use key::{LabelledSeries, SeriesKey};

use crate::exposition::MetricType;
use crate::protobuf;

/// Symbols of a request of version 2.0.
pub const MAX_SYMBOLS: usize = 1 << 20;
/// What the labels of all series of a request of version 2.0 take when they are written out.
pub const MAX_EXPANDED_BYTES: usize = 256 << 20;

/// Which message a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// `prometheus.WriteRequest`
    V1,
    /// `io.prometheus.write.v2.Request`
    V2,
}

/// Why a request cannot be read: nothing of it is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the body is not a Snappy block: {0}")]
    Snappy(String),
    #[error("the first symbol is {0:?} where it must be empty")]
    FirstSymbol(String),
    #[error("the request has more than {MAX_SYMBOLS} symbols: send it in parts")]
    ManySymbols,
    #[error(
        "the labels of all series take more than {} MiB when written out: send them in parts",
        MAX_EXPANDED_BYTES >> 20
    )]
    Expanded,
    #[error(transparent)]
    Message(#[from] protobuf::Malformed),
}

/// What a request says, in the order it says it. Samples are of the last series told.
pub trait Sink {
    /// A series, by its [`SeriesKey`].
    fn series(&mut self, key: &[u8]);
    /// The next series cannot be read, and has these many samples.
    fn bad_series(&mut self, reason: &str, samples: u64);
    /// Milliseconds since the epoch, and a value.
    fn sample(&mut self, millis: i64, value: f64);
    fn exemplar(&mut self);
    fn histogram(&mut self);
    fn metadata(&mut self, family: &str, kind: MetricType, unit: &str);
}

/// Reads a decompressed request. After an error the sink has heard a part of it.
pub fn read(version: Version, message: &[u8], sink: &mut impl Sink) -> Result<(), Malformed> {
    match version {
        Version::V1 => Ok(v1::read(message, sink)?),
        Version::V2 => v2::read(message, sink),
    }
}

/// The length that a Snappy block says it has when decompressed.
pub fn decompressed_len(block: &[u8]) -> Result<usize, Malformed> {
    snap::raw::decompress_len(block).map_err(|error| Malformed::Snappy(error.to_string()))
}

/// Decompresses a Snappy block, whose [`decompressed_len`] the caller has looked at, into a buffer
/// that may have been used before.
pub fn decompress<'a>(block: &[u8], buffer: &'a mut Vec<u8>) -> Result<&'a [u8], Malformed> {
    let len = decompressed_len(block)?;
    if buffer.len() < len {
        // Zeros that nobody has touched take no memory.
        *buffer = vec![0; len];
    }
    let len = snap::raw::Decoder::new().decompress(block, buffer);
    Ok(&buffer[..len.map_err(|error| Malformed::Snappy(error.to_string()))?])
}

/// Kinds as both versions number them.
fn kind_of(number: u64) -> MetricType {
    match number {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}
