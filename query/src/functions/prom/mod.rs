//! `prom_increase`, `prom_rate` and `prom_delta`: counters and gauges as Prometheus computes them.
//!
//! Each series' samples are cut into windows of one width, aligned to 1970-01-01 and left-closed;
//! each window is what a range vector is to Prometheus, extrapolated to its ends by the same rule
//! (`window`). The windows' answers are joined for each series and summed over the series
//! (`function`). A window's answer depends on its own samples alone, so these aggregates, unlike
//! `increase` and its kin, are functions of their group's rows.

mod function;
mod window;

pub(super) use function::Extrapolated;
pub(super) use window::Kind;
