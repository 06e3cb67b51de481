//! What other people's senders write over HTTP and gRPC: each protocol ends in the same batches.
//!
//! ```text
//! POST /api/v1/write              Prometheus remote write 1.0 and 2.0
//! POST /api/v2/write, /write      InfluxDB's line protocol; GET /ping
//! POST /v1/metrics, gRPC          OpenTelemetry metrics
//! gRPC                            Arrow Flight, DoPut
//! ```
//! Promises: a request is answered as taken only when its rows are durable; what of it cannot be
//! taken is told, counted, and harms nothing beside it; memory is bounded by [`WriteLimits`], and
//! at the bound senders are told to come again.

mod answer;
mod body;
mod flight;
mod influx;
mod intake;
mod metrics;
mod otlp;
mod prometheus;
#[cfg(test)]
mod tests;

pub use flight::{FlightPut, PutResults};
pub use metrics::{Protocol, WriteCounts, WriteMetrics};
pub use otlp::OtlpService;

use crate::dictionary::Dictionary;
use crate::flight::FlightRegister;
use crate::lines::LineRegister;
use crate::register::Register;
use axum::Router;
use body::{Bodies, Spare};
use intake::Intake;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};
use warpline_storage::Storage;

/// What requests may cost.
#[derive(Clone, Debug)]
pub struct WriteLimits {
    /// The largest body as it is sent.
    pub body_bytes: usize,
    /// The largest body once decompressed.
    pub message_bytes: usize,
    /// Bytes of all bodies that are read at one time; a quarter of it more goes to what streams keep.
    pub memory_bytes: usize,
    /// Series that are remembered by their labels, and as many by their lines; one takes about a
    /// kilobyte.
    pub series: usize,
    /// How long a request waits for the store before its sender is told to come again.
    pub patience: Duration,
}

impl Default for WriteLimits {
    fn default() -> Self {
        Self {
            body_bytes: 16 << 20,
            message_bytes: 64 << 20,
            memory_bytes: 256 << 20,
            series: 2_000_000,
            patience: Duration::from_secs(10),
        }
    }
}

/// What all requests share.
#[derive(Debug)]
struct Server {
    limits: WriteLimits,
    bodies: Bodies,
    spare: Spare,
    intake: Intake,
    register: Mutex<Register>,
    lines: Mutex<LineRegister>,
    flight: Mutex<FlightRegister>,
    metrics: Arc<WriteMetrics>,
    started: Instant,
}

impl Server {
    /// The register's clock.
    fn minute(&self) -> u32 {
        (self.started.elapsed().as_secs() / 60) as u32
    }
}

/// The endpoints in front of one store. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct WriteService {
    server: Arc<Server>,
}

/// Endpoints that write to `storage`, one for each store.
pub fn write_service(
    storage: Storage,
    dictionary: Arc<Dictionary>,
    limits: WriteLimits,
) -> WriteService {
    let server = Server {
        bodies: Bodies::new(&limits),
        spare: Spare::default(),
        intake: Intake::new(storage, limits.patience),
        register: Mutex::new(Register::new(dictionary.clone(), limits.series)),
        lines: Mutex::new(LineRegister::new(limits.series)),
        flight: Mutex::new(FlightRegister::new(dictionary, limits.series, limits.message_bytes)),
        metrics: Arc::default(),
        started: Instant::now(),
        limits,
    };
    WriteService { server: Arc::new(server) }
}

impl WriteService {
    /// Those that take nothing and tell nothing.
    pub fn open_routes(&self) -> Router {
        influx::open_routes()
    }

    /// Those that write.
    pub fn routes(&self) -> Router {
        let all = prometheus::routes().merge(influx::routes()).merge(otlp::routes());
        all.with_state(self.server.clone())
    }

    /// The endpoint of OpenTelemetry over gRPC.
    pub fn otlp(&self) -> OtlpService {
        OtlpService { server: self.server.clone() }
    }

    /// `DoPut` of Arrow Flight, for a service that has other methods too.
    pub fn flight_put(&self) -> FlightPut {
        FlightPut { server: self.server.clone() }
    }

    pub fn metrics(&self) -> WriteCounts {
        let (register, lines) = (self.server.register.lock().len(), self.server.lines.lock().len());
        let known = register + lines + self.server.flight.lock().len();
        self.server.metrics.counts(known as u64)
    }
}
