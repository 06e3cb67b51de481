//! The harness's data set: what it is, as Parquet that `warpline import` reads, and taken in.

use crate::Failure;
use crate::harness::Harness;
use crate::report::MIB;
use crate::server::Server;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

const IDENTITY: &str = "cluster,node,gpu";
const ATTRIBUTES: &str = "rack,uuid,model,tenant,job";

/// A size of the harness's data and what its questions are about.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Dataset {
    pub(super) gpus: u64,
    pub(super) tick_seconds: u64,
    pub(super) rows: u64,
    pub(super) samples: u64,
    pub(super) metrics: Vec<String>,
    /// The metrics of the questions about ten of them.
    pub(super) ten: Vec<String>,
    pub(super) node: String,
    pub(super) gpu: u64,
    /// By question.
    pub(super) titles: BTreeMap<String, String>,
}

/// The data set in files, for as long as this lives.
#[derive(Debug)]
pub(super) struct Files {
    folder: TempDir,
}

/// What taking the data set in cost the server.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Load {
    /// Of the importing client, which reads its files twice.
    pub(super) import_seconds: f64,
    /// CPU seconds of the server until every row was acknowledged, and until it was in files.
    pub(super) durable_cpu: f64,
    pub(super) stored_cpu: f64,
    /// The same until files were merged and rollups kept.
    pub(super) settled_cpu: f64,
    pub(super) bytes: u64,
    pub(super) files: u64,
    pub(super) memory_peak_mib: f64,
}

/// Makes the files of a size below `parent`.
pub(super) fn convert(
    harness: &Harness,
    size: &str,
    parent: Option<&Path>,
) -> Result<(Dataset, Files), Failure> {
    harness.generate(size)?;
    let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
    let folder = tempfile::Builder::new().prefix("warpline-bench-").tempdir_in(parent)?;
    let args: [&OsStr; 3] = ["convert".as_ref(), size.as_ref(), folder.path().as_os_str()];
    Ok((harness.script(&args)?, Files { folder }))
}

impl Files {
    fn paths(&self) -> Result<Vec<PathBuf>, Failure> {
        let entries = self.folder.path().read_dir()?;
        let mut paths =
            entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, Failure>>()?;
        paths.sort();
        Ok(paths)
    }

    /// Imports them and waits until every row is in the server's tables.
    pub(super) fn load(
        &self,
        binary: &Path,
        server: &mut Server,
        data: &Dataset,
    ) -> Result<Load, Failure> {
        let (cpu, begun) = (server.cpu_seconds()?, Instant::now());
        let status = Command::new(binary)
            .args(["import", "--server", &server.url(), "--table", "dcgm"])
            .args(["--time", "ts", "--time-unit", "ms"])
            .args(["--identity", IDENTITY, "--attributes", ATTRIBUTES])
            .args(self.paths()?)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
        if !status.success() {
            return Err(format!("the import ended with {status}").into());
        }
        let (import_seconds, durable_cpu) =
            (begun.elapsed().as_secs_f64(), server.cpu_seconds()? - cpu);
        let counters = server.wait_until_flushed()?;
        if counters.rows != data.rows {
            return Err(format!("of {} rows {} were taken", data.rows, counters.rows).into());
        }
        let stored_cpu = server.cpu_seconds()? - cpu;
        server.wait_until_settled()?;
        let (settled_cpu, memory_peak_mib) =
            (server.cpu_seconds()? - cpu, server.memory()?.peak as f64 / MIB);
        let compacted = server.compact()?;
        let files = server.parquet()?;
        Ok(Load {
            import_seconds,
            durable_cpu,
            stored_cpu,
            settled_cpu: settled_cpu + compacted.cpu,
            bytes: files.bytes,
            files: files.count,
            memory_peak_mib,
        })
    }
}

#[cfg(test)]
impl Dataset {
    pub(super) fn example() -> Self {
        let text = r#"{"gpus": 64, "tick_seconds": 10, "rows": 22896, "samples": 1099008,
            "metrics": ["gpu_util", "power"], "ten": ["gpu_util", "power"],
            "node": "node-0003", "gpu": 5, "titles": {"Q1": "last gpu_util of every GPU"}}"#;
        serde_json::from_str(text).expect("what the script prints")
    }
}
