//! OpenTelemetry metrics.

use super::{Verdict, rows};
use crate::otlp;
use warpline_storage::Storage;

/// An `ExportMetricsServiceRequest`.
pub fn otlp(input: &[u8], storage: &Storage) -> Verdict {
    let read = rows::register(storage, |register| otlp::read(input, register));
    let (points, tally) = read?;
    assert!(points.unsupported <= points.points);
    rows::verdict(&tally.refused)
}
