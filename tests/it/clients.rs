//! Other people's programs against a store of known content: over the wires while the server
//! runs, and over the Delta table's own files when it is off.

use crate::server::Server;
use bytes::Bytes;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use warpline::fleet::{Fleet, FleetSpec};
use warpline_ingest::{ClientOptions, StreamClient};
use warpline_storage::model::{Block, Layout, ProducerId, Timestamp};

const FIRST_TICK: i64 = 1_780_000_000;
const TICKS: i64 = 900;
const SECOND: Timestamp = 1_000_000;

/// What a table holds, counted from the blocks before they were sent.
#[derive(Default)]
struct Facts {
    rows: u64,
    times: Option<(Timestamp, Timestamp)>,
    fields: Vec<Field>,
}

/// A field's stored integers: 1.5 with 3 decimals is 1500.
struct Field {
    name: String,
    decimals: u8,
    count: u64,
    min: i64,
    max: i64,
    sum: i128,
}

impl Facts {
    fn see(&mut self, block: &Block) {
        let layout = block.layout();
        if self.fields.is_empty() {
            self.fields = layout.columns().iter().map(Field::of).collect();
        }
        for row in 0..block.rows() {
            let time = block.time(row);
            let (first, last) = self.times.unwrap_or((time, time));
            self.times = Some((first.min(time), last.max(time)));
            self.rows += 1;
            for (index, field) in self.fields.iter_mut().enumerate() {
                if block.is_present(index, row) {
                    field.see(block.raw(index, row));
                }
            }
        }
    }

    fn json(&self) -> Json {
        let (first, last) = self.times.expect("rows were sent");
        let fields: Vec<Json> = self.fields.iter().map(Field::json).collect();
        json!({ "table": "gpu", "rows": self.rows, "first": first, "last": last, "fields": fields })
    }
}

impl Field {
    fn of(column: &warpline_storage::model::Column) -> Self {
        let (name, decimals) = (column.name.to_string(), column.field_type.decimals());
        Self { name, decimals, count: 0, min: i64::MAX, max: i64::MIN, sum: 0 }
    }

    fn see(&mut self, raw: i64) {
        self.count += 1;
        self.min = self.min.min(raw);
        self.max = self.max.max(raw);
        self.sum += i128::from(raw);
    }

    fn json(&self) -> Json {
        json!({
            "name": self.name, "decimals": self.decimals, "count": self.count,
            "min": self.min, "max": self.max, "sum": self.sum.to_string(),
        })
    }
}

/// Streams fifteen minutes of a small fleet.
async fn feed(server: &Server) -> Facts {
    let fleet = Fleet::new(FleetSpec::new(5, 24, SECOND));
    let mut facts = Facts::default();
    for index in 0..fleet.nodes() {
        let producer = ProducerId::new(format!("node-{index}")).expect("a name");
        let options = ClientOptions::default();
        let mut client =
            StreamClient::connect(server.url(), producer, options).await.expect("a stream");
        let mut node = fleet.node(index);
        let mut defined: Option<(Arc<Layout>, u32)> = None;
        for tick in FIRST_TICK..FIRST_TICK + TICKS {
            let mut bytes = Vec::new();
            if node.tick(tick * SECOND, &mut bytes).is_none() {
                continue;
            }
            let layout = node.layout(tick * SECOND);
            let number = match &defined {
                Some((known, number)) if Arc::ptr_eq(known, &layout) => *number,
                _ => client.define(layout.clone()).await.expect("a number"),
            };
            defined = Some((layout.clone(), number));
            let bytes = Bytes::from(bytes);
            facts.see(&Block::parse(layout, bytes.clone()).expect("a block"));
            client.send(vec![(number, bytes)]).await.expect("a frame in the window");
        }
        let summary = client.finish().await.expect("everything durable");
        assert!(summary.refusals.is_empty(), "{:?}", summary.refusals);
    }
    facts
}

/// The Python with the clients; `tests/run` installs it and says where it is.
pub(crate) fn python() -> Option<PathBuf> {
    let python = std::env::var_os("WARPLINE_TEST_PYTHON").map(PathBuf::from);
    if python.is_none() {
        eprintln!("NOT TESTED: WARPLINE_TEST_PYTHON is not set; tests/run installs and sets it");
    }
    python
}

pub(crate) async fn check(python: &Path, script: &str, arguments: Vec<String>) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let (python, shown) = (python.to_owned(), script.display().to_string());
    let run = move || Command::new(python).arg(script).args(arguments).output();
    let output = tokio::task::spawn_blocking(run).await.expect("a thread").expect("Python starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown} failed\n{said}\n{complained}");
    println!("{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_agree_with_what_was_sent() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let settings =
        [("WARPLINE_STORAGE_FLUSH_INTERVAL", "1s"), ("WARPLINE_RETENTION_RAW", "forever")];
    let mut server = Server::start(&data, &settings).await;
    let facts = feed(&server).await;
    let file = folder.path().join("facts.json");
    std::fs::write(&file, facts.json().to_string()).expect("a written file");
    let facts_file = file.display().to_string();

    let (url, port) = (server.url().to_string(), server.postgres().to_string());
    check(&python, "online.py", vec![facts_file.clone(), url, port]).await;

    while server.metric("warpline_flushed_rows_total").await < facts.rows {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.stop().await;
    check(&python, "offline.py", vec![facts_file, data.join("store").display().to_string()]).await;
}
