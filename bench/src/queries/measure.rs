//! Statements timed on a running server.
//!
//! A statement gets a server started anew with its files out of the page cache: its first run is
//! cold, the warm ones follow on the same connection. Runs are as many as the harness makes of
//! its peers.

use super::statements::Statement;
use crate::Failure;
use crate::harness::Harness;
use crate::http::Connection;
use crate::report::MIB;
use crate::server::Server;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

const ARROW: &str = "application/vnd.apache.arrow.stream";
const PATIENCE: Duration = Duration::from_mins(10);
/// Seconds after which a statement is not run again.
const BUDGET: f64 = 40.0;
/// CPU clocks tick every 10 ms: cheaper statements are run more often for their CPU alone.
const CPU_SECONDS_TOLD_APART: f64 = 0.02;
const CPU_ROUND: usize = 20;
const CPU_RUNS: usize = 60;

/// A form, how it went and whether its answer is right.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    pub(super) form: String,
    /// Absent where the statement failed.
    pub(super) timing: Option<Timing>,
    pub(super) error: Option<String>,
    pub(super) verdict: Option<Verdict>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Timing {
    pub(super) cold_ms: f64,
    pub(super) warm_p50_ms: f64,
    pub(super) warm_ms: Vec<f64>,
    /// CPU of the server, and of the client where that does a part of the work.
    pub(super) cpu_ms: f64,
    pub(super) answer_bytes: u64,
    pub(super) memory_peak_mib: f64,
}

/// What the check against the reference says.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Verdict {
    pub(super) ok: bool,
    pub(super) rows: u64,
    pub(super) note: String,
}

/// What the script says about asking a rollup and writing it as Parquet.
#[derive(Debug, Deserialize)]
struct Rollup {
    seconds: Vec<f64>,
    client_cpu: Vec<f64>,
}

/// Warm runs, as the harness makes them.
fn warm_runs(query: &str) -> usize {
    if query == "Q12" { 3 } else { 7 }
}

impl Measured {
    fn of(form: String, outcome: Result<Timing, Failure>) -> Self {
        let (timing, error) = match outcome {
            Ok(timing) => (Some(timing), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self { form, timing, error, verdict: None }
    }
}

/// Runs the statements; answers go to `answers`, one file per form.
pub(super) fn all(
    harness: &Harness,
    server: &mut Server,
    statements: &[Statement],
    answers: &Path,
) -> Result<Vec<Measured>, Failure> {
    let mut measured = Vec::new();
    for statement in statements {
        eprintln!("measuring warpline: {}", statement.form);
        restart(harness, server)?;
        let file = answers.join(format!("{}.arrow", statement.form));
        measured.push(Measured::of(statement.form.clone(), time(server, statement, &file)));
        if statement.form == "Q12" {
            let form = format!("{}-parquet", statement.form);
            eprintln!("measuring warpline: {form}");
            restart(harness, server)?;
            let file = answers.join(format!("{form}.parquet"));
            let outcome = time_rollup(harness, server, &statement.sql, &file);
            measured.push(Measured::of(form, outcome));
        }
    }
    Ok(measured)
}

/// Compares every answer with the reference; one that was not compared is an error.
pub(super) fn check(
    harness: &Harness,
    size: &str,
    answers: &Path,
    measured: &mut [Measured],
) -> Result<(), Failure> {
    let args: [&OsStr; 3] = ["check".as_ref(), size.as_ref(), answers.as_os_str()];
    let mut verdicts: BTreeMap<String, Verdict> = harness.script(&args)?;
    for one in measured.iter_mut().filter(|one| one.timing.is_some()) {
        let verdict = verdicts.remove(&one.form);
        one.verdict = Some(verdict.ok_or_else(|| format!("{} was not compared", one.form))?);
    }
    Ok(())
}

fn restart(harness: &Harness, server: &mut Server) -> Result<(), Failure> {
    server.restart(|data| {
        let args: [&OsStr; 2] = ["evict".as_ref(), data.as_os_str()];
        harness.script::<serde_json::Value>(&args).map(|_| ())
    })
}

fn time(server: &Server, statement: &Statement, file: &Path) -> Result<Timing, Failure> {
    let mut connection = Connection::open(server.address(), PATIENCE)?;
    let mut answer = Vec::new();
    let mut ask = || -> Result<f64, Failure> {
        let begun = Instant::now();
        let status = connection.request("POST /sql", ARROW, &statement.sql, &mut answer)?;
        let seconds = begun.elapsed().as_secs_f64();
        if status == 200 { Ok(seconds) } else { Err(refusal(status, &answer).into()) }
    };
    let cold = ask()?;
    let (mut warm, mut spent) = (Vec::new(), cold);
    let cpu = server.cpu_seconds()?;
    while warm.is_empty() || warm.len() < warm_runs(statement.query()) && spent < BUDGET {
        let seconds = ask()?;
        warm.push(seconds);
        spent += seconds;
    }
    let mut runs = warm.len();
    let mut per_run = (server.cpu_seconds()? - cpu) / runs as f64;
    while per_run < CPU_SECONDS_TOLD_APART && runs < CPU_RUNS && statement.query() != "Q12" {
        let cpu = server.cpu_seconds()?;
        (0..CPU_ROUND).try_for_each(|_| ask().map(|_| ()))?;
        per_run = (server.cpu_seconds()? - cpu) / CPU_ROUND as f64;
        runs += CPU_ROUND;
    }
    std::fs::write(file, &answer)?;
    timing(server, cold, &warm, per_run, answer.len() as u64)
}

fn timing(
    server: &Server,
    cold: f64,
    warm: &[f64],
    cpu: f64,
    answer_bytes: u64,
) -> Result<Timing, Failure> {
    Ok(Timing {
        cold_ms: cold * 1e3,
        warm_p50_ms: median(warm) * 1e3,
        warm_ms: warm.iter().map(|seconds| seconds * 1e3).collect(),
        cpu_ms: cpu * 1e3,
        answer_bytes,
        memory_peak_mib: server.memory()?.peak as f64 / MIB,
    })
}

/// The same question with what the peers do besides: the answer becomes a Parquet file.
fn time_rollup(
    harness: &Harness,
    server: &Server,
    sql: &str,
    file: &Path,
) -> Result<Timing, Failure> {
    let address = server.address().to_string();
    let ask = |runs: usize| -> Result<Rollup, Failure> {
        let runs = runs.to_string();
        let (address, sql): (&OsStr, &OsStr) = (address.as_ref(), sql.as_ref());
        harness.script(&["rollup".as_ref(), address, sql, file.as_os_str(), runs.as_ref()])
    };
    let cold = median(&ask(1)?.seconds);
    let cpu = server.cpu_seconds()?;
    let warm = ask(warm_runs("Q12"))?;
    let server_cpu = server.cpu_seconds()? - cpu;
    let client_cpu: f64 = warm.client_cpu.iter().sum();
    let per_run = (server_cpu + client_cpu) / warm.seconds.len().max(1) as f64;
    timing(server, cold, &warm.seconds, per_run, file.metadata()?.len())
}

/// The server's words where it wrote them as it should.
fn refusal(status: u16, answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let told = serde_json::from_slice::<serde_json::Value>(answer).ok();
    let told = told.as_ref().and_then(|json| json["error"].as_str()).unwrap_or(&text);
    format!("HTTP {status}: {told}")
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::{Rollup, Verdict, median, refusal};
    use std::collections::BTreeMap;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&[9.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!((median(&[4.0, 1.0, 2.0, 9.0]) - 3.0).abs() < 1e-12);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_refusal_says_what_the_server_said() {
        let answer = br#"{"error":"table 'latest.dcgm' not found","code":"42P01"}"#;
        assert_eq!(refusal(400, answer), "HTTP 400: table 'latest.dcgm' not found");
        assert_eq!(refusal(502, b"no gateway"), "HTTP 502: no gateway");
    }

    #[test]
    fn what_the_script_prints_is_read() {
        let checked = r#"{"Q1": {"ok": false, "rows": 3, "note": "1 keys differ"}}"#;
        let verdicts: BTreeMap<String, Verdict> = serde_json::from_str(checked).expect("verdicts");
        assert!(!verdicts["Q1"].ok && verdicts["Q1"].rows == 3);
        let rollup = r#"{"seconds": [1.5], "client_cpu": [0.25]}"#;
        let rollup: Rollup = serde_json::from_str(rollup).expect("a rollup");
        assert!((rollup.seconds[0] - 1.5).abs() < 1e-12 && rollup.client_cpu.len() == 1);
    }
}
