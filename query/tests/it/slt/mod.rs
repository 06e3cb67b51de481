//! Runs `query/tests/sql/*.slt`: SQL and its answers as text that reads as the specification of
//! a function. `tests/sql/README.md` says what the text may hold.
//!
//! Each file runs twice, over rows that are all in the buffer and over rows that are in files.
//! Every answer that differs is named by file and line. With `WARPLINE_SLT_COMPLETE=1` the files
//! get the answers of the run written into them instead, to be reviewed as a diff.

mod record;
mod rows;

use crate::fixture::{Row, ask_typed, options};
use crate::store::{append, layout};
use record::{Record, records, with_answers};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use warpline_query::Engine;
use warpline_storage::{Storage, StorageOptions};

/// Where a run keeps the rows that a file declares.
#[derive(Clone, Copy, Debug)]
enum Place {
    Buffer,
    Files,
}

/// A store with the rows a file has declared so far.
struct Bench {
    _dir: TempDir,
    storage: Storage,
    engine: Engine,
    place: Place,
    batches: u64,
}

impl Bench {
    async fn open(place: Place) -> Self {
        let dir = TempDir::new().unwrap();
        let storage = Storage::open(StorageOptions::new(dir.path())).await.unwrap();
        storage.admit(&layout(&Row::default())).unwrap();
        let engine = Engine::new(storage.clone(), &options()).unwrap();
        Self { _dir: dir, storage, engine, place, batches: 0 }
    }

    async fn append(&mut self, rows: &[Row]) {
        self.batches += 1;
        append(&self.storage, self.batches, rows).await;
        if matches!(self.place, Place::Files) {
            self.storage.flush().await.unwrap();
        }
    }

    /// What a record comes to: its kind as it should be stated, and the lines below `----`.
    async fn answer(&mut self, record: &Record) -> Result<(String, Vec<String>), String> {
        match record.words().as_slice() {
            ["rows", "gpu"] => {
                self.append(&rows::read(&record.body)?).await;
                Ok((record.head.clone(), Vec::new()))
            }
            ["query" | "error", ..] => Ok(self.asked(record).await),
            _ => Err(format!("{:?} is no record: rows gpu, query TIR or error 42000", record.head)),
        }
    }

    async fn asked(&self, record: &Record) -> (String, Vec<String>) {
        match ask_typed(&self.engine, &record.body.join("\n")).await {
            Ok((types, mut rows)) => {
                let sorted = record.words().contains(&"rowsort");
                if sorted {
                    rows.sort();
                }
                let order = if sorted { " rowsort" } else { "" };
                (format!("query {types}{order}"), record::aligned(&rows))
            }
            Err(error) => (format!("error {}", error.sqlstate()), vec![error.to_string()]),
        }
    }
}

/// Runs one file and returns what differs, or with `complete` rewrites it.
async fn run(path: &Path, place: Place, complete: bool) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy();
    let mut bench = Bench::open(place).await;
    let (mut differences, mut answers) = (Vec::new(), Vec::new());
    for record in records(&text) {
        let place = format!("{name}:{} ({place:?})", record.line);
        match bench.answer(&record).await {
            Err(reason) => differences.push(format!("{place}: {reason}")),
            Ok((head, answer)) => {
                if !record.holds(&head, &answer) {
                    let sql = record.body.join("\n  ");
                    let (asked, got) = (record.answer.join("\n  "), answer.join("\n  "));
                    let (want, is) = (&record.head, &head);
                    differences.push(format!(
                        "{place}\n  {sql}\n  ---- should be: {want}\n  {asked}\n  ---- is: {is}\n  {got}"
                    ));
                }
                answers.push((record, head, answer));
            }
        }
    }
    bench.storage.close().await.unwrap();
    if complete {
        std::fs::write(path, with_answers(&text, &answers)).unwrap();
    }
    differences
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "slt")).collect();
    files.sort();
    files
}

#[tokio::test]
async fn answers_are_those_of_the_specification() {
    let complete = std::env::var_os("WARPLINE_SLT_COMPLETE").is_some();
    let files = files();
    assert!(!files.is_empty(), "the specification was not found");
    let mut differences = Vec::new();
    for path in files {
        let completed = run(&path, Place::Buffer, complete).await;
        if !complete {
            differences.extend(completed);
        }
        differences.extend(run(&path, Place::Files, false).await);
    }
    let count = differences.len();
    assert!(differences.is_empty(), "{count} answers differ:\n\n{}\n", differences.join("\n\n"));
}
