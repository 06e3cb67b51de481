//! OpenTelemetry metrics, over HTTP (`POST /v1/metrics`) and gRPC (`MetricsService/Export`).
//!
//! ```text
//! 200 / OK            all of it is durable, but for what `partial_success` tells
//! 400 INVALID_ARGUMENT  413 RESOURCE_EXHAUSTED  415   not to be sent again
//! 503 UNAVAILABLE     the store pushes back: come again
//! ```

use super::Server;
use super::answer::{Failure, in_words};
use super::body::{self, Held};
use super::metrics::Protocol;
use crate::frame::BytesCodec;
use crate::otlp::{self, PointTally};
use crate::refused::Reason;
use crate::register::Tally;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::codec::CompressionEncoding;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Status};
use warpline_storage::model::Block;

const PROTOBUF: &str = "application/x-protobuf";
const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

pub(super) fn routes() -> Router<Arc<Server>> {
    Router::new().route("/v1/metrics", post(export))
}

async fn export(State(server): State<Arc<Server>>, headers: HeaderMap, body: Body) -> Response {
    let content_type = [(header::CONTENT_TYPE, PROTOBUF)];
    match over_http(&server, &headers, body).await {
        Ok(message) => (content_type, message).into_response(),
        Err(failure) => {
            server.metrics.failed(&failure);
            let code = failure.code() as u64;
            let status = otlp::status(code, &failure.text);
            failure.into_answer((content_type, status))
        }
    }
}

async fn over_http(
    server: &Arc<Server>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Vec<u8>, Failure> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
    if !media.trim().eq_ignore_ascii_case(PROTOBUF) {
        let text = format!("Content-Type {media}: send {PROTOBUF} (OTLP's binary encoding)");
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let gzip = body::is_gzip(headers)?;
    let (body, held) = server.bodies.read(body).await?;
    take(server, body, gzip, held).await
}

/// Stores a request and answers with the encoded response.
async fn take(
    server: &Arc<Server>,
    body: Bytes,
    gzip: bool,
    mut held: Held,
) -> Result<Vec<u8>, Failure> {
    let (bytes, limit) = (body.len(), server.limits.message_bytes);
    let room = server.bodies.room(&mut held, bytes, gzip, limit).await?;
    let own = server.clone();
    let task = move || map(&own, &body::unpacked(&body, gzip, room)?);
    let ((blocks, tally, points), _held) = body::work(bytes, gzip, held, task).await?;
    server.intake.store(blocks).await?;
    server.metrics.request(Protocol::Otlp, bytes, tally.samples);
    server.metrics.stale(tally.stale);
    server.metrics.refused(&tally.refused);
    Ok(answer(&tally, points))
}

fn map(server: &Server, message: &[u8]) -> Result<(Vec<Block>, Tally, PointTally), Failure> {
    let storage = server.intake.storage();
    let times = storage.accepted_times();
    let mut register = server.register.lock();
    register.begin(server.minute(), times.first..=times.last);
    match otlp::read(message, &mut register) {
        Ok(points) => {
            let (blocks, tally) = register.finish(storage)?;
            Ok((blocks, tally, points))
        }
        Err(malformed) => {
            register.discard();
            Err(Failure::malformed(format!("{malformed}: nothing of the request is taken")))
        }
    }
}

/// Exemplars are read over without a word: senders have them on unasked.
fn answer(tally: &Tally, points: PointTally) -> Vec<u8> {
    let of_samples = [Reason::Series, Reason::Column, Reason::Value, Reason::Time];
    let samples: u64 = of_samples.iter().map(|reason| tally.refused.count(*reason)).sum();
    let rejected = (samples + points.unsupported).min(points.points);
    let text = if rejected == 0 { String::new() } else { in_words(&tally.refused) };
    otlp::partial_success(rejected, &text)
}

/// The same over gRPC. Mount it with `tonic::service::Routes`.
#[derive(Clone, Debug)]
pub struct OtlpService {
    pub(super) server: Arc<Server>,
}

impl NamedService for OtlpService {
    const NAME: &'static str = "opentelemetry.proto.collector.metrics.v1.MetricsService";
}

impl Service<http::Request<tonic::body::Body>> for OtlpService {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let server = self.server.clone();
        Box::pin(async move {
            if request.uri().path() != EXPORT {
                let text = format!("the only method is {EXPORT}");
                return Ok(Status::unimplemented(text).into_http());
            }
            let mut grpc = Grpc::new(BytesCodec)
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(server.limits.body_bytes);
            Ok(grpc.unary(Export(server), request).await)
        })
    }
}

/// The method's handler.
struct Export(Arc<Server>);

impl UnaryService<Bytes> for Export {
    type Response = Bytes;
    type Future = BoxFuture<tonic::Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let server = self.0.clone();
        Box::pin(async move {
            match over_grpc(&server, request.into_inner()).await {
                Ok(message) => Ok(tonic::Response::new(message.into())),
                Err(failure) => {
                    server.metrics.failed(&failure);
                    Err(failure.into_status())
                }
            }
        })
    }
}

async fn over_grpc(server: &Arc<Server>, message: Bytes) -> Result<Vec<u8>, Failure> {
    let mut held = Held::default();
    server.bodies.hold(&mut held, message.len()).await?;
    take(server, message, false, held).await
}
