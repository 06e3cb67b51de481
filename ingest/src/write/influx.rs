//! `POST /api/v2/write` and `POST /write`: InfluxDB's line protocol, for its clients and Telegraf.
//!
//! ```text
//! 204   all of it is durable
//! 400   lines that cannot be taken are told; the others are durable
//! 413   too large    503   the store pushes back: come again after Retry-After
//! GET /ping   204, with what clients ask for
//! ```
//! `bucket`, `org`, `db` and `rp` are read over: there is one store. Errors are JSON as InfluxDB
//! writes it: `code` and `message` for version 2, `error` for version 1.

use super::Server;
use super::answer::{Failure, in_words};
use super::body;
use super::metrics::Protocol;
use crate::lines::{LineTally, Precision, Times};
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use warpline_storage::model::{Block, Timestamp};

/// Clients look at the first digit.
const VERSION: HeaderValue = HeaderValue::from_static("v2.7.0-warpline");
const VERSION_HEADER: HeaderName = HeaderName::from_static("x-influxdb-version");
const ERROR_HEADER: HeaderName = HeaderName::from_static("x-influxdb-error");

#[derive(Debug, Deserialize)]
struct Parameters {
    #[serde(default)]
    precision: String,
}

pub(super) fn routes() -> Router<Arc<Server>> {
    Router::new().route("/api/v2/write", post(write)).route("/write", post(write))
}

/// For clients that look whether somebody is there before they say who they are.
pub(super) fn open_routes() -> Router {
    Router::new().route("/ping", get(ping))
}

async fn ping() -> impl IntoResponse {
    (StatusCode::NO_CONTENT, [(VERSION_HEADER, VERSION)])
}

async fn write(
    State(server): State<Arc<Server>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match take(&server, &parameters, &headers, body).await {
        Ok(tally) if tally.refused.total() == 0 => StatusCode::NO_CONTENT.into_response(),
        Ok(tally) => {
            let LineTally { points, dropped, refused, .. } = &tally;
            let text = format!(
                "partial write: {dropped} of {points} points dropped; {}",
                in_words(refused)
            );
            error(Failure::new(StatusCode::BAD_REQUEST, text))
        }
        Err(failure) => {
            server.metrics.failed(&failure);
            error(failure)
        }
    }
}

fn error(failure: Failure) -> Response {
    let code = match failure.status {
        StatusCode::BAD_REQUEST => "invalid",
        StatusCode::PAYLOAD_TOO_LARGE => "request too large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported media type",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        _ => "internal error",
    };
    let text = &failure.text;
    let body = Json(serde_json::json!({ "code": code, "message": text, "error": text }));
    let short = text.lines().next().unwrap_or_default();
    let header = HeaderValue::from_str(short).ok();
    let mut response = failure.into_answer(body);
    if let Some(text) = header {
        response.headers_mut().insert(ERROR_HEADER, text);
    }
    response
}

async fn take(
    server: &Arc<Server>,
    parameters: &Parameters,
    headers: &HeaderMap,
    body: Body,
) -> Result<LineTally, Failure> {
    let precision = Precision::named(&parameters.precision).ok_or_else(|| {
        let word = &parameters.precision;
        Failure::malformed(format!("precision {word:?}: use ns, us, ms, s, m or h"))
    })?;
    let gzip = body::is_gzip(headers)?;
    let (body, mut held) = server.bodies.read(body).await?;
    let (bytes, limit) = (body.len(), server.limits.message_bytes);
    let room = server.bodies.room(&mut held, bytes, gzip, limit).await?;
    let own = server.clone();
    let task = move || map(&own, &body::unpacked(&body, gzip, room)?, precision);
    let ((blocks, tally), _held) = body::work(bytes, gzip, held, task).await?;
    server.intake.store(blocks).await?;
    server.metrics.request(Protocol::Lines, bytes, tally.fields);
    server.metrics.refused(&tally.refused);
    Ok(tally)
}

fn map(
    server: &Server,
    text: &[u8],
    precision: Precision,
) -> Result<(Vec<Block>, LineTally), Failure> {
    let storage = server.intake.storage();
    let accepted = storage.accepted_times();
    let times = Times { precision, now: now(), accepted: accepted.first..=accepted.last };
    Ok(server.lines.lock().map(text, server.minute(), &times, storage)?)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(Timestamp::MAX)
}
