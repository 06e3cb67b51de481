//! Why a request is not taken, and what its sender is told to do: by HTTP's status or gRPC's.

use crate::refused::{Reason, Refused, shortened};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use warpline_storage::{ErrorKind, StorageError};

/// Seconds after which a sender may come again.
const COME_AGAIN: HeaderValue = HeaderValue::from_static("5");
/// The same in milliseconds, as clients of gRPC look for it.
const PUSHBACK: &str = "grpc-retry-pushback-ms";
const PUSHBACK_MILLIS: &str = "5000";
/// Clients of gRPC take trailers of a few kilobytes.
const STATUS_BYTES: usize = 2_048;

/// A request of which nothing is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    pub(super) fn malformed(text: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text.to_string())
    }

    pub(super) fn too_large(what: &str, limit: usize) -> Self {
        let text = format!("{what} has more than {limit} bytes, which is the limit: send less");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    }

    pub(super) fn busy(text: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    /// A sender that went away in the middle.
    pub(super) fn broken_off(why: &str) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, format!("the stream broke off: {why}"))
    }

    /// What the request is counted under; nothing where its sender went away.
    pub(super) fn reason(&self) -> Option<Reason> {
        match self.status {
            StatusCode::REQUEST_TIMEOUT => None,
            StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::INTERNAL_SERVER_ERROR => Some(Reason::Busy),
            _ => Some(Reason::Malformed),
        }
    }

    pub(super) fn code(&self) -> Code {
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
            StatusCode::PAYLOAD_TOO_LARGE => Code::ResourceExhausted,
            StatusCode::INTERNAL_SERVER_ERROR => Code::Internal,
            StatusCode::REQUEST_TIMEOUT => Code::Cancelled,
            _ => Code::InvalidArgument,
        }
    }

    /// gRPC's status, text and when to come again.
    pub(super) fn into_status(self) -> Status {
        let code = self.code();
        let mut status = Status::new(code, shortened(self.text, STATUS_BYTES));
        if code == Code::Unavailable {
            let millis = MetadataValue::from_static(PUSHBACK_MILLIS);
            status.metadata_mut().insert(PUSHBACK, millis);
        }
        status
    }

    /// HTTP's status, text and when to come again.
    pub(super) fn into_answer(self, body: impl IntoResponse) -> Response {
        let mut response = (self.status, body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, COME_AGAIN);
        }
        response
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        let status = match error.kind() {
            ErrorKind::Rejected => StatusCode::BAD_REQUEST,
            ErrorKind::Retry | ErrorKind::Fenced | ErrorKind::Closed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ErrorKind::Corrupt | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

/// What was not taken, in words: counts by reason, then examples.
pub(super) fn in_words(refused: &Refused) -> String {
    let counts = Reason::ALL.map(|reason| (reason.name(), refused.count(reason)));
    let counts = counts.iter().filter(|(_, count)| *count > 0);
    let counts: Vec<String> = counts.map(|(name, count)| format!("{count} {name}")).collect();
    format!("not taken: {}\n{}", counts.join(", "), refused.examples().join("\n"))
}
