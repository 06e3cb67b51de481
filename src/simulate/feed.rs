//! Streams a fleet to a server: many producers of some nodes each, over few connections.

use super::audit::{AuditFile, Ledger, Progress};
use super::frames::{Frame, Frames};
use super::{Speed, Summary};
use crate::Failure;
use crate::fleet::Fleet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use warpline_ingest::client::{ClientOptions, Link, Refusals, Remote, StreamClient, dial};
use warpline_storage::model::{Layout, ProducerId, Timestamp};

pub(super) const STREAMS_PER_CONNECTION: usize = 16;
/// Frames that wait for their acknowledgement may take this much memory over all streams.
const WINDOW_BYTES: usize = 256 << 20;
const MIN_WINDOW_BYTES: usize = 2 << 20;
/// A frame of this many blocks is large enough that larger ones gain nothing.
const BLOCKS_PER_FRAME: u64 = 128;
const MAX_TICKS_PER_FRAME: u64 = 64;
const DEFAULT_STREAMS: u64 = 64;

/// What to stream.
#[derive(Clone, Debug)]
pub struct Feed {
    pub fleet: Fleet,
    /// The first tick, a multiple of the interval.
    pub start: Timestamp,
    /// How many ticks; `u64::MAX / 2` and more is without an end.
    pub ticks: u64,
    pub speed: Speed,
    /// Producers; `None` takes up to 64.
    pub streams: Option<u64>,
    /// Producers that share a connection.
    pub streams_per_connection: usize,
    /// `None` takes one in real time and as many as make good frames at full speed.
    pub ticks_per_frame: Option<u64>,
    /// Frames to make ahead and replay; 0 makes each when it is sent.
    pub prepare: u64,
    /// Leave out what the server already has of this very feed.
    pub resume: bool,
    pub audit: Option<PathBuf>,
}

/// One producer's part of a feed.
struct Stream {
    frames: Frames,
    ledger: Ledger,
    link: Link,
    options: ClientOptions,
    speed: Speed,
    resume: bool,
    stop: watch::Receiver<bool>,
}

/// What one producer saw.
#[derive(Default)]
struct Outcome {
    reconnects: u64,
    refusals: Refusals,
}

impl Feed {
    /// `ticks` ticks of a fleet from `start` on, every one made when it is sent.
    pub fn new(fleet: Fleet, start: Timestamp, ticks: u64, speed: Speed) -> Self {
        Self {
            start: fleet.tick_at(start),
            fleet,
            ticks,
            speed,
            streams: None,
            streams_per_connection: STREAMS_PER_CONNECTION,
            ticks_per_frame: None,
            prepare: 0,
            resume: false,
            audit: None,
        }
    }

    /// Streams until all is durable, or until `stop` turns true and what was sent is durable.
    pub async fn run(
        self,
        server: impl Into<Remote>,
        progress: Arc<Progress>,
        stop: watch::Receiver<bool>,
    ) -> Result<Summary, Failure> {
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for stream in self.streams(&server.into(), &progress, &stop)? {
            tasks.spawn(stream.run());
        }
        let mut summary = Summary::default();
        while let Some(outcome) = tasks.join_next().await {
            let outcome = outcome.map_err(|error| format!("a stream broke off: {error}"))??;
            summary.reconnects += outcome.reconnects;
            summary.refusals.merge(&outcome.refusals);
        }
        summary.rows = progress.rows();
        summary.values = progress.values();
        summary.latency = progress.latency();
        summary.elapsed = began.elapsed();
        Ok(summary)
    }

    fn streams(
        &self,
        server: &Remote,
        progress: &Arc<Progress>,
        stop: &watch::Receiver<bool>,
    ) -> Result<Vec<Stream>, Failure> {
        let audit = match &self.audit {
            Some(path) => Some(Arc::new(
                AuditFile::open(path).map_err(|e| format!("audit {}: {e}", path.display()))?,
            )),
            None => None,
        };
        let nodes = self.fleet.nodes();
        let count = self.streams.unwrap_or(DEFAULT_STREAMS).clamp(1, nodes);
        let options = ClientOptions {
            window_bytes: (WINDOW_BYTES / count as usize).max(MIN_WINDOW_BYTES),
            ..ClientOptions::default()
        };
        let mut streams: Vec<Stream> = Vec::new();
        for number in 0..count {
            let range = nodes * number / count..nodes * (number + 1) / count;
            let link = match streams.last() {
                Some(last) if !streams.len().is_multiple_of(self.streams_per_connection.max(1)) => {
                    last.link.clone()
                }
                _ => dial(server)?,
            };
            let (frames, producer) = self.frames(range.clone());
            streams.push(Stream {
                frames,
                ledger: Ledger::new(producer, range, progress.clone(), audit.clone()),
                link,
                options: options.clone(),
                speed: self.speed,
                resume: self.resume,
                stop: stop.clone(),
            });
        }
        Ok(streams)
    }

    /// The frames of some nodes, and a name for their producer that stands for exactly them: a
    /// sender that was killed and resumes is known by it.
    fn frames(&self, nodes: Range<u64>) -> (Frames, ProducerId) {
        let per_tick = nodes.end - nodes.start;
        let natural = match self.speed {
            Speed::Real => 1,
            Speed::Max => (BLOCKS_PER_FRAME / per_tick).clamp(1, MAX_TICKS_PER_FRAME),
        };
        let ticks_per_frame = self.ticks_per_frame.unwrap_or(natural).max(1);
        let spec = self.fleet.spec();
        let name = format!(
            "simulate/{}/{:x}/{}/{}/{}-{}/{}/{ticks_per_frame}/{}",
            spec.cluster,
            spec.seed,
            spec.gpus,
            spec.interval_us,
            nodes.start,
            nodes.end - 1,
            self.start,
            self.prepare,
        );
        let producer =
            ProducerId::new(name).expect("seven numbers and a short name are not too long");
        let mut frames = Frames::new(&self.fleet, nodes, self.start, self.ticks, ticks_per_frame);
        if self.prepare > 0 {
            frames.prepare(self.prepare);
        }
        (frames, producer)
    }
}

impl Stream {
    async fn run(mut self) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::default();
        let mut next = 0;
        let mut first = true;
        loop {
            let mut client = self.connect().await?;
            if std::mem::take(&mut first) && self.resume {
                next = client.next_sequence() - 1;
            }
            let done = self.send(&mut client, &mut next).await?;
            let summary = client.finish().await?;
            self.ledger.settle(summary.acknowledged.durable)?;
            outcome.reconnects += summary.reconnects;
            outcome.refusals.merge(&summary.refusals);
            if done {
                return Ok(outcome);
            }
        }
    }

    async fn connect(&self) -> Result<StreamClient, Failure> {
        let (link, producer) = (self.link.clone(), self.ledger.producer.clone());
        Ok(StreamClient::connect_over(link, producer, self.options.clone()).await?)
    }

    /// Sends frames from `next` on: `true` when none is left to send, `false` when so many layouts
    /// have been named that the stream should be begun anew.
    async fn send(&mut self, client: &mut StreamClient, next: &mut u64) -> Result<bool, Failure> {
        let nodes = (self.ledger.nodes.end - self.ledger.nodes.start) as usize;
        let mut layouts = Layouts { known: vec![None; nodes], named: 0 };
        let enough = 1_000 + 3 * nodes;
        while *next < self.frames.count() && layouts.named < enough {
            if self.wait_until_due(client, *next).await? {
                return Ok(true);
            }
            let frame = self.frames.make(*next);
            self.send_frame(client, &mut layouts, frame).await?;
            *next += 1;
        }
        Ok(*next >= self.frames.count())
    }

    /// Waits until the frame may be sent; `true` where the feed has been stopped.
    async fn wait_until_due(&mut self, client: &StreamClient, frame: u64) -> Result<bool, Failure> {
        let mut acknowledged = client.acknowledged();
        let wait = match self.speed {
            Speed::Real => until(self.frames.due(frame)),
            Speed::Max => Duration::ZERO,
        };
        let due = tokio::time::sleep(wait);
        tokio::pin!(due);
        loop {
            self.ledger.settle(acknowledged.borrow_and_update().durable)?;
            if *self.stop.borrow() {
                return Ok(true);
            }
            tokio::select! {
                biased;
                () = &mut due => return Ok(false),
                changed = acknowledged.changed() => changed?,
                _ = self.stop.changed() => return Ok(true),
            }
        }
    }

    async fn send_frame(
        &mut self,
        client: &mut StreamClient,
        layouts: &mut Layouts,
        frame: Frame,
    ) -> Result<(), Failure> {
        let content = frame.content;
        let mut blocks = Vec::new();
        for (node, layout, bytes) in frame.into_blocks() {
            blocks.push((layouts.number(client, node, layout).await?, bytes));
        }
        let mut acknowledged = client.acknowledged();
        self.ledger.sent(client.next_sequence(), content);
        let sending = client.send(blocks);
        tokio::pin!(sending);
        loop {
            tokio::select! {
                sent = &mut sending => {
                    sent?;
                    return Ok(());
                }
                changed = acknowledged.changed() => {
                    changed?;
                    self.ledger.settle(acknowledged.borrow_and_update().durable)?;
                }
            }
        }
    }
}

/// The layouts named on one stream: the latest of each node.
struct Layouts {
    known: Vec<Option<(Arc<Layout>, u32)>>,
    named: usize,
}

impl Layouts {
    async fn number(
        &mut self,
        client: &mut StreamClient,
        node: usize,
        layout: Arc<Layout>,
    ) -> Result<u32, Failure> {
        if let Some((known, number)) = &self.known[node]
            && Arc::ptr_eq(known, &layout)
        {
            return Ok(*number);
        }
        let number = client.define(layout.clone()).await?;
        self.named += 1;
        self.known[node] = Some((layout, number));
        Ok(number)
    }
}

/// From now to `time`; zero where it has passed.
fn until(time: Timestamp) -> Duration {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Duration::from_micros(time.max(0).cast_unsigned()).saturating_sub(now)
}
