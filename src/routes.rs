//! What the HTTP listener answers once the store is open, each behind what it needs.
//!
//! ```text
//! for everybody     GET /health, GET /ping
//! to read           POST /sql, GET /metrics, Arrow Flight SQL
//! to write          /warpline.v1.Ingest/Stream, OTLP, /api/v1/write, /api/v2/write, /write, ...
//! ```
//! Flight's `DoPut` is for both: a query's parameters come by it, and rows. What it is shows with
//! its first message, so rows are looked at here once more.

use crate::access::{Gate, Holder, Need};
use crate::metrics;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use std::sync::Arc;
use tonic::service::Routes;
use tonic::{Extensions, Status};
use warpline_ingest::{FlightPut, StreamService, WriteService};
use warpline_query::{
    Engine, FlightWrites, PutAnswers, PutBatches, QueryCounts, flight_sql, http_routes,
};
use warpline_storage::Storage;

/// What the routes of this file look at.
type Counted = (Storage, Engine, Observed);

/// Reads the server's own numbers, given those of its engine.
pub(crate) type Observed = Arc<dyn Fn(&QueryCounts) -> Vec<metrics::Sample> + Send + Sync>;

pub(crate) fn observed(
    storage: &Storage,
    streams: &StreamService,
    writes: &WriteService,
) -> Observed {
    let (storage, wire, writes) = (storage.clone(), streams.metrics(), writes.clone());
    Arc::new(move |queries: &QueryCounts| {
        metrics::samples(&storage.metrics(), &wire.counts(), &writes.metrics(), queries)
    })
}

/// All of them.
pub(crate) fn routes(
    storage: &Storage,
    streams: &StreamService,
    writes: &WriteService,
    observed: Observed,
    engine: Engine,
    gate: &Gate,
) -> Router {
    let counted = (storage.clone(), engine.clone(), observed);
    let page = Router::new().route("/metrics", get(metrics_page)).with_state(counted.clone());
    let flight = Arc::new(GuardedPut(writes.flight_put()));
    let flight = grpc(Routes::new(flight_sql(engine.clone(), flight)));
    let read = gate.before(page.merge(http_routes(engine)), |_| Need::Read);
    let flight = gate.before(flight, of_flight);
    let write = grpc(Routes::new(streams.clone()).add_service(writes.otlp()));
    let write = gate.before(writes.routes().merge(write), |_| Need::Write);
    let open = Router::new().route("/health", get(health)).with_state(counted);
    open.merge(writes.open_routes()).merge(read).merge(flight).merge(write)
}

/// A path that nobody serves is HTTP's 404, not gRPC's "unimplemented".
fn grpc(services: Routes) -> Router {
    services.into_axum_router().reset_fallback()
}

fn of_flight(path: &str) -> Need {
    match path.rsplit('/').next() {
        Some("DoPut" | "Handshake") => Need::Either,
        _ => Need::Read,
    }
}

/// Rows that come over Flight, from those who may write.
struct GuardedPut(FlightPut);

impl FlightWrites for GuardedPut {
    fn put(&self, sender: &Extensions, batches: PutBatches) -> Result<PutAnswers, Status> {
        if sender.get::<Holder>().is_some_and(|holder| holder.role.may_write()) {
            return Ok(self.0.put(batches));
        }
        Err(Status::permission_denied("the token may not write: use one of role write or admin"))
    }

    fn max_message_bytes(&self) -> usize {
        self.0.max_message_bytes()
    }
}

/// The status says it all; the body is what InfluxDB's clients look for.
async fn health(State((storage, ..)): State<Counted>) -> (StatusCode, Json<serde_json::Value>) {
    let (code, status, message) = match storage.failure() {
        None => (StatusCode::OK, "pass", "ready".to_owned()),
        Some(failure) => (StatusCode::SERVICE_UNAVAILABLE, "fail", failure.to_string()),
    };
    let version = env!("CARGO_PKG_VERSION");
    let body = serde_json::json!({
        "name": "warpline", "status": status, "message": message, "version": version,
    });
    (code, Json(body))
}

async fn metrics_page(State((_, engine, observed)): State<Counted>) -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (headers, metrics::page(&observed(&engine.metrics())))
}
