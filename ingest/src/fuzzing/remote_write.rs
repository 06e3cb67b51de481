//! Prometheus remote write: messages of both versions, and bodies as they are sent.

use super::{Verdict, rows};
use crate::exposition::MetricType;
use crate::remote_write::{self, LabelledSeries, Sink, Version};
use warpline_storage::Storage;

/// Bodies that say to be longer are refused before they are decompressed.
const MESSAGE_BYTES: usize = 1 << 20;

/// A decompressed `prometheus.WriteRequest`.
pub fn remote_write_1(input: &[u8], storage: &Storage) -> Verdict {
    message(Version::V1, input, storage)
}

/// A decompressed `io.prometheus.write.v2.Request`.
pub fn remote_write_2(input: &[u8], storage: &Storage) -> Verdict {
    message(Version::V2, input, storage)
}

/// A body as it is sent: Snappy, with a message of version 1.0.
pub fn remote_write_body(input: &[u8], storage: &Storage) -> Verdict {
    let length = remote_write::decompressed_len(input).map_err(|error| error.to_string())?;
    if length > MESSAGE_BYTES {
        return Err(format!("{length} bytes are more than {MESSAGE_BYTES}"));
    }
    let mut buffer = Vec::new();
    let body = remote_write::decompress(input, &mut buffer).map_err(|error| error.to_string())?;
    assert_eq!(body.len(), length, "a body has the length that it says");
    message(Version::V1, body, storage)
}

fn message(version: Version, input: &[u8], storage: &Storage) -> Verdict {
    let read = rows::register(storage, |register| remote_write::read(version, input, register));
    let mut counted = Counted::default();
    let count = remote_write::read(version, input, &mut counted);
    assert_eq!(count.is_ok(), read.is_ok(), "reading rests on the bytes alone");
    let ((), tally) = read?;
    assert_eq!(tally.samples, counted.samples);
    rows::verdict(&tally.refused)
}

/// Counts samples, those of series that cannot be read included.
#[derive(Default)]
struct Counted {
    samples: u64,
}

impl Sink for Counted {
    fn series(&mut self, key: &[u8]) {
        drop(LabelledSeries::of(key));
    }

    fn bad_series(&mut self, reason: &str, samples: u64) {
        assert!(!reason.is_empty());
        self.samples += samples;
    }

    fn sample(&mut self, _: i64, _: f64) {
        self.samples += 1;
    }

    fn exemplar(&mut self) {}

    fn histogram(&mut self) {}

    fn metadata(&mut self, _: &str, _: MetricType, _: &str) {}
}
