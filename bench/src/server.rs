//! A real `warpline serve` on a folder of its own, for the length of a measurement.

use crate::process::{self, Memory};
use crate::report::MIB;
use crate::{Failure, http};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const READY_WITHIN: Duration = Duration::from_mins(1);
const FLUSHED_WITHIN: Duration = Duration::from_mins(10);
const SETTLED_WITHIN: Duration = Duration::from_hours(1);
/// A server at rest takes less than this share of a core over that time.
const REST: Duration = Duration::from_secs(5);
const AT_REST: f64 = 0.05;
/// A start is a thing to be measured.
const READY_POLL: Duration = Duration::from_millis(2);
const POLL: Duration = Duration::from_millis(50);

/// A setting of the server, `storage.flush_interval=10s`, as docs/operating.md names them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Setting {
    name: String,
    value: String,
}

impl Setting {
    pub(crate) fn new(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), value: value.to_owned() }
    }

    /// The variable that the server reads it from.
    fn variable(&self) -> String {
        format!("WARPLINE_{}", self.name.replace('.', "_").to_uppercase())
    }
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if name.contains('.') => Ok(Self::new(name, value)),
            _ => Err("a setting is written SECTION.KEY=VALUE".to_owned()),
        }
    }
}

/// A running server; it and its folder go when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    binary: PathBuf,
    settings: Vec<Setting>,
    folder: TempDir,
}

impl Server {
    /// Starts `binary` on an empty folder below `parent` and waits until it is ready.
    pub(crate) fn start(
        binary: &Path,
        parent: Option<&Path>,
        settings: Vec<Setting>,
    ) -> Result<Self, Failure> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let folder = tempfile::Builder::new().prefix("warpline-bench-").tempdir_in(parent)?;
        let (child, address) = spawn(binary, folder.path(), &settings)?;
        let mut server = Self { child, address, binary: binary.to_owned(), settings, folder };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Kills the server, lets `meanwhile` do something to its data folder, and starts it again.
    pub(crate) fn restart(
        &mut self,
        meanwhile: impl FnOnce(&Path) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.kill();
        meanwhile(&data_folder(self.folder.path()))?;
        (self.child, self.address) = spawn(&self.binary, self.folder.path(), &self.settings)?;
        self.wait_until_ready()
    }

    /// Merges all files of the stopped server as if every day were over, and starts it again.
    pub(crate) fn compact(&mut self) -> Result<Compacted, Failure> {
        let mut command = Command::new(&self.binary);
        command.envs(environment(&self.settings)).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut done = None;
        self.restart(|data| {
            done = Some(compact(command.arg("compact").arg("--data").arg(data))?);
            Ok(())
        })?;
        done.ok_or_else(|| "nothing was compacted".into())
    }

    /// Gives a setting another value from the next start on.
    pub(crate) fn set(&mut self, setting: Setting) {
        self.settings.retain(|own| own.name != setting.name);
        self.settings.push(setting);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn cpu_seconds(&self) -> Result<f64, Failure> {
        process::cpu_seconds(self.child.id())
    }

    pub(crate) fn memory(&self) -> Result<Memory, Failure> {
        process::memory(self.child.id())
    }

    /// The server's own counters.
    pub(crate) fn counters(&self) -> Result<Counters, Failure> {
        let page = self.page()?;
        let count = |name| sample(&page, name);
        Ok(Counters {
            rows: count("warpline_rows_total")? as u64,
            flushes: count("warpline_flushes_total")? as u64,
            flushed_rows: count("warpline_flushed_rows_total")? as u64,
        })
    }

    /// All its metrics; see [`sample`].
    pub(crate) fn page(&self) -> Result<String, Failure> {
        Ok(http::get(self.address, "/metrics")?)
    }

    /// One of its metrics.
    pub(crate) fn sample(&self, name: &str) -> Result<f64, Failure> {
        sample(&self.page()?, name)
    }

    /// Waits until every row is committed, and then until maintenance has merged all it can and
    /// keeps rollups of it: the server rests.
    pub(crate) fn wait_until_settled(&self) -> Result<(), Failure> {
        self.wait_until_flushed()?;
        let deadline = Instant::now() + SETTLED_WITHIN;
        loop {
            let (cpu, begun) = (self.cpu_seconds()?, Instant::now());
            sleep(REST);
            if self.cpu_seconds()? - cpu < AT_REST * begun.elapsed().as_secs_f64() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err("the server did not come to rest in time".into());
            }
        }
    }

    /// Waits until every row taken is committed in the tables.
    pub(crate) fn wait_until_flushed(&self) -> Result<Counters, Failure> {
        let deadline = Instant::now() + FLUSHED_WITHIN;
        loop {
            let counters = self.counters()?;
            if counters.flushed_rows >= counters.rows {
                return Ok(counters);
            }
            if Instant::now() > deadline {
                return Err(format!("rows were not flushed in time: {counters:?}").into());
            }
            sleep(POLL);
        }
    }

    /// Files of the tables and the bytes in them.
    pub(crate) fn parquet(&self) -> Result<Files, Failure> {
        parquet_in(&data_folder(self.folder.path()))
    }

    /// The same by table.
    pub(crate) fn parquet_by_table(&self) -> Result<BTreeMap<String, Files>, Failure> {
        let store = data_folder(self.folder.path()).join("store");
        let tables = fs::read_dir(store)?.map(|entry| {
            let entry = entry?;
            Ok((entry.file_name().to_string_lossy().into_owned(), parquet_in(&entry.path())?))
        });
        tables.collect()
    }

    fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + READY_WITHIN;
        while http::get(self.address, "/health").is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the server ended, {status}: {}", self.log_tail()).into());
            }
            if Instant::now() > deadline {
                return Err(format!("the server was not ready in time: {}", self.log_tail()).into());
            }
            sleep(READY_POLL);
        }
        Ok(())
    }

    fn kill(&mut self) {
        // Both fail only where the process has already gone, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(
    binary: &Path,
    folder: &Path,
    settings: &[Setting],
) -> Result<(Child, SocketAddr), Failure> {
    let (address, postgres) = (free_address()?, free_address()?);
    let log = File::create(folder.join("server.log"))?;
    let child = Command::new(binary)
        .arg("serve")
        .args(["--data".as_ref(), data_folder(folder).as_os_str()])
        .args(["--listen", &address.to_string(), "--postgres", &postgres.to_string()])
        .envs(environment(settings))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
    Ok((child, address))
}

/// Files of tables below a folder, and the bytes in them.
fn parquet_in(folder: &Path) -> Result<Files, Failure> {
    let mut files = Files::default();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let (path, kind) = entry.and_then(|e| Ok((e.path(), e.file_type()?)))?;
            if kind.is_dir() {
                folders.push(path);
            } else if is_table_data(&path) {
                files.count += 1;
                files.bytes += fs::metadata(path)?.len();
            }
        }
    }
    Ok(files)
}

fn data_folder(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// What the server counts since its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    pub(crate) rows: u64,
    pub(crate) flushes: u64,
    pub(crate) flushed_rows: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Files {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

/// The settings as variables. Rows are kept: the data of comparisons has times of its own.
fn environment(settings: &[Setting]) -> impl Iterator<Item = (String, String)> {
    let keep = Setting::new("retention.raw", "forever");
    let all = std::iter::once(keep).chain(settings.iter().cloned());
    all.map(|setting| (setting.variable(), setting.value))
}

/// What `warpline compact` took and did; seconds are of the clock.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Compacted {
    pub(crate) cpu: f64,
    pub(crate) peak_mib: f64,
    pub(crate) read_mb: f64,
    pub(crate) written_mb: f64,
    pub(crate) rolled_mb: f64,
    pub(crate) seconds: f64,
}

fn compact(command: &mut Command) -> Result<Compacted, Failure> {
    let begun = Instant::now();
    let mut child = command.spawn()?;
    let mut seen = Compacted::default();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        // Both fail between its end and the next look.
        seen.cpu = process::cpu_seconds(child.id()).unwrap_or(seen.cpu);
        let peak = process::memory(child.id()).map(|memory| memory.peak as f64 / MIB);
        seen.peak_mib = peak.unwrap_or(seen.peak_mib);
        sleep(POLL);
    };
    let mut said = String::new();
    child.stdout.take().map_or(Ok(0), |mut out| out.read_to_string(&mut said))?;
    let before = |unit: &str| -> Option<f64> {
        said.split_once(unit)?.0.split_whitespace().last()?.parse().ok()
    };
    match (before(" MB were read"), before(" MB written"), before(" MB, in")) {
        (Some(read_mb), Some(written_mb), Some(rolled_mb)) if status.success() => {
            let seconds = begun.elapsed().as_secs_f64();
            Ok(Compacted { read_mb, written_mb, rolled_mb, seconds, ..seen })
        }
        _ => Err(format!("warpline compact ended with {status}: {said}").into()),
    }
}

/// A metric of a page by its name and labels.
pub(crate) fn sample(page: &str, name: &str) -> Result<f64, Failure> {
    http::sample(page, name).ok_or_else(|| format!("/metrics does not tell {name}").into())
}

/// Checkpoints of the table log are Parquet too, but no table data.
fn is_table_data(path: &Path) -> bool {
    let in_table_log = path.parent().is_some_and(|folder| folder.ends_with("_delta_log"));
    path.extension().is_some_and(|extension| extension == "parquet") && !in_table_log
}

/// An address that was free a moment ago.
fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The `warpline` built beside this program, unless another is named.
pub(crate) fn binary(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("warpline"),
    };
    if path.is_file() {
        return Ok(path);
    }
    Err(format!(
        "there is no server at {}: build it with `cargo build --release --workspace`, or name it with --binary",
        path.display()
    )
    .into())
}

#[cfg(test)]
mod tests {
    use super::Setting;

    #[test]
    fn a_setting_is_a_variable_of_the_server() {
        let setting: Setting = "query.memory=2GiB".parse().expect("a setting");
        assert_eq!(setting, Setting::new("query.memory", "2GiB"));
        assert_eq!(setting.variable(), "WARPLINE_QUERY_MEMORY");
        assert!("memory=2GiB".parse::<Setting>().is_err());
        assert!("query.memory".parse::<Setting>().is_err());
    }
}
