//! Other programs over the files of a server that runs: it has merged them to hours and days, its
//! table has got a field and a tag on the way, and rows came late, twice and out of order. What
//! they read of one version of the table equals SQL's answer at the same moment.

use crate::clients::{check, python};
use crate::server::{BINARY, Server};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use warpline_ingest::{ClientOptions, StreamClient};
use warpline_storage::model::{BlockBuilder, Column, Layout, ProducerId, Series, Timestamp};

const TABLE: &str = "live";
const NODES: u32 = 4;
const SECOND: Timestamp = 1_000_000;
/// 2024-06-01T10:00:00Z
const FIRST_DAY: Timestamp = 1_717_236_000 * SECOND;
/// 2024-06-02T00:00:00Z
const SECOND_DAY: Timestamp = 1_717_286_400 * SECOND;

/// Names and types of all fields; the last comes to the table later than the others.
const FIELDS: [(&str, &str); 6] = [
    ("frame", "int64"),
    ("watts", "decimal(9,3)"),
    ("state", "int8"),
    ("used", "decimal(15,6)"),
    ("ratio", "float64"),
    ("later", "int32"),
];

/// Settings under which files are merged by fours, and stay for their readers. SQL reads raw rows
/// alone, so that it is a judge of rollups.
const SETTINGS: [(&str, &str); 8] = [
    ("WARPLINE_STORAGE_FLUSH_INTERVAL", "150ms"),
    ("WARPLINE_STORAGE_SEGMENT_SIZE", "1MiB"),
    ("WARPLINE_RETENTION_RAW", "forever"),
    ("WARPLINE_RETENTION_MINUTE", "forever"),
    ("WARPLINE_MAINTENANCE_INTERVAL", "100ms"),
    ("WARPLINE_MAINTENANCE_MERGE_MEMORY", "64KiB"),
    ("WARPLINE_MAINTENANCE_DELETE_AFTER", "10m"),
    ("WARPLINE_QUERY_ROLLUPS", "false"),
];

/// What a producer sends at one time.
#[derive(Clone, Copy)]
struct Round {
    start: Timestamp,
    rows: i64,
    /// The time from one row to the next; below zero each row is older than the one before.
    step: Timestamp,
    fields: usize,
    /// Whether there is a tag `job`.
    jobs: bool,
}

impl Round {
    const fn new(start: Timestamp, minutes: i64) -> Self {
        Self { start, rows: 60 * minutes, step: SECOND, fields: 5, jobs: false }
    }

    /// With the field that comes later.
    const fn wider(self) -> Self {
        Self { fields: FIELDS.len(), ..self }
    }

    /// With the tag that comes later as well.
    const fn tagged(self) -> Self {
        Self { jobs: true, ..self.wider() }
    }

    /// The last row first.
    const fn backwards(self) -> Self {
        let start = self.start + (self.rows - 1) * self.step;
        Self { start, step: -self.step, ..self }
    }

    fn layout(self) -> Arc<Layout> {
        let columns = FIELDS[..self.fields].iter().map(|(name, field_type)| Column {
            name: (*name).into(),
            field_type: field_type.parse().expect("a type"),
        });
        let series = (0..NODES).map(|node| {
            let mut attributes = vec![format!("rack {}", node / 2).into()];
            attributes.extend(self.jobs.then(|| format!("job {}", node % 3).into()));
            Series { identity: vec![format!("node {node}").into()], attributes }
        });
        let mut attributes = vec!["rack".into()];
        attributes.extend(self.jobs.then(|| "job".into()));
        let (columns, series) = (columns.collect(), series.collect());
        let layout = Layout::new(TABLE, vec!["node".into()], attributes, columns, series);
        Arc::new(layout.expect("a layout"))
    }
}

fn minutes(minutes: i64) -> Timestamp {
    60 * minutes * SECOND
}

/// Before the first merge of days: flushes, hours, a field, a tag, and rows of the past.
fn first_rounds() -> Vec<Round> {
    let late = Round::new(FIRST_DAY + minutes(5), 5);
    // Between the rows that are there.
    let between = Round::new(FIRST_DAY + minutes(12) + SECOND / 2, 3);
    vec![
        Round::new(FIRST_DAY, 10),
        Round::new(FIRST_DAY + minutes(10), 10),
        Round::new(FIRST_DAY + minutes(20), 10).backwards(),
        late.backwards(),
        between,
        Round::new(FIRST_DAY + minutes(30), 30).wider(),
        late.wider(),
        Round::new(FIRST_DAY + minutes(60), 20).wider(),
        Round::new(FIRST_DAY + minutes(80), 10).tagged(),
        Round::new(FIRST_DAY + minutes(25), 4).tagged().backwards(),
    ]
}

/// After it: another day, of which the last minutes have late rows that nothing has resolved yet.
fn second_rounds() -> Vec<Round> {
    let ten = |number: i64| Round::new(SECOND_DAY + minutes(10 * number), 10).tagged();
    let late = Round::new(SECOND_DAY + minutes(75), 2).tagged();
    (0..9).map(ten).chain([late.backwards(), ten(9)]).collect()
}

/// Each key's fields, the last write of each.
#[derive(Default)]
struct Truth {
    rows: BTreeMap<(u32, Timestamp), [Option<i64>; FIELDS.len()]>,
    /// Rows sent to the server since it started, those with a key that was there too.
    sent: u64,
    frames: i64,
}

impl Truth {
    /// The round as frames of a minute each, after it was taken note of.
    fn blocks(&mut self, round: Round, layout: &Arc<Layout>) -> Vec<Bytes> {
        let mut blocks = Vec::new();
        let mut block = BlockBuilder::new(layout.clone());
        for row in 0..round.rows {
            for node in 0..NODES {
                self.frames += 1;
                let time = round.start + row * round.step;
                block.row(node, time);
                let kept = self.rows.entry((node, time)).or_default();
                for (column, kept) in kept[..round.fields].iter_mut().enumerate() {
                    if let Some(raw) = raw(column, self.frames) {
                        block.set_stored(column, raw);
                        *kept = Some(raw);
                    }
                }
            }
            if row % 60 == 59 {
                blocks.push(block.finish());
            }
        }
        self.sent += (round.rows * i64::from(NODES)).cast_unsigned();
        blocks
    }

    /// Rows, and count and sum of an integer field.
    fn facts(&self, column: usize) -> [String; 3] {
        let values = self.rows.values().filter_map(|fields| fields[column]);
        let (count, sum) = values.fold((0, 0), |(count, sum), raw| (count + 1, sum + raw));
        [self.rows.len().to_string(), count.to_string(), sum.to_string()]
    }
}

/// The stored value of a field in one row sent; absent in some.
fn raw(column: usize, frame: i64) -> Option<i64> {
    let mixed = frame.wrapping_mul(0x9e37_79b9).rotate_left(17 + column as u32) & 0xffff;
    let raw = match column {
        0 => frame * 1_000_003,
        1 => 300_000 + mixed,
        2 => mixed % 120 - 60,
        3 => frame * 17 + mixed,
        // Quarters: doubles whose sums are exact in any order.
        4 => (mixed as f64 / 4.0).to_bits().cast_signed(),
        _ => -mixed,
    };
    (frame % 7 != column as i64).then_some(raw)
}

async fn send(server: &Server, truth: &mut Truth, rounds: Vec<Round>) {
    for round in rounds {
        let producer = ProducerId::new("live").expect("a name");
        let options = ClientOptions::default();
        let mut client =
            StreamClient::connect(server.url(), producer, options).await.expect("a stream");
        let layout = round.layout();
        let number = client.define(layout.clone()).await.expect("a layout's number");
        for block in truth.blocks(round, &layout) {
            client.send(vec![(number, block)]).await.expect("a frame in the window");
        }
        let summary = client.finish().await.expect("everything durable");
        assert!(summary.refusals.is_empty(), "{:?}", summary.refusals);
        // A file or more of its own.
        until(server, "warpline_flushed_rows_total", |rows| rows == truth.sent).await;
    }
}

async fn until(server: &Server, metric: &str, there: impl Fn(u64) -> bool + Sync) {
    for _ in 0..600 {
        if there(server.metric(metric).await) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{metric} stays at {}:\n{}", server.metric(metric).await, server.said());
}

/// Merges days as if they had been quiet for long.
fn compact(data: &Path) {
    let mut command = Command::new(BINARY);
    command.arg("compact").arg("--data").arg(data).envs(SETTINGS);
    let output = command.output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn check_truth(server: &Server, truth: &Truth) {
    let fields = FIELDS.iter().enumerate();
    for (column, (name, _)) in fields.filter(|(_, (_, of_type))| of_type.starts_with("int")) {
        let asked = format!("SELECT count(*), count({name}), sum({name}) FROM {TABLE}");
        assert_eq!(server.sql(&asked), [truth.facts(column)], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_programs_agree_with_a_running_server() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut truth = Truth::default();
    let mut server = Server::start(&data, &SETTINGS).await;
    send(&server, &mut truth, first_rounds()).await;
    until(&server, "warpline_merges_total", |merges| merges > 0).await;
    check_truth(&server, &truth);
    server.stop().await;
    compact(&data);
    server.restart().await;
    truth.sent = 0;
    send(&server, &mut truth, second_rounds()).await;
    for level in ["hour", "day"] {
        let files = format!("warpline_level_files{{level=\"{level}\"}}");
        until(&server, &files, |files| files > 0).await;
    }
    check_truth(&server, &truth);
    let store = data.join("store").display().to_string();
    let arguments = [store, TABLE.to_owned(), server.postgres().to_string()];
    check(&python, "live.py", arguments.to_vec()).await;
    assert_eq!(server.metric("warpline_maintenance_failures_total").await, 0, "{}", server.said());
    server.stop().await;
}
