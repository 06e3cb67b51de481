//! `warpline simulate` as the client of a measurement.

use crate::Failure;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

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

    /// Nodes that share a producer [default: as many as make 64 producers]
    #[arg(long, value_name = "K")]
    pub(crate) nodes_per_stream: Option<u64>,

    /// Name of the fleet's cluster
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,

    /// Producers that share a connection
    #[arg(long, value_name = "C", default_value_t = 16)]
    pub(crate) streams_per_connection: usize,
}

/// The simulator's last lines: what the server has acknowledged as durable.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
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
    start(binary, server, gpus, load)?.finish()
}

/// A simulator that streams.
#[derive(Debug)]
pub(crate) struct Sender(Child);

/// Starts to stream a fleet of `gpus` to the server.
pub(crate) fn start(
    binary: &Path,
    server: &str,
    gpus: u32,
    load: &Load,
) -> Result<Sender, Failure> {
    let mut command = Command::new(binary);
    command.arg("simulate");
    if load.speed == "max" {
        command.args(["--start", &load.start]);
    }
    if let Some(nodes) = load.nodes_per_stream {
        command.args(["--nodes-per-stream", &nodes.to_string()]);
    }
    if let Some(cluster) = &load.cluster {
        command.args(["--cluster", cluster]);
    }
    let child = command
        .args(["--server", server, "--gpus", &gpus.to_string()])
        .args(["--interval", &load.interval, "--duration", &load.duration])
        .args(["--seed", &load.seed.to_string(), "--speed", &load.speed])
        .args(["--prepare", &load.prepare.to_string()])
        .args(["--streams-per-connection", &load.streams_per_connection.to_string()])
        // What is refused is told at the end, once.
        .args(["--log", "error"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
    Ok(Sender(child))
}

impl Sender {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn is_running(&mut self) -> Result<bool, Failure> {
        Ok(self.0.try_wait()?.is_none())
    }

    /// Waits until all is durable.
    pub(crate) fn finish(self) -> Result<Acknowledged, Failure> {
        let (sent, status) = self.end()?;
        if status.success() { Ok(sent) } else { Err(format!("the simulator: {status}").into()) }
    }

    /// Waits until all was answered, where none of it is to be taken.
    pub(crate) fn finish_refused(self) -> Result<Acknowledged, Failure> {
        match self.end()? {
            (_, status) if status.success() => Err("the server took what it was to refuse".into()),
            (sent, _) => Ok(sent),
        }
    }

    fn end(mut self) -> Result<(Acknowledged, ExitStatus), Failure> {
        let mut output = String::new();
        self.0.stdout.take().map_or(Ok(0), |mut out| out.read_to_string(&mut output))?;
        let status = self.0.wait()?;
        let sent = parse(&output).ok_or_else(|| {
            format!("the simulator ended with {status} and did not say what was acknowledged")
        })?;
        Ok((sent, status))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // Both fail only where the process has already gone, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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
