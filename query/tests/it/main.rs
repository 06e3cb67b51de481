//! The query room over hand-made snapshots: Parquet files written here, no server.

mod fixture;
mod oracle;
mod plans;
