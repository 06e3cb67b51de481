//! `warpline simulate` as the client of a measurement.

use crate::Failure;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a simulated fleet is asked to send.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Load {
    /// Time between two ticks of a GPU, in the data
    #[arg(long, default_value = "1s")]
    pub(crate) interval: String,

    /// Time that the data spans
    #[arg(long, default_value = "60s")]
    pub(crate) duration: String,

    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// How fast it is sent: max, or real for one second a second
    #[arg(long, default_value = "max")]
    pub(crate) speed: String,

    /// First tick at full speed: the same data in every run. In real time it is now
    #[arg(long, value_name = "TIME", default_value = "2026-11-20T00:00:00Z")]
    pub(crate) start: String,

    /// Frames made ahead and replayed: the sender costs little, the data is less real
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) prepare: u64,
}

/// The simulator's last lines: what the server has acknowledged as durable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Acknowledged {
    pub(crate) rows: u64,
    pub(crate) values: u64,
    pub(crate) seconds: f64,
    /// Milliseconds from sending a frame to its acknowledgement, where the simulator tells them.
    pub(crate) latency_p50: Option<f64>,
    pub(crate) latency_p99: Option<f64>,
}

/// Streams a fleet of `gpus` to the server and waits until all of it is durable.
pub(crate) fn stream(
    binary: &Path,
    server: &str,
    gpus: u32,
    load: &Load,
) -> Result<Acknowledged, Failure> {
    let mut command = Command::new(binary);
    if load.speed == "max" {
        command.args(["simulate", "--start", &load.start]);
    } else {
        command.arg("simulate");
    }
    let output = command
        .args(["--server", server, "--gpus", &gpus.to_string()])
        .args(["--interval", &load.interval, "--duration", &load.duration])
        .args(["--seed", &load.seed.to_string(), "--speed", &load.speed])
        .args(["--prepare", &load.prepare.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
    if !output.status.success() {
        return Err(format!("the simulator ended with {}", output.status).into());
    }
    parse(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| "the simulator did not say what was acknowledged".into())
}

/// Reads `acknowledged rows=R values=V seconds=S` and, where there is one, the line
/// `latency p50_ms=A p99_ms=B`.
fn parse(output: &str) -> Option<Acknowledged> {
    let told = |line: &str, name: &str| -> Option<f64> {
        let line = output.lines().rev().find_map(|l| l.trim().strip_prefix(line))?;
        let mut pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
        pairs.find(|(key, _)| *key == name)?.1.parse().ok()
    };
    Some(Acknowledged {
        rows: told("acknowledged ", "rows")? as u64,
        values: told("acknowledged ", "values")? as u64,
        seconds: told("acknowledged ", "seconds")?,
        latency_p50: told("latency ", "p50_ms"),
        latency_p99: told("latency ", "p99_ms"),
    })
}

#[cfg(test)]
mod tests {
    use super::{Acknowledged, parse};

    #[test]
    fn what_was_acknowledged_is_read() {
        let told = Acknowledged {
            rows: 480,
            values: 28_800,
            seconds: 1.25,
            latency_p50: None,
            latency_p99: None,
        };
        assert_eq!(parse("x\nacknowledged rows=480 values=28800 seconds=1.25\n"), Some(told));
        let output =
            "latency p50_ms=2.5 p99_ms=9\nacknowledged rows=480 values=28800 seconds=1.25\n";
        let told = Acknowledged { latency_p50: Some(2.5), latency_p99: Some(9.0), ..told };
        assert_eq!(parse(output), Some(told));
    }

    #[test]
    fn nothing_less_will_do() {
        assert_eq!(parse("sent rows=480 values=28800 seconds=1.25"), None);
        assert_eq!(parse("acknowledged rows=480"), None);
    }
}
