//! The same reduction by engines that a Python has (`bench/kernel_peers.py`).
//!
//! Promises: they get the very bytes that our kernel reduces beside them, as one series, and a rate
//! counts only if every way the engine was asked gave our answer.

use super::Case;
use super::data::{self, Kind, Sample};
use super::measure::{best, reduce_into};
use crate::Failure;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use warpline_kernel::{Edges, Reduced, Validity};

const SCRIPT: &str = include_str!("../../kernel_peers.py");
/// How far sums of floats in another order may lie apart.
const TOLERANCE: f64 = 1e-9;

/// An engine's figures.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Peer {
    pub(crate) engine: String,
    rates: Vec<Rate>,
}

#[derive(Clone, Debug, Serialize)]
struct Rate {
    #[serde(flatten)]
    case: Case,
    values_per_second: f64,
    /// Which of the ways to ask was the fastest.
    way: String,
}

impl Peer {
    /// Values a second.
    pub(crate) fn rate(&self, case: Case) -> Option<f64> {
        self.rates.iter().find(|rate| rate.case == case).map(|rate| rate.values_per_second)
    }
}

/// What the script prints for a case.
#[derive(Deserialize)]
struct Answer {
    seconds: f64,
    way: String,
    checksums: Vec<Checksum>,
}

/// Buckets, values, and the sums of mins, maxs and sums, as text.
type Checksum = [String; 5];

/// Ours first, then each engine asked for.
pub(crate) fn all(
    python: &Path,
    engines: &[String],
    rows: usize,
    rounds: u32,
) -> Result<Vec<Peer>, Failure> {
    let folder = tempfile::tempdir()?;
    let files = Files { folder: folder.path(), rows };
    files.write()?;
    let cases: Vec<Case> = Case::all().collect();
    let entries: Vec<serde_json::Value> = cases.iter().map(|case| files.entry(*case)).collect();
    let manifest = json!({ "rows": rows, "rounds": rounds, "cases": entries });
    std::fs::write(files.path("manifest.json"), manifest.to_string())?;
    eprintln!("measuring warpline on the peers' arrays");
    let ours: Vec<Answer> = cases.iter().map(|case| files.ours(*case, rounds)).collect();
    let expected: Vec<Checksum> = ours.iter().map(|ours| ours.checksums[0].clone()).collect();
    let mut peers = vec![rates("warpline", rows, &cases, &expected, ours)?];
    for engine in engines {
        eprintln!("measuring {engine}");
        let answers = ask(python, engine, &files.path("manifest.json"))?;
        peers.push(rates(engine, rows, &cases, &expected, answers)?);
    }
    Ok(peers)
}

fn ask(python: &Path, engine: &str, manifest: &Path) -> Result<Vec<Answer>, Failure> {
    let output = Command::new(python)
        .args(["-c", SCRIPT, engine])
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start {}: {error}", python.display()))?;
    if !output.status.success() {
        return Err(format!("measuring {engine} ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn rates(
    engine: &str,
    rows: usize,
    cases: &[Case],
    expected: &[Checksum],
    answers: Vec<Answer>,
) -> Result<Peer, Failure> {
    if answers.len() != cases.len() {
        return Err(format!("{engine} answered {} cases of {}", answers.len(), cases.len()).into());
    }
    let mut rates = Vec::new();
    for ((case, expected), answer) in cases.iter().zip(expected).zip(answers) {
        if let Some(other) = answer.checksums.iter().find(|other| !agree(expected, other)) {
            let what = format!("{engine} and the kernel disagree on {case:?}");
            return Err(format!("{what}: {other:?}, not {expected:?}").into());
        }
        let values_per_second = rows as f64 / answer.seconds;
        rates.push(Rate { case: *case, values_per_second, way: answer.way });
    }
    Ok(Peer { engine: engine.to_owned(), rates })
}

/// Whole numbers are the same, others nearly.
fn agree(ours: &Checksum, theirs: &Checksum) -> bool {
    let near = |a: &String, b: &String| match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= TOLERANCE * a.abs(),
        _ => false,
    };
    let float = |text: &String| text.contains(['.', 'e']);
    ours.iter().zip(theirs).all(|(a, b)| a == b || (float(a) || float(b)) && near(a, b))
}

/// The columns as raw little-endian files.
struct Files<'a> {
    folder: &'a Path,
    rows: usize,
}

impl Files<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self) -> Result<(), Failure> {
        for jittered in [false, true] {
            let bytes: Vec<u8> =
                data::times(self.rows, jittered).flat_map(i64::to_le_bytes).collect();
            std::fs::write(self.path(times_name(jittered)), bytes)?;
        }
        std::fs::write(self.path("bitmap"), data::bitmap(self.rows))?;
        self.write_values::<i16>()?;
        self.write_values::<i32>()?;
        self.write_values::<i64>()?;
        self.write_values::<f64>()
    }

    fn write_values<T: Sample>(&self) -> Result<(), Failure> {
        let mut bytes = Vec::with_capacity(self.rows * size_of::<T>());
        for value in data::values::<T>(self.rows) {
            value.write(&mut bytes);
        }
        Ok(std::fs::write(self.path(T::KIND.name()), bytes)?)
    }

    fn entry(&self, case: Case) -> serde_json::Value {
        json!({
            "type": case.kind.name(),
            "width": case.width,
            "times": self.path(times_name(case.jittered)),
            "values": self.path(case.kind.name()),
            "bitmap": case.nulls.then(|| self.path("bitmap")),
        })
    }

    /// Our own answer.
    fn ours(&self, case: Case, rounds: u32) -> Answer {
        match case.kind {
            Kind::I16 => self.ours_of::<i16>(case, rounds),
            Kind::I32 => self.ours_of::<i32>(case, rounds),
            Kind::I64 => self.ours_of::<i64>(case, rounds),
            Kind::F64 => self.ours_of::<f64>(case, rounds),
        }
    }

    fn ours_of<T: Sample>(&self, case: Case, rounds: u32) -> Answer {
        let times: Vec<i64> = data::times(self.rows, case.jittered).collect();
        let values = data::values::<T>(self.rows);
        let bitmap = case.nulls.then(|| data::bitmap(self.rows));
        let validity = bitmap.as_ref().map(|bitmap| Validity::new(bitmap, 0));
        let (mut edges, mut out) = (Edges::default(), Reduced::default());
        let seconds = best(rounds, || {
            edges.find(&times, data::grid(case.width));
            reduce_into(&mut out, &values, validity, edges.ends());
        });
        Answer { seconds, way: "kernel".to_owned(), checksums: vec![checksum(&out)] }
    }
}

fn checksum<T: Sample>(out: &Reduced<T>) -> Checksum {
    let count: u64 = out.count.iter().map(|count| u64::from(*count)).sum();
    let (min, max) = (T::total_of_values(&out.min), T::total_of_values(&out.max));
    [out.count.len().to_string(), count.to_string(), min, max, T::total_of_sums(&out.sum)]
}

fn times_name(jittered: bool) -> &'static str {
    if jittered { "times-jittered" } else { "times-regular" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_sum(sum: &str) -> Checksum {
        ["10", "60", "-5", "5", sum].map(str::to_owned)
    }

    #[test]
    fn whole_numbers_agree_exactly_and_floats_nearly() {
        assert!(agree(&with_sum("12000000000"), &with_sum("12000000000")));
        assert!(!agree(&with_sum("12000000000"), &with_sum("12000000001")));
        assert!(agree(&with_sum("1.2e10"), &with_sum("12000000000.5")));
        assert!(!agree(&with_sum("1.2e10"), &with_sum("12000001000.0")));
        assert!(!agree(&with_sum("1.0"), &with_sum("None")));
    }
}
