//! Arrow Flight SQL: statements in, record batches out, without a detour over text.
//!
//! ```text
//! service    what each call of the protocol is answered with
//! handle     prepared statements: a handle holds all that is known of one
//! listing    schemas, tables, keys, types, and what the server says of itself
//! ```
//! Promises: the server keeps nothing between two calls, so that a client may vanish at any moment;
//! batches are sent as they are computed, no faster than
//! they are taken, and a call that is given up stops its work. What is written goes to whoever was
//! given for it: this room only reads.

mod handle;
mod listing;
mod service;

pub use service::FlightSql;

use arrow_flight::flight_service_server::FlightServiceServer;
use arrow_flight::{FlightData, PutResult};
use futures::stream::BoxStream;
use std::sync::Arc;
use tonic::{Extensions, Status};

/// Batches that a client sends, and what it is told of them.
pub type PutBatches = BoxStream<'static, Result<FlightData, Status>>;
pub type PutAnswers = BoxStream<'static, Result<PutResult, Status>>;

/// Takes what clients write. A stream's first message has a descriptor with the table's name.
pub trait FlightWrites: Send + Sync {
    /// `sender` is what the request came with. The answers' metadata are JSON objects whose
    /// `rows` were taken.
    fn put(&self, sender: &Extensions, batches: PutBatches) -> Result<PutAnswers, Status>;

    /// The largest message that it takes.
    fn max_message_bytes(&self) -> usize;
}

/// The service that answers from `engine` and hands what is written to `writes`.
pub fn flight_sql(
    engine: crate::Engine,
    writes: Arc<dyn FlightWrites>,
) -> FlightServiceServer<FlightSql> {
    let most = writes.max_message_bytes();
    let service = FlightSql::new(engine, writes);
    FlightServiceServer::new(service).max_decoding_message_size(most)
}
