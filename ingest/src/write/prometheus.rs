//! `POST /api/v1/write`: Prometheus remote write 1.0 and 2.0.
//!
//! ```text
//! 204   all of it is durable
//! 400   what cannot be taken is told; the rest is durable. Sent again it would fare no better
//! 413   too large    415   another message or compression
//! 503   the store pushes back: come again after Retry-After
//! ```
//! A request of version 2.0 is told in headers how many samples were written.

use super::Server;
use super::answer::{Failure, in_words};
use super::body;
use super::metrics::Protocol;
use crate::exposition::MetricType;
use crate::refused::Reason;
use crate::register::{Register, Tally};
use crate::remote_write::{self, Malformed, Sink, Version};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use std::sync::Arc;
use warpline_storage::model::{Block, Value};

const WRITTEN: [HeaderName; 3] = [
    HeaderName::from_static("x-prometheus-remote-write-samples-written"),
    HeaderName::from_static("x-prometheus-remote-write-histograms-written"),
    HeaderName::from_static("x-prometheus-remote-write-exemplars-written"),
];

pub(super) fn routes() -> Router<Arc<Server>> {
    Router::new().route("/api/v1/write", post(write))
}

async fn write(State(server): State<Arc<Server>>, headers: HeaderMap, body: Body) -> Response {
    let version = match negotiate(&headers) {
        Ok(version) => version,
        Err(failure) => {
            server.metrics.failed(&failure);
            let text = format!("{}\n", failure.text);
            return failure.into_answer(text);
        }
    };
    let (written, response) = match take(&server, version, body).await {
        Ok(tally) => (written(&tally), answer(&tally)),
        Err(failure) => {
            server.metrics.failed(&failure);
            tracing::debug!(status = %failure.status, text = failure.text, "a write failed");
            let text = format!("{}\n", failure.text);
            (0, failure.into_answer(text))
        }
    };
    if version == Version::V2 { with_written(response, written) } else { response }
}

/// The version that the headers ask for.
fn negotiate(headers: &HeaderMap) -> Result<Version, Failure> {
    let unsupported = |text| Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    let text = |name: HeaderName| {
        headers.get(name).map_or("", |value| value.to_str().unwrap_or("?")).trim()
    };
    let encoding = text(header::CONTENT_ENCODING);
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("snappy") {
        return Err(unsupported(format!("Content-Encoding {encoding}: send snappy")));
    }
    let content_type = text(header::CONTENT_TYPE);
    let mut parts = content_type.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let proto = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("proto").then(|| value.trim().trim_matches('"'))
    });
    match (media.to_ascii_lowercase().as_str(), proto) {
        ("" | "application/x-protobuf", None | Some("prometheus.WriteRequest")) => Ok(Version::V1),
        ("application/x-protobuf", Some("io.prometheus.write.v2.Request")) => Ok(Version::V2),
        _ => Err(unsupported(format!(
            "Content-Type {content_type}: send application/x-protobuf with \
             proto=prometheus.WriteRequest or proto=io.prometheus.write.v2.Request"
        ))),
    }
}

async fn take(server: &Arc<Server>, version: Version, body: Body) -> Result<Tally, Failure> {
    let (body, mut held) = server.bodies.read(body).await?;
    let len = remote_write::decompressed_len(&body).map_err(Failure::malformed)?;
    if len > server.limits.message_bytes {
        return Err(Failure::too_large("the decompressed message", server.limits.message_bytes));
    }
    server.bodies.hold(&mut held, len).await?;
    let bytes = body.len();
    let own = server.clone();
    let task = move || map(&own, version, &body);
    let ((blocks, tally), _held) = body::work(len, false, held, task).await?;
    server.intake.store(blocks).await?;
    let protocol = match version {
        Version::V1 => Protocol::RemoteWrite1,
        Version::V2 => Protocol::RemoteWrite2,
    };
    server.metrics.request(protocol, bytes, tally.samples);
    server.metrics.stale(tally.stale);
    server.metrics.refused(&tally.refused);
    Ok(tally)
}

/// The request's rows.
fn map(server: &Server, version: Version, body: &Bytes) -> Result<(Vec<Block>, Tally), Failure> {
    server.spare.with(|buffer| {
        let message = remote_write::decompress(body, buffer).map_err(Failure::malformed)?;
        read(server, version, message)
    })
}

fn read(server: &Server, version: Version, message: &[u8]) -> Result<(Vec<Block>, Tally), Failure> {
    let storage = server.intake.storage();
    let times = storage.accepted_times();
    let mut register = server.register.lock();
    register.begin(server.minute(), times.first..=times.last);
    let read: Result<(), Malformed> = remote_write::read(version, message, &mut *register);
    if let Err(malformed) = read {
        register.discard();
        return Err(Failure::malformed(format!("{malformed}: nothing of the request is taken")));
    }
    Ok(register.finish(storage)?)
}

impl Sink for Register {
    fn series(&mut self, key: &[u8]) {
        Self::series(self, key);
    }

    fn bad_series(&mut self, reason: &str, samples: u64) {
        self.refuse(samples, reason);
    }

    fn sample(&mut self, millis: i64, value: f64) {
        Self::sample(self, millis.saturating_mul(1_000), Value::Float(value));
    }

    fn exemplar(&mut self) {
        let text = || "exemplars are not stored: set send_exemplars to false".to_owned();
        self.refused().add(Reason::Exemplar, 1, text);
    }

    fn histogram(&mut self) {
        let text = || {
            "native histograms are not stored: set send_native_histograms to false, and let \
             exporters show classic buckets"
                .to_owned()
        };
        self.refused().add(Reason::Histogram, 1, text);
    }

    fn metadata(&mut self, family: &str, kind: MetricType, unit: &str) {
        Self::metadata(self, family, kind, unit);
    }
}

/// Samples that are in the store now, or are no samples but say that a series has ended.
fn written(tally: &Tally) -> u64 {
    let of_samples = [Reason::Series, Reason::Column, Reason::Value, Reason::Time];
    let refused: u64 = of_samples.iter().map(|reason| tally.refused.count(*reason)).sum();
    tally.samples - refused
}

fn answer(tally: &Tally) -> Response {
    if tally.refused.total() == 0 {
        return StatusCode::NO_CONTENT.into_response();
    }
    let (written, samples) = (written(tally), tally.samples);
    let text = format!("{written} of {samples} samples were taken; {}\n", in_words(&tally.refused));
    (StatusCode::BAD_REQUEST, text).into_response()
}

fn with_written(mut response: Response, samples: u64) -> Response {
    for (name, count) in WRITTEN.into_iter().zip([samples, 0, 0]) {
        response.headers_mut().insert(name, HeaderValue::from(count));
    }
    response
}
