//! The task that keeps a stream standing: connects, reads the server's answers, connects again.

use super::options::ClientError;
use super::outbound::Outbound;
use super::remote::Link;
use super::state::{Backlog, Shared};
use crate::frame::{BytesCodec, Message, PROTOCOL_VERSION, STREAM_PATH, Welcome, decode};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

/// Runs until the stream is closed with nothing left to send, or fails for good.
pub(super) async fn run<B: Backlog>(shared: Arc<Shared<B>>, link: Link) {
    let (first, last) = shared.backoff;
    let mut wait = first;
    let mut streak = Streak::default();
    loop {
        streak.progressed = false;
        let status = match stream(&shared, &link, &mut streak).await {
            Ok(()) => Status::unavailable("the server closed the stream"),
            Err(End::Broken(status)) => status,
            Err(End::Final(failure)) => return shared.fail(failure),
        };
        if is_final(status.code()) {
            let (code, reason) = (name(status.code()), status.message().to_owned());
            return shared.fail(ClientError::Refused { code, reason });
        }
        let reason = format!("{}: {}", name(status.code()), status.message());
        if shared.broken(&reason) {
            return;
        }
        streak.broke(&reason);
        wait = if streak.progressed { first } else { wait };
        tokio::time::sleep(jittered(wait)).await;
        wait = (wait * 2).min(last);
    }
}

/// How a connection ended before its time.
enum End {
    /// The status says whether to try again.
    Broken(Status),
    Final(ClientError),
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        Self::Broken(status)
    }
}

impl From<ClientError> for End {
    fn from(failure: ClientError) -> Self {
        Self::Final(failure)
    }
}

/// What connections in a row came to. A store that has failed welcomes and takes nothing, so that
/// only an acknowledgement counts as progress.
#[derive(Default)]
struct Streak {
    /// Whether the present connection had an acknowledgement.
    progressed: bool,
    /// Whether the server was told of as lost, and not yet as back.
    lost: bool,
}

impl Streak {
    /// Warns of the first break in a row.
    fn broke(&mut self, reason: &str) {
        if self.lost {
            tracing::debug!(reason, "still no stream");
        } else {
            self.lost = true;
            tracing::warn!(reason, "no stream to the server; trying until it takes frames");
        }
    }

    fn progress(&mut self) {
        self.progressed = true;
        if std::mem::take(&mut self.lost) {
            tracing::info!("the server takes frames again");
        }
    }
}

/// One connection, from Hello to its end.
async fn stream<B: Backlog>(
    shared: &Arc<Shared<B>>,
    link: &Link,
    streak: &mut Streak,
) -> Result<(), End> {
    let mut grpc = Grpc::new(link.channel().clone());
    grpc.ready().await.map_err(|error| Status::unavailable(describe(&error)))?;
    let connection = shared.begin();
    let outbound = Outbound { shared: shared.clone(), connection };
    let path = PathAndQuery::from_static(STREAM_PATH);
    let answers = grpc.streaming(link.request(outbound), path, BytesCodec).await?;
    read(shared, answers.into_inner(), streak).await
}

async fn read<B: Backlog>(
    shared: &Shared<B>,
    mut answers: Streaming<Bytes>,
    streak: &mut Streak,
) -> Result<(), End> {
    while let Some(message) = answers.message().await? {
        let message = decode(&message).map_err(|e| Status::data_loss(e.to_string()))?;
        match message {
            Message::Welcome(welcome) => {
                check_version(&welcome)?;
                shared.welcome(welcome)?;
            }
            Message::Acknowledge(now) => {
                shared.acknowledge(now)?;
                streak.progress();
            }
            Message::Refusal(refusal) => {
                tracing::warn!(
                    reason = refusal.reason.name(),
                    layout = refusal.layout,
                    column = refusal.column,
                    count = refusal.count,
                    "refused: {}",
                    refusal.message
                );
                shared.refuse(refusal);
            }
            other => {
                let text = format!("a server does not send {other:?}");
                return Err(Status::data_loss(text).into());
            }
        }
    }
    Ok(())
}

fn check_version(welcome: &Welcome) -> Result<(), Status> {
    if welcome.version == PROTOCOL_VERSION {
        return Ok(());
    }
    let theirs = welcome.version;
    let text = format!("the server speaks protocol version {theirs}, not {PROTOCOL_VERSION}");
    Err(Status::failed_precondition(text))
}

/// Whether trying again would meet the same answer.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::Aborted
            | Code::DataLoss
            | Code::FailedPrecondition
            | Code::InvalidArgument
            | Code::OutOfRange
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
    )
}

fn name(code: Code) -> &'static str {
    match code {
        Code::Aborted => "aborted",
        Code::DataLoss => "data loss",
        Code::FailedPrecondition => "failed precondition",
        Code::InvalidArgument => "invalid argument",
        Code::OutOfRange => "out of range",
        Code::PermissionDenied => "permission denied",
        Code::Unauthenticated => "unauthenticated",
        Code::Unimplemented => "unimplemented",
        Code::Unavailable => "unavailable",
        Code::ResourceExhausted => "resource exhausted",
        Code::DeadlineExceeded => "deadline exceeded",
        Code::Cancelled => "cancelled",
        Code::Internal => "internal",
        _ => "unknown",
    }
}

/// Between half of `wait` and all of it: a fleet that lost its server does not return as one.
fn jittered(wait: Duration) -> Duration {
    let random = Uuid::new_v4().as_u64_pair().0 >> 40;
    wait.mul_f64(0.5 + 0.5 * (random as f64 / (1_u64 << 24) as f64))
}

/// An error with its causes, which tonic's own text leaves out.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
