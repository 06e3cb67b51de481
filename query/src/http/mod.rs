//! `POST /sql`: a statement in, its rows out as JSON, CSV or an Arrow stream.
//!
//! Rows are sent as they are computed. A statement that fails before its first rows gets a
//! status and `{"error", "code"}`; one that fails later ends a JSON body with `"error"` and
//! breaks any other off, so that half an answer never looks whole.

mod format;

use crate::answer::Answer;
use crate::engine::Engine;
use crate::error::{QueryError, QueryErrorKind};
use crate::settings::SessionSettings;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use format::{Format, Writer};
use futures::StreamExt;
use serde::Deserialize;
use std::io;

/// A longer statement is refused.
const STATEMENT_BYTES: usize = 1 << 20;

/// The routes that answer SQL.
pub fn http_routes(engine: Engine) -> Router {
    Router::new()
        .route("/sql", post(sql))
        .layer(DefaultBodyLimit::max(STATEMENT_BYTES))
        .with_state(engine)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    sql: String,
    /// As the setting `warpline.rollups` of a session.
    #[serde(default)]
    rollups: Option<bool>,
    /// As the setting `TimeZone`.
    #[serde(default)]
    time_zone: Option<String>,
}

async fn sql(State(engine): State<Engine>, headers: HeaderMap, body: Bytes) -> Response {
    match answer(&engine, &headers, &body).await {
        Ok(response) => response,
        Err(error) => refusal(&error),
    }
}

async fn answer(engine: &Engine, headers: &HeaderMap, body: &[u8]) -> Result<Response, QueryError> {
    let Request { sql, rollups, time_zone } = request(headers, body)?;
    let mut settings = SessionSettings::default();
    if let Some(rollups) = rollups {
        settings.set("warpline.rollups", if rollups { "on" } else { "off" })?;
    }
    if let Some(zone) = time_zone {
        settings.set("TimeZone", &zone)?;
    }
    let format = Format::accepted(header(headers, &ACCEPT))?;
    let answer = engine.query_with(&sql, &settings).await?;
    let writer = Writer::new(format, answer.schema())?;
    let content_type = [(CONTENT_TYPE, HeaderValue::from_static(format.content_type()))];
    Ok((content_type, body_of(answer, writer)).into_response())
}

fn header<'h>(headers: &'h HeaderMap, name: &axum::http::HeaderName) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn request(headers: &HeaderMap, body: &[u8]) -> Result<Request, QueryError> {
    let invalid = |text: String| QueryError::new(QueryErrorKind::Syntax, text);
    if header(headers, &CONTENT_TYPE).starts_with("application/json") {
        return serde_json::from_slice(body).map_err(|error| {
            invalid(format!("the body is not a JSON object like {{\"sql\": \"...\"}}: {error}"))
        });
    }
    let text = std::str::from_utf8(body);
    let sql = text.map_err(|_| invalid("the statement is not UTF-8".to_owned()))?.to_owned();
    Ok(Request { sql, rollups: None, time_zone: None })
}

/// Head, batches, tail. The client's going away drops the answer, and with it the work.
fn body_of(answer: Answer, writer: Writer) -> Body {
    enum Stage {
        Head(Answer, Writer),
        Rows(Answer, Writer),
        Done,
    }
    let stages = futures::stream::unfold(Stage::Head(answer, writer), async |stage| {
        let (mut answer, mut writer) = match stage {
            Stage::Done => return None,
            Stage::Head(answer, mut writer) => {
                let head = writer.head();
                return Some((head.map_err(io::Error::other), Stage::Rows(answer, writer)));
            }
            Stage::Rows(answer, writer) => (answer, writer),
        };
        let written = match answer.next().await {
            Some(Ok(batch)) => {
                let rows = writer.rows(&batch).map_err(io::Error::other);
                return Some((rows, Stage::Rows(answer, writer)));
            }
            None => writer.tail(),
            Some(Err(error)) => writer.broken(error),
        };
        Some((written.map_err(io::Error::other), Stage::Done))
    });
    Body::from_stream(stages)
}

fn refusal(error: &QueryError) -> Response {
    let status = match error.kind() {
        QueryErrorKind::Syntax
        | QueryErrorKind::UnknownTable
        | QueryErrorKind::UnknownColumn
        | QueryErrorKind::Invalid
        | QueryErrorKind::UnknownSetting
        | QueryErrorKind::InvalidSetting
        | QueryErrorKind::UnknownCursor
        | QueryErrorKind::DuplicateCursor
        | QueryErrorKind::UnknownStatement
        | QueryErrorKind::DuplicateStatement
        | QueryErrorKind::NoTransaction
        | QueryErrorKind::FailedTransaction
        | QueryErrorKind::Protocol
        | QueryErrorKind::Changed
        | QueryErrorKind::Cancelled
        | QueryErrorKind::TooLarge
        | QueryErrorKind::OutOfRange
        | QueryErrorKind::DivisionByZero
        | QueryErrorKind::InvalidText => StatusCode::BAD_REQUEST,
        QueryErrorKind::ReadOnly => StatusCode::FORBIDDEN,
        QueryErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        QueryErrorKind::Resources => StatusCode::SERVICE_UNAVAILABLE,
        QueryErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let body = serde_json::json!({ "error": error.to_string(), "code": error.sqlstate() });
    let mut response = (status, axum::Json(body)).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
