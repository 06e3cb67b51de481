//! The same questions put to other stores by the harness.

use crate::Failure;
use crate::harness::{Harness, store};
use crate::peers::Ingest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the harness compares every answer with; without it there is nothing to compare.
const REFERENCE: &str = "duckdb-parquet";

/// A store's results.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PeerResults {
    pub(super) system: String,
    /// Absent where it reads what another one has taken in.
    pub(super) ingest: Option<Ingest>,
    pub(super) answers: BTreeMap<String, Answer>,
}

/// Seconds of a question; see the harness for how they are measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Answer {
    pub(super) warm: f64,
    pub(super) cold: f64,
    pub(super) cpu: f64,
    pub(super) rss: f64,
    pub(super) ok: bool,
    /// Where the answer is right but not the same, how it differs.
    pub(super) why: String,
}

#[derive(Deserialize)]
struct Results {
    ingest: Option<Ingest>,
    #[serde(default)]
    q: BTreeMap<String, Answer>,
}

impl Answer {
    /// Whether the store can only answer something near to the question.
    pub(super) fn is_near(&self) -> bool {
        self.ok && !self.why.is_empty() && self.why != "reference"
    }
}

/// The stores' results; measured now, or as they lie there where `reuse` says so.
pub(super) fn measure(
    harness: &Harness,
    size: &str,
    systems: &[String],
    queries: &[String],
    reuse: bool,
) -> Result<Vec<PeerResults>, Failure> {
    if !reuse && !systems.is_empty() {
        let others = systems.iter().map(String::as_str).filter(|system| *system != REFERENCE);
        for system in [REFERENCE].into_iter().chain(others) {
            run(harness, size, system, queries)?;
        }
    }
    systems.iter().map(|system| parse(system, &harness.results(size, system)?)).collect()
}

fn run(harness: &Harness, size: &str, system: &str, queries: &[String]) -> Result<(), Failure> {
    if !harness.has_store(size, system) && !harness.ingest(size, store(system))? {
        return Err(format!("the harness could not fill the store of {system}").into());
    }
    // A question that fails or disagrees is told in the results.
    harness.query(size, system, &queries.join(",")).map(|_| ())
}

fn parse(system: &str, text: &str) -> Result<PeerResults, Failure> {
    let Results { ingest, q } = serde_json::from_str(text)
        .map_err(|error| format!("the harness's results of {system}: {error}"))?;
    Ok(PeerResults { system: system.to_owned(), ingest, answers: q })
}

#[cfg(test)]
pub(super) mod tests {
    use super::{PeerResults, parse};

    pub(in crate::queries) fn example(system: &str, warm: f64, why: &str) -> PeerResults {
        let text = format!(
            r#"{{"load_avg": 0.5, "q": {{"Q1": {{"cold": 0.5, "warm": {warm}, "n": 7, "cpu": 0.25,
            "rss": 1048576, "ok": true, "why": "{why}", "rows": 64, "load": 0.1}}}}}}"#
        );
        parse(system, &text).expect("results")
    }

    #[test]
    fn results_of_the_harness_are_read() {
        let peer = example("duckdb", 0.002, "");
        assert!(peer.ingest.is_none() && !peer.answers["Q1"].is_near());
        assert!((peer.answers["Q1"].warm - 0.002).abs() < 1e-12);
        assert!(example("victoriametrics", 0.002, "median diff 0.5%").answers["Q1"].is_near());
        assert!(!example("duckdb-parquet", 0.002, "reference").answers["Q1"].is_near());
    }

    #[test]
    fn results_may_tell_of_taking_in_alone() {
        let text = r#"{"ingest": {"wall": 10.0, "cpu": 15.0, "rss": 1048576, "opt_cpu": 1.0,
            "disk": 9000000, "samples": 10000000}}"#;
        let peer = parse("chdb", text).expect("results");
        assert!(peer.ingest.is_some() && peer.answers.is_empty());
        assert!(parse("chdb", r#"{"q": {"Q1": {}}}"#).is_err());
    }
}
