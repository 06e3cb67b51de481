//! A server on a loopback port, a connection that can be cut, and a client that may send anything.

use crate::client::{ClientOptions, StreamClient, dial};
use crate::frame::{self, BytesCodec, Message, Refusal, STREAM_PATH};
use crate::stream::{StreamService, WireLimits, stream_service};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Request, Status, Streaming};
use url::Url;
use warpline_storage::model::{
    BlockBuilder, Column, FieldType, Layout, ProducerId, Series, Timestamp, Value,
};
use warpline_storage::{Acknowledged, Storage, StorageOptions};

/// 2026-01-01.
pub(super) const START: Timestamp = 1_767_225_600_000_000;
pub(super) const SECOND: Timestamp = 1_000_000;

pub(super) struct TestServer {
    pub(super) storage: Storage,
    pub(super) service: StreamService,
    pub(super) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    dir: Arc<TempDir>,
}

impl TestServer {
    pub(super) async fn start() -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        Self::start_on(any, Arc::new(TempDir::new().unwrap()), WireLimits::default()).await
    }

    pub(super) async fn start_on(
        address: SocketAddr,
        dir: Arc<TempDir>,
        limits: WireLimits,
    ) -> Self {
        let storage = Storage::open(StorageOptions::new(dir.path())).await.unwrap();
        let service = stream_service(storage.clone(), limits);
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Server::builder().max_concurrent_streams(1_000).add_service(service.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            let incoming = TcpIncoming::from(listener);
            router.serve_with_incoming_shutdown(incoming, stopped).await.unwrap();
        });
        Self { storage, service, address, stop, task, dir }
    }

    /// Stops and starts again over the same log and tables.
    pub(super) async fn restart(self) -> Self {
        let Self { storage, service, address, stop, task, dir } = self;
        service.stop();
        stop.send(()).unwrap();
        task.await.unwrap();
        storage.close().await.unwrap();
        drop((service, storage));
        Self::start_on(address, dir, WireLimits::default()).await
    }

    pub(super) fn url(&self) -> Url {
        url_of(self.address)
    }

    pub(super) async fn client(&self, name: &str) -> StreamClient {
        StreamClient::connect(self.url(), producer(name), options()).await.unwrap()
    }

    pub(super) async fn raw(&self) -> RawStream {
        RawStream::open(self.channel()).await.unwrap()
    }

    pub(super) fn channel(&self) -> Channel {
        dial(self.url()).unwrap().channel().clone()
    }
}

pub(super) fn url_of(address: SocketAddr) -> Url {
    Url::parse(&format!("http://{address}")).unwrap()
}

pub(super) fn producer(name: &str) -> ProducerId {
    ProducerId::new(name).unwrap()
}

pub(super) fn options() -> ClientOptions {
    let backoff = (Duration::from_millis(10), Duration::from_millis(100));
    ClientOptions { backoff, ..ClientOptions::default() }
}

pub(super) fn layout_of(table: &str, columns: &[(&str, FieldType)]) -> Arc<Layout> {
    let columns = columns
        .iter()
        .map(|(name, field_type)| Column { name: (*name).into(), field_type: *field_type })
        .collect();
    let series = (0..8)
        .map(|gpu: u32| Series {
            identity: vec!["n1".into(), gpu.to_string().into()],
            attributes: vec!["H100".into()],
        })
        .collect();
    let identity = vec!["node".into(), "gpu".into()];
    Arc::new(Layout::new(table, identity, vec!["model".into()], columns, series).unwrap())
}

pub(super) fn power() -> FieldType {
    FieldType::decimal(9, 3).unwrap()
}

pub(super) fn layout() -> Arc<Layout> {
    layout_of("gpu", &[("gpu_util", FieldType::Int8), ("power_usage", power())])
}

/// A tick of all series at `START` and so many seconds, each value telling its place.
pub(super) fn tick(layout: &Arc<Layout>, second: i64) -> Bytes {
    let mut builder = BlockBuilder::new(layout.clone());
    for series in 0..layout.series().len() as u32 {
        builder.row(series, START + second * SECOND);
        for column in 0..layout.columns().len() {
            builder.set(column, Value::Int(second % 100)).unwrap();
        }
    }
    builder.finish()
}

/// Passes connections through to a server until it is told to cut them.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    cut: broadcast::Sender<()>,
}

impl Proxy {
    pub(super) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, _) = broadcast::channel(1);
        let cuts = cut.clone();
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut cut = cuts.subscribe();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(target).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        Self { address, cut }
    }

    pub(super) fn cut(&self) {
        drop(self.cut.send(()));
    }
}

/// A stream that sends what it is given.
pub(super) struct RawStream {
    pub(super) out: mpsc::Sender<Bytes>,
    answers: Streaming<Bytes>,
}

/// What a server answered, each kind apart.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) acknowledged: Acknowledged,
    pub(super) refusals: Vec<Refusal>,
}

impl RawStream {
    pub(super) async fn open(channel: Channel) -> Result<Self, Status> {
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.unwrap();
        let (out, messages) = mpsc::channel(16);
        let path = PathAndQuery::from_static(STREAM_PATH);
        let request = Request::new(ReceiverStream::new(messages));
        let answers = grpc.streaming(request, path, BytesCodec).await?.into_inner();
        Ok(Self { out, answers })
    }

    /// Opens a stream as `name` and waits for its Welcome.
    pub(super) async fn greeted(mut self, name: &str) -> Self {
        self.send(frame::hello(name, 1)).await;
        let welcome = self.answers.message().await.unwrap().unwrap();
        assert!(matches!(frame::decode(&welcome), Ok(Message::Welcome(_))));
        self
    }

    pub(super) async fn send(&self, message: Bytes) {
        self.out.send(message).await.unwrap();
    }

    /// Ends the stream and collects all it was told.
    pub(super) async fn finish(self) -> Result<Answers, Status> {
        let Self { out, mut answers } = self;
        drop(out);
        let mut told = Answers::default();
        while let Some(message) = answers.message().await? {
            match frame::decode(&message).unwrap() {
                Message::Acknowledge(now) => told.acknowledged = now,
                Message::Refusal(refusal) => told.refusals.push(refusal),
                other => panic!("a server does not send {other:?}"),
            }
        }
        Ok(told)
    }

    /// Waits for the server to end the stream with an error.
    pub(super) async fn failure(mut self) -> Status {
        loop {
            match self.answers.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended well"),
                Err(status) => return status,
            }
        }
    }
}
