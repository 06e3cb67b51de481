//! `DoPut` of Arrow Flight: record batches into tables.
//!
//! ```text
//! descriptor     PATH of one element, the table's name; with the first message
//! schema         `time`, tags, fields: crate::flight says what becomes of them
//! batch          one PutResult once its rows are durable: JSON of rows taken and refused
//! end            OK; INVALID_ARGUMENT where something was refused, all else is durable
//! ```
//! Promises: batches are taken in their order, each whole or not at all but for what its result
//! tells; an end by an error leaves those before it as they were answered. A stream holds memory
//! for one message at a time; that of dictionaries, which stay, is apart from what requests share.

mod results;
#[cfg(test)]
mod tests;

use super::Server;
use super::answer::{Failure, in_words};
use super::body::{self, Held};
use super::metrics::Protocol;
use crate::flight::{Decoder, FlightError, FlightTally, Plan, Read};
use crate::naming::check_name;
use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::{FlightData, FlightDescriptor, PutResult};
use axum::http::StatusCode;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use hashbrown::HashMap;
use results::Results;
use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use tonic::{Code, Status};
use warpline_storage::model::Block;

/// Writes streams of Arrow batches. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct FlightPut {
    pub(super) server: Arc<Server>,
}

/// What a stream is answered with.
pub type PutResults = BoxStream<'static, Result<PutResult, Status>>;

impl FlightPut {
    /// The largest message that a service before this may decode.
    pub fn max_message_bytes(&self) -> usize {
        self.server.limits.body_bytes
    }

    /// Takes one stream, as `DoPut` has it. It ends where the answer is dropped.
    pub fn put<S>(&self, messages: S) -> PutResults
    where
        S: Stream<Item = Result<FlightData, Status>> + Send + 'static,
    {
        let server = self.server.clone();
        results::answer(|results| async move {
            let taken = take(&server, messages, &results).await;
            let stream = taken.inspect_err(|failure| server.metrics.failed(failure));
            stream.and_then(Written::end).map_err(Failure::into_status)
        })
    }
}

async fn take<S>(server: &Arc<Server>, messages: S, results: &Results) -> Result<Written, Failure>
where
    S: Stream<Item = Result<FlightData, Status>> + Send + 'static,
{
    let mut messages = pin!(messages);
    let mut table = None;
    let mut stream: Option<Written> = None;
    while let Some(message) = messages.next().await {
        let message = message.map_err(|status| unread(&status, server.limits.body_bytes))?;
        name_table(&mut table, message.flight_descriptor)?;
        let (header, body) = (message.data_header, message.data_body);
        if header.is_empty() {
            // Metadata of the application's own.
            continue;
        }
        stream = Some(match stream {
            None => Written::open(server, table.as_deref(), &header)?,
            Some(stream) => stream.message(server, header, body, results).await?,
        });
    }
    stream.ok_or_else(|| Failure::malformed("the stream ended before its schema came"))
}

/// A message that did not arrive whole.
fn unread(status: &Status, limit: usize) -> Failure {
    let why = status.message();
    match status.code() {
        // So tonic says that a message is longer than it may be, and that it is no message.
        Code::OutOfRange => Failure::too_large("a message", limit),
        Code::Internal if status.source().is_none() => Failure::malformed(why),
        _ => Failure::broken_off(why),
    }
}

/// The table is named once; where it is named again, it is the same.
fn name_table(
    known: &mut Option<String>,
    descriptor: Option<FlightDescriptor>,
) -> Result<(), Failure> {
    let Some(descriptor) = descriptor else { return Ok(()) };
    let table = table_of(descriptor).ok_or_else(no_table)?;
    check_name(&table).map_err(|why| Failure::malformed(format!("table {table:?}: {why}")))?;
    match known {
        Some(known) if *known != table => {
            Err(Failure::malformed("the descriptor changed: begin a stream for each table"))
        }
        _ => {
            *known = Some(table);
            Ok(())
        }
    }
}

fn table_of(mut descriptor: FlightDescriptor) -> Option<String> {
    let is_path = descriptor.r#type() == DescriptorType::Path && descriptor.path.len() == 1;
    is_path.then(|| descriptor.path.remove(0))
}

fn no_table() -> Failure {
    Failure::malformed(
        "name the table by a descriptor of type PATH with one element, in the first message",
    )
}

/// A stream whose schema has come.
#[derive(Debug)]
struct Written {
    decoder: Decoder,
    plan: Arc<Plan>,
    /// Memory of its dictionaries.
    kept: HashMap<i64, Held>,
    /// What became of all batches.
    all: FlightTally,
}

/// What a message has become.
enum Mapped {
    Rows(Vec<Block>, FlightTally),
    Dictionary { number: i64, bytes: usize },
    Nothing,
}

impl Written {
    fn open(server: &Server, table: Option<&str>, header: &[u8]) -> Result<Self, Failure> {
        let table = table.ok_or_else(no_table)?;
        let decoder = Decoder::new(header, server.limits.message_bytes)?;
        let (minute, storage) = (server.minute(), server.intake.storage());
        let plan = server.flight.lock().plan(table, decoder.columns(), minute, storage)?;
        let (plan, kept) = (Arc::new(plan), HashMap::new());
        Ok(Self { decoder, plan, kept, all: FlightTally::default() })
    }

    async fn message(
        mut self,
        server: &Arc<Server>,
        header: Bytes,
        body: Bytes,
        results: &Results,
    ) -> Result<Self, Failure> {
        let bytes = header.len() + body.len();
        let cost = self.decoder.cost(&header, &body, self.plan.wanted())?;
        // Another stream's batch may have the register for a while: no thread waits for that here.
        let register = server.flight.try_lock();
        let most = server.limits.message_bytes;
        let rows = register.map_or(most, |register| register.rows_cost(&self.plan, cost.rows));
        let memory = bytes + cost.bytes + rows;
        let mut held = Held::default();
        server.bodies.hold(&mut held, memory).await?;
        let (own, plan, decoder) = (server.clone(), self.plan.clone(), self.decoder);
        let task = move || map(&own, &plan, decoder, &header, &body);
        // What the message took is held until its rows are stored.
        let ((decoder, mapped), _held) = body::work(memory, false, held, task).await?;
        self.decoder = decoder;
        match mapped {
            Mapped::Rows(blocks, tally) => {
                server.intake.store(blocks).await?;
                server.metrics.request(Protocol::Flight, bytes, tally.values);
                server.metrics.refused(&tally.refused);
                self.all.add(&tally);
                results.send(tally);
            }
            Mapped::Dictionary { number, bytes } => {
                self.kept.remove(&number);
                self.kept.insert(number, server.bodies.keep(bytes)?);
            }
            Mapped::Nothing => {}
        }
        Ok(self)
    }

    /// Ends a stream all of whose messages were taken, in part at least.
    fn end(self) -> Result<(), Failure> {
        let FlightTally { rows, refused, .. } = &self.all;
        if refused.total() == 0 {
            return Ok(());
        }
        let why = in_words(refused);
        let text = format!("partial write: {rows} rows are durable; {why}");
        Err(Failure::new(StatusCode::BAD_REQUEST, text))
    }
}

fn map(
    server: &Server,
    plan: &Plan,
    mut decoder: Decoder,
    header: &[u8],
    body: &Bytes,
) -> Result<(Decoder, Mapped), Failure> {
    let mapped = match decoder.read(header, body, plan.wanted())? {
        Read::Batch(batch) => {
            let (minute, storage) = (server.minute(), server.intake.storage());
            let (blocks, tally) = server.flight.lock().map(plan, &batch, minute, storage)?;
            Mapped::Rows(blocks, tally)
        }
        Read::Dictionary { number, bytes } => Mapped::Dictionary { number, bytes },
        Read::Nothing => Mapped::Nothing,
    };
    Ok((decoder, mapped))
}

impl From<FlightError> for Failure {
    fn from(error: FlightError) -> Self {
        match error {
            FlightError::Malformed(why) => Self::malformed(why),
            FlightError::TooLarge(why) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, why),
            FlightError::Storage(error) => error.into(),
        }
    }
}
