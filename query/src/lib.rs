//! Warpline's query: SQL over a snapshot becomes record batches, and those become bytes.

mod answer;
mod catalog;
mod dialect;
mod downsample;
mod engine;
mod error;
mod exact;
mod functions;
mod http;
mod information;
mod latest;
mod metrics;
mod named;
mod planner;
mod plans;
mod postgres;
mod rewrite;
mod scan;
mod settings;
mod statement;
mod system;
mod types;
mod zone;

pub use answer::Answer;
pub use catalog::{CATALOG, LATEST, SCHEMA};
pub use downsample::DownsampleExec;
pub use engine::{Engine, EngineOptions};
pub use error::{QueryError, QueryErrorKind};
pub use exact::{Ask, ExactAggregate, ExactSums};
pub use http::http_routes;
pub use metrics::QueryCounts;
pub use postgres::serve_postgres;
pub use scan::{BufferExec, ChunkExec, ResolveExec, TableView};
pub use settings::SessionSettings;
pub use system::{Metric, MetricSource, SYSTEM};
pub use types::{DECIMALS, sql_schema};
