//! One stream: reads messages, hands blocks to the store, tells the producer how far it is.
//!
//! Reading and acknowledging run side by side in one task, so that a stream held up by the store's
//! back-pressure still hears of its progress. A stream ends only between two messages, and leaves
//! its turn only when all it has handed over is durable.

use super::SERVER_PREFIX;
use super::registry::Turn;
use super::reports::Reports;
use super::service::Server;
use crate::convert::{Losses, Plan};
use crate::frame::{
    self, Define, Frame, FrameError, Hello, MAX_SEQUENCE, Message, PROTOCOL_VERSION, Reason,
    Refusal, Welcome,
};
use bytes::Bytes;
use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};
use warpline_storage::model::{
    Batch, Block, Layout, ProducerId, SchemaConflict, Sequence, Timestamp,
};
use warpline_storage::{Acknowledged, ErrorKind, StorageError};

/// How often a stream that waits for its rows looks whether the store has failed.
const FAILURE_CHECK: Duration = Duration::from_secs(1);

type Outbox = mpsc::Sender<Result<Bytes, Status>>;

/// Serves a stream to its end and tells the producer why it ended, if it was not the producer.
pub(super) async fn run(server: &Server, mut inbound: Streaming<Bytes>, out: Outbox) {
    if let Err(status) = serve(server, &mut inbound, &out).await {
        server.metrics.failed.fetch_add(1, Relaxed);
        tracing::debug!(code = ?status.code(), reason = status.message(), "a stream ended");
        // A producer that has gone cannot be told.
        drop(out.send(Err(status)).await);
    }
}

async fn serve(
    server: &Server,
    inbound: &mut Streaming<Bytes>,
    out: &Outbox,
) -> Result<(), Status> {
    let (producer, number) = read_hello(server, inbound).await?;
    let mut turn = server.registry.take(&producer, number).await?;
    let acknowledged = server.storage.producer(&producer);
    let standing = *acknowledged.borrow();
    if out.send(Ok(welcome(server, standing))).await.is_err() {
        return Ok(());
    }
    let reports = Reports::default();
    let mut session = Session::new(server, producer, &reports);
    let outcome = tokio::select! {
        outcome = session.run(inbound, &mut turn, out, acknowledged.clone()) => outcome,
        never = tell(acknowledged.clone(), standing, &reports, out) => match never {},
    };
    drop(turn);
    let told = reports.rest().iter().map(frame::refusal).collect::<Vec<_>>();
    let last = frame::acknowledge(*acknowledged.borrow());
    for message in told.into_iter().chain([last]) {
        if out.send(Ok(message)).await.is_err() {
            break;
        }
    }
    outcome
}

async fn read_hello(
    server: &Server,
    inbound: &mut Streaming<Bytes>,
) -> Result<(ProducerId, u64), Status> {
    let patience = server.limits.hello;
    let message = tokio::time::timeout(patience, inbound.message())
        .await
        .map_err(|_| Status::deadline_exceeded(format!("no Hello within {patience:?}")))??
        .ok_or_else(|| Status::invalid_argument("the stream ended before its Hello"))?;
    count_message(server, &message);
    match frame::decode(&message).map_err(|error| malformed(&error))? {
        Message::Hello(hello) => check_hello(hello),
        _ => Err(Status::invalid_argument("the first message of a stream must be Hello")),
    }
}

fn check_hello(hello: Hello) -> Result<(ProducerId, u64), Status> {
    if hello.version != PROTOCOL_VERSION {
        let text = format!(
            "the producer speaks protocol version {}, this server {PROTOCOL_VERSION}",
            hello.version
        );
        return Err(Status::failed_precondition(text));
    }
    let producer = ProducerId::new(hello.producer).ok_or_else(|| {
        let limit = ProducerId::MAX_BYTES;
        Status::invalid_argument(format!("a producer's name has 1 to {limit} bytes"))
    })?;
    if producer.as_str().starts_with(SERVER_PREFIX) {
        let text =
            format!("names that begin with {SERVER_PREFIX} are the server's own: choose another");
        return Err(Status::invalid_argument(text));
    }
    Ok((producer, hello.session))
}

fn welcome(server: &Server, standing: Acknowledged) -> Bytes {
    frame::welcome(&Welcome {
        version: PROTOCOL_VERSION,
        durable: standing.durable,
        stored: standing.stored,
        max_message: u32::try_from(server.limits.message_bytes).unwrap_or(u32::MAX),
    })
}

/// Tells the producer of refusals and progress for as long as the stream lasts.
async fn tell(
    mut acknowledged: watch::Receiver<Acknowledged>,
    mut told: Acknowledged,
    reports: &Reports,
    out: &Outbox,
) -> Infallible {
    loop {
        tokio::select! {
            changed = acknowledged.changed() => if changed.is_err() {
                // The store has closed: the reading side meets its error.
                std::future::pending::<()>().await;
            },
            () = reports.urgent() => {}
        }
        for refusal in reports.due() {
            drop(out.send(Ok(frame::refusal(&refusal))).await);
        }
        let now = *acknowledged.borrow_and_update();
        if now != told {
            told = now;
            drop(out.send(Ok(frame::acknowledge(now))).await);
        }
    }
}

/// What a layout number stands for.
enum Slot {
    Undefined,
    Refused,
    Admitted(Box<Plan>),
}

struct Session<'a> {
    server: &'a Server,
    producer: ProducerId,
    reports: &'a Reports,
    layouts: Vec<Slot>,
    /// Series of all admitted layouts.
    series: usize,
    /// The last sequence handed to the store.
    taken: Sequence,
}

impl<'a> Session<'a> {
    fn new(server: &'a Server, producer: ProducerId, reports: &'a Reports) -> Self {
        Self { server, producer, reports, layouts: Vec::new(), series: 0, taken: 0 }
    }

    /// Reads to the stream's end, then waits until all it took is durable.
    async fn run(
        &mut self,
        inbound: &mut Streaming<Bytes>,
        turn: &mut Turn,
        out: &Outbox,
        acknowledged: watch::Receiver<Acknowledged>,
    ) -> Result<(), Status> {
        let outcome = self.read(inbound, turn, out).await;
        self.settle(acknowledged).await?;
        outcome
    }

    /// Waits until all that was taken is durable, or never will be.
    async fn settle(&self, mut acknowledged: watch::Receiver<Acknowledged>) -> Result<(), Status> {
        loop {
            let durable = acknowledged.wait_for(|now| now.durable >= self.taken);
            match tokio::time::timeout(FAILURE_CHECK, durable).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(_)) => return Err(Status::unavailable("the store has closed")),
                Err(_) => self.server.storage.failure().map_or(Ok(()), |e| Err(status_of(e)))?,
            }
        }
    }

    async fn read(
        &mut self,
        inbound: &mut Streaming<Bytes>,
        turn: &mut Turn,
        out: &Outbox,
    ) -> Result<(), Status> {
        loop {
            let message = tokio::select! {
                end = turn.ended() => return Err(end.status(&self.producer)),
                () = out.closed() => return Ok(()),
                message = inbound.message() => message?,
            };
            let Some(message) = message else { return Ok(()) };
            self.take(&message).await?;
        }
    }

    async fn take(&mut self, message: &Bytes) -> Result<(), Status> {
        count_message(self.server, message);
        match frame::decode(message).map_err(|error| malformed(&error))? {
            Message::Frame(frame) => self.take_frame(frame).await,
            Message::Define(define) => self.take_layout(define),
            _ => Err(Status::invalid_argument("after Hello a producer sends Define and Frame")),
        }
    }

    fn take_layout(&mut self, define: Define<'_>) -> Result<(), Status> {
        let number = define.number();
        let layout = match self.check_layout(define) {
            Ok(layout) => layout,
            Err(reason) => {
                self.refuse_layout(number, &reason);
                return Ok(());
            }
        };
        match self.server.storage.admit(&layout) {
            Ok(admission) => {
                let told = admission.refused.iter();
                told.for_each(|conflict| self.refuse_column(number, conflict));
                self.admit(number, layout, admission.layout)
            }
            Err(error) if error.kind() == ErrorKind::Rejected => {
                self.refuse_layout(number, &error.to_string());
                Ok(())
            }
            Err(error) => Err(status_of(&error)),
        }
    }

    /// Frees the number's old meaning and reads its new one.
    fn check_layout(&mut self, define: Define<'_>) -> Result<Layout, String> {
        let (limits, at) = (&self.server.limits, define.number() as usize);
        if at >= limits.layouts {
            return Err(format!("layout number {at} is not below the limit of {}", limits.layouts));
        }
        if let Some(Slot::Admitted(old)) = self.layouts.get(at) {
            self.series -= old.sent().series().len();
            self.layouts[at] = Slot::Undefined;
        }
        let series = self.series.saturating_add(define.series());
        if series > limits.series {
            let limit = limits.series;
            return Err(format!("with it the stream has {series} series; the limit is {limit}"));
        }
        define.layout().map_err(|error| error.to_string())
    }

    fn admit(&mut self, number: u32, sent: Layout, admitted: Arc<Layout>) -> Result<(), Status> {
        let plan = Plan::new(sent, admitted)
            .ok_or_else(|| Status::internal("the store admitted a layout that was not sent"))?;
        self.series += plan.sent().series().len();
        self.server.metrics.layouts.fetch_add(1, Relaxed);
        self.set(number, Slot::Admitted(Box::new(plan)));
        Ok(())
    }

    fn set(&mut self, number: u32, slot: Slot) {
        let at = number as usize;
        if at >= self.layouts.len() {
            self.layouts.resize_with(at + 1, || Slot::Undefined);
        }
        self.layouts[at] = slot;
    }

    async fn take_frame(&mut self, frame: Frame<'_>) -> Result<(), Status> {
        let sequence = frame.sequence();
        if !(1..=MAX_SEQUENCE).contains(&sequence) {
            let text = format!("a frame has sequence {sequence}; use 1 to {MAX_SEQUENCE}");
            return Err(Status::invalid_argument(text));
        }
        let times = self.server.storage.accepted_times();
        let times = times.first..=times.last;
        let blocks = frame.blocks();
        let mut taken = Vec::with_capacity(blocks.len());
        for (number, bytes) in blocks {
            taken.extend(self.take_block(sequence, number, bytes, &times));
        }
        self.count_blocks(&taken);
        self.append(sequence, taken).await
    }

    /// The block as it is stored, if anything of it is.
    fn take_block(
        &self,
        sequence: Sequence,
        number: u32,
        bytes: Bytes,
        times: &RangeInclusive<Timestamp>,
    ) -> Option<Block> {
        let plan = match self.layouts.get(number as usize) {
            Some(Slot::Admitted(plan)) => plan,
            other => {
                let refused = matches!(other, Some(Slot::Refused));
                let why = if refused { "was refused" } else { "is not defined on this stream" };
                self.refuse(
                    sequence,
                    number,
                    Reason::UnknownLayout,
                    format!("layout {number} {why}"),
                );
                return None;
            }
        };
        match plan.apply(bytes, times) {
            Ok((block, losses)) => {
                self.report(sequence, number, plan.sent(), &losses);
                block
            }
            Err(error) => {
                self.refuse(sequence, number, Reason::Block, error.to_string());
                None
            }
        }
    }

    /// Hands the blocks over. A frame without any is handed over too: its sequence is taken.
    async fn append(&mut self, sequence: Sequence, blocks: Vec<Block>) -> Result<(), Status> {
        let storage = &self.server.storage;
        let batch = |blocks| Batch { producer: self.producer.clone(), sequence, blocks };
        let mut outcome = storage.append(batch(blocks)).await;
        if let Err(error) = &outcome
            && error.kind() == ErrorKind::Rejected
        {
            self.refuse(sequence, 0, Reason::Frame, error.to_string());
            outcome = storage.append(batch(Vec::new())).await;
        }
        outcome.map_err(|error| status_of(&error))?;
        self.taken = self.taken.max(sequence);
        Ok(())
    }

    fn count_blocks(&self, blocks: &[Block]) {
        let metrics = &self.server.metrics;
        let add = |counter: &AtomicU64, count: usize| {
            counter.fetch_add(count as u64, Relaxed);
        };
        add(&metrics.frames, 1);
        add(&metrics.blocks, blocks.len());
        add(&metrics.rows, blocks.iter().map(Block::rows).sum());
        add(&metrics.values, blocks.iter().map(values).sum());
    }

    fn refuse_layout(&mut self, number: u32, reason: &str) {
        if (number as usize) < self.server.limits.layouts {
            self.set(number, Slot::Refused);
        }
        self.add_urgent(refusal(Reason::Layout, 0, number, reason.to_owned()));
    }

    fn refuse_column(&self, number: u32, conflict: &SchemaConflict) {
        let column = match conflict {
            SchemaConflict::Identity { .. } => String::new(),
            SchemaConflict::Role { name, .. } | SchemaConflict::FieldType { name, .. } => {
                name.to_string()
            }
        };
        let refusal = refusal(Reason::Column, 0, number, conflict.to_string());
        self.add_urgent(Refusal { column, ..refusal });
    }

    fn add_urgent(&self, refusal: Refusal) {
        self.server.metrics.refused(refusal.reason, refusal.count);
        self.reports.add_urgent(refusal);
    }

    fn refuse(&self, sequence: Sequence, number: u32, reason: Reason, message: String) {
        self.add(refusal(reason, sequence, number, message));
    }

    fn report(&self, sequence: Sequence, number: u32, sent: &Layout, losses: &Losses) {
        if losses.rows > 0 {
            let text = self.server.storage.why_refused(losses.time);
            let refusal = refusal(Reason::Time, sequence, number, text);
            self.add(Refusal { count: losses.rows, ..refusal });
        }
        for loss in &losses.values {
            let column = sent.columns()[loss.column].name.to_string();
            let refusal = refusal(Reason::Value, sequence, number, loss.example.to_string());
            self.add(Refusal { column, count: loss.count, ..refusal });
        }
    }

    fn add(&self, refusal: Refusal) {
        self.server.metrics.refused(refusal.reason, refusal.count);
        self.reports.add(refusal);
    }
}

fn refusal(reason: Reason, sequence: Sequence, layout: u32, message: String) -> Refusal {
    Refusal { reason, sequence, layout, column: String::new(), count: 1, message }
}

fn count_message(server: &Server, message: &Bytes) {
    server.metrics.messages.fetch_add(1, Relaxed);
    server.metrics.bytes.fetch_add(message.len() as u64, Relaxed);
}

/// Values that are present.
fn values(block: &Block) -> usize {
    let (rows, columns) = (block.rows(), block.layout().columns().len());
    let present = |bits: &[u8]| bits.iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
    (0..columns).map(|c| block.validity(c).map_or(rows, |bits| present(bits).min(rows))).sum()
}

fn malformed(error: &FrameError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn status_of(error: &StorageError) -> Status {
    match error.kind() {
        ErrorKind::Rejected => Status::invalid_argument(error.to_string()),
        ErrorKind::Retry | ErrorKind::Fenced | ErrorKind::Closed => {
            Status::unavailable(error.to_string())
        }
        ErrorKind::Corrupt | ErrorKind::Internal => Status::internal(error.to_string()),
    }
}
