//! A feed against a server that forgets to answer: what it counts and audits is what was taken.

use super::*;
use crate::fleet::Node;
use bytes::{Buf, BufMut, Bytes};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Mutex;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use url::Url;
use warpline_ingest::frame::{self, Message, PROTOCOL_VERSION, Welcome};
use warpline_storage::Acknowledged;
use warpline_storage::model::{Block, Layout};

/// 2026-11-20T00:00:00Z.
const START: Timestamp = 1_795_132_800_000_000;
const SECOND: i64 = 1_000_000;

/// Node and time of every block taken, how often, and its rows.
type Blocks = BTreeMap<(String, Timestamp), (u64, u64)>;

#[derive(Debug, Default)]
struct Taken {
    durable: BTreeMap<String, u64>,
    blocks: Blocks,
    frames: u64,
    layouts: u64,
}

/// Takes frames by sequence. Every `breaks`th frame is taken and its stream broken off unanswered.
#[derive(Clone, Debug)]
struct Server {
    taken: Arc<Mutex<Taken>>,
    breaks: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(bytes.copy_to_bytes(bytes.remaining())))
    }
}

impl NamedService for Server {
    const NAME: &'static str = frame::SERVICE_NAME;
}

impl Service<http::Request<Body>> for Server {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(Raw).max_decoding_message_size(64 << 20);
            Ok(grpc.streaming(server, request).await)
        })
    }
}

impl StreamingService<Bytes> for Server {
    type Response = Bytes;
    type ResponseStream = ReceiverStream<Result<Bytes, Status>>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let (out, answers) = mpsc::channel(8);
        let server = self.clone();
        tokio::spawn(async move {
            let outcome = server.serve(request.into_inner(), &out).await;
            if let Err(status) = outcome {
                drop(out.send(Err(status)).await);
            }
        });
        std::future::ready(Ok(Response::new(ReceiverStream::new(answers))))
    }
}

impl Server {
    async fn serve(
        &self,
        mut messages: Streaming<Bytes>,
        out: &mpsc::Sender<Result<Bytes, Status>>,
    ) -> Result<(), Status> {
        let mut producer = String::new();
        let mut layouts: Vec<Arc<Layout>> = Vec::new();
        while let Some(message) = messages.message().await? {
            let answer = match frame::decode(&message).unwrap() {
                Message::Hello(hello) => {
                    producer = hello.producer;
                    let durable = self.durable(&producer);
                    let version = PROTOCOL_VERSION;
                    frame::welcome(&Welcome { version, durable, stored: 0, max_message: 1 << 26 })
                }
                Message::Define(define) => {
                    assert_eq!(define.number() as usize, layouts.len());
                    layouts.push(Arc::new(define.layout().unwrap()));
                    self.taken.lock().unwrap().layouts += 1;
                    continue;
                }
                Message::Frame(frame) => {
                    self.take(&producer, &layouts, &frame)?;
                    let durable = self.durable(&producer);
                    frame::acknowledge(Acknowledged { durable, stored: 0 })
                }
                other => panic!("a producer sent {other:?}"),
            };
            if out.send(Ok(answer)).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn durable(&self, producer: &str) -> u64 {
        self.taken.lock().unwrap().durable.get(producer).copied().unwrap_or(0)
    }

    fn take(
        &self,
        producer: &str,
        layouts: &[Arc<Layout>],
        frame: &frame::Frame<'_>,
    ) -> Result<(), Status> {
        let taken = &mut *self.taken.lock().unwrap();
        let durable = taken.durable.entry(producer.to_owned()).or_default();
        if frame.sequence() <= *durable {
            return Ok(());
        }
        assert_eq!(frame.sequence(), *durable + 1, "frames come in order");
        *durable += 1;
        taken.frames += 1;
        for (number, bytes) in frame.blocks() {
            let block = Block::parse(layouts[number as usize].clone(), bytes).unwrap();
            let node = block.layout().series()[0].identity[1].to_string();
            let entry = taken.blocks.entry((node, block.time(0))).or_default();
            entry.0 += 1;
            entry.1 += block.rows() as u64;
        }
        if taken.frames.is_multiple_of(self.breaks) {
            return Err(Status::unavailable("broken off"));
        }
        Ok(())
    }
}

async fn server(breaks: u64) -> (Url, Arc<Mutex<Taken>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let taken = Arc::<Mutex<Taken>>::default();
    let server = Server { taken: taken.clone(), breaks };
    let incoming = TcpListenerStream::new(listener);
    tokio::spawn(
        tonic::transport::Server::builder().add_service(server).serve_with_incoming(incoming),
    );
    (url, taken)
}

fn feed(ticks: u64) -> Feed {
    let fleet = Fleet::new(FleetSpec::new(1, 75, SECOND));
    Feed {
        streams: Some(3),
        ticks_per_frame: Some(8),
        ..Feed::new(fleet, START, ticks, Speed::Max)
    }
}

/// What a feed of [`feed`] carries, made from the fleet alone.
fn expected(ticks: u64) -> Blocks {
    let fleet = feed(ticks).fleet;
    let scrapes = |mut node: Node| {
        let times = (0..ticks.cast_signed()).map(|tick| START + tick * SECOND);
        let name = format!("node-{:05}", node.index());
        let scrapes = times.filter_map(move |time| node.tick(time, &mut Vec::new()));
        scrapes.map(move |scrape| ((name.clone(), scrape.time), (1, scrape.rows)))
    };
    (0..fleet.nodes()).flat_map(|node| scrapes(fleet.node(node))).collect()
}

async fn run(feed: Feed, server: &Url) -> Summary {
    let (_end, stop) = watch::channel(false);
    feed.run(server, Arc::default(), stop).await.unwrap()
}

fn rows(blocks: &Blocks) -> u64 {
    blocks.values().map(|(_, rows)| rows).sum()
}

/// Checks every line of an audit file against what was taken; answers the rows of all lines.
fn check_audit(path: &Path, taken: &Blocks) -> u64 {
    let text = std::fs::read_to_string(path).unwrap();
    let mut audited = 0;
    for line in text.lines() {
        let parts: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| parts[at].parse::<i64>().unwrap();
        let nodes = number(6)..=number(7);
        let inside = taken.iter().filter(|((node, time), _)| {
            let node: i64 = node["node-".len()..].parse().unwrap();
            nodes.contains(&node) && (number(2)..=number(3)).contains(time)
        });
        assert_eq!(inside.map(|(_, (_, rows))| rows).sum::<u64>(), number(4) as u64, "{line}");
        assert_eq!(number(4) * 60, number(5));
        audited += number(4) as u64;
    }
    audited
}

#[tokio::test]
async fn every_row_is_taken_once_though_streams_break() {
    let (url, taken) = server(7).await;
    let folder = tempfile::tempdir().unwrap();
    let audit = folder.path().join("audit");
    let mut feed = feed(200);
    feed.audit = Some(audit.clone());
    let summary = run(feed, &url).await;
    let taken = taken.lock().unwrap();
    assert!(taken.blocks == expected(200));
    assert!(summary.reconnects > 0);
    assert_eq!((summary.rows, summary.values), (rows(&taken.blocks), rows(&taken.blocks) * 60));
    assert_eq!(check_audit(&audit, &taken.blocks), summary.rows);
}

#[tokio::test]
async fn a_resumed_feed_sends_only_the_rest() {
    let (url, taken) = server(u64::MAX).await;
    run(feed(40), &url).await;
    // The same feed goes on for longer: the first frames are the server's already.
    let summary = run(Feed { resume: true, ..feed(100) }, &url).await;
    let taken = taken.lock().unwrap();
    assert!(taken.blocks == expected(100));
    assert_eq!(summary.rows, rows(&expected(100)) - rows(&expected(40)));
}

#[tokio::test]
async fn a_stopped_feed_ends_with_what_is_durable() {
    let (url, taken) = server(u64::MAX).await;
    let (end, stop) = watch::channel(false);
    let mut endless = feed(u64::MAX / 2);
    endless.speed = Speed::Real;
    endless.ticks_per_frame = None;
    endless.start = endless.fleet.tick_at(Utc::now().timestamp_micros()) - 30 * SECOND;
    let progress = Arc::<Progress>::default();
    let seen = progress.clone();
    let running = tokio::spawn(async move { endless.run(&url, progress, stop).await });
    while seen.rows() < 25 * 75 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    end.send_replace(true);
    let summary = running.await.unwrap().unwrap();
    assert_eq!(summary.rows, rows(&taken.lock().unwrap().blocks));
}

#[tokio::test]
async fn replayed_frames_name_each_layout_once() {
    let (url, taken) = server(u64::MAX).await;
    let summary = run(Feed { prepare: 3, ..feed(400) }, &url).await;
    let taken = taken.lock().unwrap();
    assert_eq!(taken.layouts, 10);
    assert!(taken.blocks.values().all(|(times, _)| *times == 1));
    assert!(summary.rows > 390 * 75, "{summary}");
}

#[test]
fn options_make_the_feed_they_say() {
    use clap::Parser;
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: SimulateOptions,
    }
    let line = |text: &str| Line::try_parse_from(text.split(' ')).map(|line| line.options.feed());
    let feed = line("_ --gpus 20 --interval 10s --duration 1m --start 2026-11-20T00:00:05Z")
        .unwrap()
        .unwrap();
    assert_eq!((feed.start, feed.ticks, feed.fleet.nodes()), (START, 6, 3));
    let feed = line("_ --fleet colossus-1 --nodes-per-stream 100 --speed max").unwrap().unwrap();
    assert_eq!((feed.streams, feed.fleet.nodes()), (Some(278), 27_750));
    assert!(feed.start <= Utc::now().timestamp_micros() - 60 * SECOND);
    assert!(line("_ --resume").is_err() && line("_ --gpus 8 --fleet tiny").is_err());
    assert!(line("_ --interval 1ms").unwrap().is_err());
    let summary = Summary { rows: 2, values: 120, ..Summary::default() };
    assert_eq!(summary.to_string(), "acknowledged rows=2 values=120 seconds=0.000");
}
