//! The harness that measures other stores: a folder outside this repository, with a Python of its
//! own and everything large under `$PEERS_ROOT` (default `~/.cache/warpline-peers`).
//!
//! Expected of it: `gen.py --size SIZE` makes `data/SIZE`; `run.py --size SIZE --systems NAMES
//! --phases PHASES` fills stores below `db/SIZE` and leaves `results/SIZE-NAME.json`.

use crate::Failure;
use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Our own use of the harness's modules.
const SCRIPT: &str = include_str!("../harness.py");

#[derive(Clone, Debug)]
pub(crate) struct Harness {
    folder: PathBuf,
    root: PathBuf,
}

impl Harness {
    pub(crate) fn at(folder: &Path) -> Result<Self, Failure> {
        Ok(Self { folder: folder.to_owned(), root: root()? })
    }

    /// Makes the data of a size where there is none yet.
    pub(crate) fn generate(&self, size: &str) -> Result<(), Failure> {
        if self.root.join("data").join(size).join("meta.json").is_file() {
            return Ok(());
        }
        if self.python("gen.py", &["--size", size])? {
            return Ok(());
        }
        Err(format!("the harness could not make its data of size {size}").into())
    }

    /// The folder of a size's rows, in Arrow files in the order in which they arrived.
    pub(crate) fn blocks(&self, size: &str) -> PathBuf {
        self.root.join("data").join(size).join("blocks")
    }

    /// Requests of a size, made for peers that take them.
    pub(crate) fn payload(&self, size: &str, file: &str) -> PathBuf {
        self.root.join("data").join(size).join(file)
    }

    /// Whether a system's store was filled before. Readers of Parquet share one.
    pub(crate) fn has_store(&self, size: &str, system: &str) -> bool {
        let mut files = self.root.join("db").join(size).join(store(system)).read_dir();
        files.as_mut().is_ok_and(|files| files.next().is_some())
    }

    /// Lets the harness measure taking in; `false` where it says that something failed.
    pub(crate) fn ingest(&self, size: &str, system: &str) -> Result<bool, Failure> {
        self.run(&["--size", size, "--systems", system, "--phases", "ingest"])
    }

    /// Lets it ask questions; `false` where one failed or an answer disagreed.
    pub(crate) fn query(&self, size: &str, system: &str, questions: &str) -> Result<bool, Failure> {
        let asked = ["--phases", "query", "--queries", questions];
        self.run(&[&["--size", size, "--systems", system], asked.as_slice()].concat())
    }

    fn run(&self, args: &[&str]) -> Result<bool, Failure> {
        eprintln!("measuring peers: {}", args.join(" "));
        self.python("run.py", args)
    }

    /// What it found, as JSON.
    pub(crate) fn results(&self, size: &str, system: &str) -> Result<String, Failure> {
        let path = self.root.join("results").join(format!("{size}-{system}.json"));
        std::fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()).into())
    }

    /// Runs a command of our script in the harness's Python and reads the JSON it prints.
    pub(crate) fn script<T: DeserializeOwned>(&self, args: &[&OsStr]) -> Result<T, Failure> {
        let output = self
            .command()
            .args(["-W", "ignore", "-c", SCRIPT])
            .arg(&self.folder)
            .args(args)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| self.cannot_start(&error))?;
        if !output.status.success() {
            let asked: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
            return Err(
                format!("harness.py {} ended with {}", asked.join(" "), output.status).into()
            );
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Whether a program of the harness ended well.
    fn python(&self, program: &str, args: &[&str]) -> Result<bool, Failure> {
        let status = self
            .command()
            .arg(self.folder.join(program))
            .args(args)
            .stdout(std::io::stderr())
            .status()
            .map_err(|error| self.cannot_start(&error))?;
        Ok(status.success())
    }

    fn interpreter(&self) -> PathBuf {
        self.root.join("venv/bin/python")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.interpreter());
        command.env("PEERS_ROOT", &self.root).env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::null());
        command
    }

    fn cannot_start(&self, error: &std::io::Error) -> Failure {
        let python = self.interpreter();
        format!("cannot start {}: {error}; run the harness's setup first", python.display()).into()
    }
}

/// The system of the harness that fills the store which `system` reads.
pub(crate) fn store(system: &str) -> &str {
    if system.ends_with("-parquet") { "parquet" } else { system }
}

fn root() -> Result<PathBuf, Failure> {
    if let Some(root) = std::env::var_os("PEERS_ROOT") {
        return Ok(root.into());
    }
    let home = std::env::home_dir().ok_or("set PEERS_ROOT to the folder the harness works in")?;
    Ok(home.join(".cache/warpline-peers"))
}

#[cfg(test)]
mod tests {
    use super::store;

    #[test]
    fn readers_of_parquet_share_a_store() {
        assert_eq!(store("polars-parquet"), "parquet");
        assert_eq!(store("duckdb"), "duckdb");
    }
}
