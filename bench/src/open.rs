//! `open`: how long a store whose table has many files takes to open, and to plan its first
//! statement, and what memory that takes.
//!
//! The table and its first file are the store's own. Commits that follow add files as flushes of
//! ten minutes each would have, but the files themselves are not there: opening reads logs alone,
//! and the statement asks for the first ten minutes. Each figure is of a process of its own: first
//! one that reads all commits, then one that begins with the checkpoint which the first has made.

use crate::process::memory;
use crate::report::{MIB, Machine, Report, Table, number};
use crate::{Failure, commits};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use warpline_query::{Engine, EngineOptions};
use warpline_storage::{Storage, StorageOptions};

/// Commits that the files come in: more than make a checkpoint due.
const COMMITS: u64 = 100;
const DAY_FILES: u64 = 144;
const STATEMENT: &str = "EXPLAIN SELECT max(temp) FROM gpu \
                         WHERE time < TIMESTAMP '2026-01-01T00:15:00Z'";
/// How long a checkpoint may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// Measure opening a store with many files.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct OpenOptions {
    /// How many files the table has
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "10000,100000")]
    files: Vec<u64>,

    /// Folder on the disk to measure [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Open this store and print the figures: what the command does in processes of their own
    #[arg(long, value_name = "DIR", hide = true)]
    measure: Option<PathBuf>,
}

/// Of one process: seconds, and bytes of memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Opened {
    files: u64,
    from: String,
    open: f64,
    first_plan: f64,
    next_plan: f64,
    memory: u64,
    peak: u64,
}

pub(crate) fn run(options: &OpenOptions) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Some(folder) = &options.measure {
        let figures = runtime.block_on(measure(folder))?;
        println!("{}", serde_json::to_string(&figures)?);
        return Ok(Report { tables: Vec::new(), figures: Value::Null });
    }
    let machine = Machine::here();
    let mut all = Vec::new();
    for files in &options.files {
        let parent = options.dir.clone().unwrap_or_else(std::env::temp_dir);
        let folder = TempDir::with_prefix_in("warpline-bench-", parent)?;
        runtime.block_on(make(folder.path(), *files))?;
        all.push(in_a_process(folder.path())?);
        all.push(in_a_process(folder.path())?);
    }
    let header = ["files, read from", "open s", "plan ms", "next plan ms", "MiB", "peak MiB"];
    let mut table = Table::new(format!("Opening a table of many files ({machine})"), &header);
    for opened in &all {
        let mebibytes = |bytes: u64| number(bytes as f64 / MIB);
        table.row(vec![
            format!("{}, {}", opened.files, opened.from),
            number(opened.open),
            number(opened.first_plan * 1e3),
            number(opened.next_plan * 1e3),
            mebibytes(opened.memory),
            mebibytes(opened.peak),
        ]);
    }
    Ok(Report { tables: vec![table], figures: json!({ "machine": machine, "opened": all }) })
}

fn in_a_process(folder: &Path) -> Result<Opened, Failure> {
    let output = Command::new(std::env::current_exe()?)
        .args(["open", "--measure"])
        .arg(folder)
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the measuring process ended with {}", output.status).into());
    }
    let line = output.stdout.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(serde_json::from_slice(line)?)
}

fn settings(folder: &Path) -> StorageOptions {
    let mut settings = StorageOptions {
        flush_interval: Duration::from_hours(24),
        segment_bytes: 1 << 20,
        ..StorageOptions::new(folder)
    };
    settings.maintenance.background = false;
    settings
}

fn log(folder: &Path) -> PathBuf {
    folder.join("store/gpu/_delta_log")
}

/// A store with one file of its own, and commits of as many more as are wanted.
async fn make(folder: &Path, files: u64) -> Result<(), Failure> {
    let storage = Storage::open(settings(folder)).await?;
    commits::append(&storage, 0).await?;
    storage.flush().await?;
    storage.close().await?;
    let newest = newest(folder)?;
    let text = std::fs::read_to_string(log(folder).join(commit_name(newest)))?;
    let actions = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let own = actions.into_iter().find(|action| action["add"].is_object());
    let own = own.ok_or("the flush has added no file")?;
    for commit in 0..COMMITS {
        let version = newest + 1 + commit;
        let range = commit * files / COMMITS..(commit + 1) * files / COMMITS;
        let lines = range.map(|file| added(&own, file, version)).collect::<Result<Vec<_>, _>>()?;
        std::fs::write(log(folder).join(commit_name(version)), lines.join("\n") + "\n")?;
    }
    Ok(())
}

fn commit_name(version: u64) -> String {
    format!("{version:020}.json")
}

fn newest(folder: &Path) -> Result<u64, Failure> {
    let mut newest = 0;
    for entry in std::fs::read_dir(log(folder))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let version = name.strip_suffix(".json").and_then(|digits| digits.parse().ok());
        newest = newest.max(version.unwrap_or(0));
    }
    Ok(newest)
}

/// The entry of a file that follows the store's own by its number of ten minutes.
fn added(own: &Value, number: u64, version: u64) -> Result<String, Failure> {
    let mut action = own.clone();
    let add = &mut action["add"];
    let minute = (number + 2) % DAY_FILES * 10;
    let day = commits::day((number + 2) / DAY_FILES)?;
    let time = |second| format!("{day}T{:02}:{:02}:{second:02}.000000Z", minute / 60, minute % 60);
    let statistics = add["stats"].as_str().ok_or("the file has no statistics")?;
    let mut statistics: Value = serde_json::from_str(statistics)?;
    statistics["minValues"]["time"] = time(0).into();
    statistics["maxValues"]["time"] = time(59).into();
    add["stats"] = statistics.to_string().into();
    add["path"] = format!("date={day}/flush-monotone-{number:032x}.parquet").into();
    add["partitionValues"]["date"] = day.into();
    add["tags"]["warpline.version"] = version.to_string().into();
    Ok(action.to_string())
}

async fn measure(folder: &Path) -> Result<Opened, Failure> {
    let checkpoint = log(folder).join("_last_checkpoint");
    let from = if checkpoint.exists() { "checkpoint" } else { "commits" };
    let began = Instant::now();
    let storage = Storage::open(settings(folder)).await?;
    let open = began.elapsed().as_secs_f64();
    let files = storage.metrics().files;
    let engine = Engine::new(storage.clone(), &EngineOptions::default())?;
    let plan = async || -> Result<f64, Failure> {
        let began = Instant::now();
        engine.query(STATEMENT).await?.collect().await?;
        Ok(began.elapsed().as_secs_f64())
    };
    let (first_plan, next_plan) = (plan().await?, plan().await?);
    let memory = memory(std::process::id())?;
    // The checkpoint that the first start begins is there for the next.
    while !checkpoint.exists() {
        if began.elapsed() > PATIENCE {
            return Err("no checkpoint was written".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    storage.close().await?;
    let (now, peak) = (memory.now, memory.peak);
    Ok(Opened { files, from: from.to_owned(), open, first_plan, next_plan, memory: now, peak })
}
