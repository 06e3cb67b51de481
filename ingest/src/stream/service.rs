//! The gRPC service: one bidirectional method over bytes, without generated code.

use super::metrics::WireMetrics;
use super::registry::Registry;
use super::{WireLimits, session};
use crate::frame::{BytesCodec, SERVICE_NAME, STREAM_PATH};
use bytes::Bytes;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use warpline_storage::Storage;

/// Messages to a producer that may wait for it to read; then acknowledging it waits.
const OUTBOX: usize = 8;

/// What all streams of a server share.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) storage: Storage,
    pub(super) limits: WireLimits,
    pub(super) metrics: Arc<WireMetrics>,
    pub(super) registry: Arc<Registry>,
}

/// Mount it with `tonic::service::Routes`; clones are handles to the same server.
///
/// The listener sets HTTP/2 up: allow as many concurrent streams on a connection as a sender may
/// carry nodes (hyper's default is 200), and send keep-alive pings, or the streams of a producer
/// that vanished without a word stay open.
#[derive(Clone, Debug)]
pub struct StreamService {
    server: Arc<Server>,
}

/// The native stream in front of `storage`.
pub fn stream_service(storage: Storage, limits: WireLimits) -> StreamService {
    let (metrics, registry) = Default::default();
    StreamService { server: Arc::new(Server { storage, limits, metrics, registry }) }
}

impl StreamService {
    pub fn metrics(&self) -> Arc<WireMetrics> {
        self.server.metrics.clone()
    }

    /// Ends all streams, those to come included, once what they have handed over is durable.
    /// Producers keep what was not acknowledged and reconnect.
    pub fn stop(&self) {
        self.server.registry.stop();
    }
}

impl NamedService for StreamService {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<http::Request<Body>> for StreamService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let server = self.server.clone();
        Box::pin(async move {
            if request.uri().path() != STREAM_PATH {
                let text = format!("the only method is {STREAM_PATH}");
                return Ok(Status::unimplemented(text).into_http());
            }
            let limit = server.limits.message_bytes;
            let mut grpc = Grpc::new(BytesCodec).max_decoding_message_size(limit);
            Ok(grpc.streaming(Open(server), request).await)
        })
    }
}

/// The method's handler.
struct Open(Arc<Server>);

impl StreamingService<Bytes> for Open {
    type Response = Bytes;
    type ResponseStream = ReceiverStream<Result<Bytes, Status>>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        std::future::ready(open(&self.0, request.into_inner()))
    }
}

fn open(
    server: &Arc<Server>,
    inbound: Streaming<Bytes>,
) -> Result<Response<ReceiverStream<Result<Bytes, Status>>>, Status> {
    let place = Place::take(server)?;
    let (out, answers) = mpsc::channel(OUTBOX);
    tokio::spawn(async move {
        session::run(&place.0, inbound, out).await;
    });
    Ok(Response::new(ReceiverStream::new(answers)))
}

/// One of the streams that may be open at a time.
struct Place(Arc<Server>);

impl Place {
    fn take(server: &Arc<Server>) -> Result<Self, Status> {
        let (metrics, limit) = (&server.metrics, server.limits.streams as u64);
        let place = Self(server.clone());
        if metrics.open.fetch_add(1, Relaxed) >= limit {
            return Err(Status::resource_exhausted(format!("{limit} streams are open: try later")));
        }
        metrics.streams.fetch_add(1, Relaxed);
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.metrics.open.fetch_sub(1, Relaxed);
    }
}
