//! Streams of messages, what they are answered, and what is in the store afterwards.

use super::results::MAX_WAITING;
use super::*;
use crate::dictionary::Dictionary;
use crate::flight::tests::{Message, batch, encode};
use crate::write::{WriteLimits, WriteService, write_service};
use arrow::array::{ArrayRef, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int8Type;
use arrow::ipc::writer::IpcWriteOptions;
use futures::stream;
use serde_json::{Value as Json, json};
use std::time::Duration;
use tempfile::TempDir;
use warpline_storage::{Storage, StorageOptions, TableSnapshot};

struct Fixture {
    service: WriteService,
    storage: Storage,
    _dir: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(WriteLimits::default(), |_| ()).await
    }

    async fn with(limits: WriteLimits, change: impl FnOnce(&mut StorageOptions)) -> Self {
        let dir = TempDir::new().unwrap();
        let mut options = StorageOptions::new(dir.path());
        options.maintenance.retention.raw = None;
        change(&mut options);
        let storage = Storage::open(options).await.unwrap();
        let service = write_service(storage.clone(), Arc::new(Dictionary::builtin()), limits);
        Self { service, storage, _dir: dir }
    }

    /// Results, and the error that the stream ended by.
    async fn put(&self, messages: Vec<FlightData>) -> (Vec<Json>, Option<Status>) {
        let messages = stream::iter(messages.into_iter().map(Ok));
        collected(self.service.flight_put().put(messages)).await
    }

    async fn refused(&self, messages: Vec<FlightData>) -> (Code, String) {
        let (results, end) = self.put(messages).await;
        assert_eq!(results, [Json::Null; 0]);
        let end = end.expect("an error");
        (end.code(), end.message().to_owned())
    }

    fn rows(&self, table: &str) -> usize {
        let snapshot = self.storage.snapshot();
        snapshot.table(table).map_or(0, |table: &Arc<TableSnapshot>| table.buffer.rows())
    }

    fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.service.metrics().refused.into_iter();
        counts.filter(|(_, n)| *n > 0).map(|(reason, n)| (reason.name(), n)).collect()
    }
}

async fn collected(mut results: PutResults) -> (Vec<Json>, Option<Status>) {
    let mut told = Vec::new();
    while let Some(result) = results.next().await {
        match result {
            Ok(result) => told.push(serde_json::from_slice(&result.app_metadata).unwrap()),
            Err(status) => {
                assert!(results.next().await.is_none(), "an error is the end");
                return (told, Some(status));
            }
        }
    }
    (told, None)
}

fn path(elements: &[&str]) -> FlightDescriptor {
    FlightDescriptor::new_path(elements.iter().map(|one| (*one).to_owned()).collect())
}

fn data(messages: Vec<Message>, descriptor: Option<FlightDescriptor>) -> Vec<FlightData> {
    let data = |message: Message| {
        FlightData::new().with_data_header(message.header).with_data_body(message.body)
    };
    let mut data: Vec<FlightData> = messages.into_iter().map(data).collect();
    data[0].flight_descriptor = descriptor;
    data
}

fn to(table: &str, batches: &[RecordBatch]) -> Vec<FlightData> {
    data(encode(batches, &IpcWriteOptions::default()), Some(path(&[table])))
}

fn hosts(names: &[&str]) -> RecordBatch {
    let values = Float64Array::from_iter_values((0..names.len()).map(|row| row as f64));
    let hosts: ArrayRef = Arc::new(StringArray::from(names.to_vec()));
    batch(vec![("host", hosts), ("v", Arc::new(values))])
}

fn taken(rows: u64) -> Json {
    json!({ "rows": rows, "refused_rows": 0, "refused_values": 0, "why": [] })
}

#[tokio::test]
async fn each_batch_is_answered_once_it_is_durable() {
    let f = Fixture::new().await;
    let batches = [hosts(&["a", "b"]), hosts(&["a", "b", "c"])];
    let messages = to("t", &batches);
    let bytes: usize = messages[1..].iter().map(|m| m.data_header.len() + m.data_body.len()).sum();
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    let mut results = f.service.flight_put().put(receiver);
    let rows = [(0, None), (1, Some((2, 2))), (2, Some((3, 5)))];
    for (message, answer) in rows {
        sender.unbounded_send(Ok(messages[message].clone())).unwrap();
        if let Some((batch, all)) = answer {
            let result = results.next().await.unwrap().unwrap();
            assert_eq!(serde_json::from_slice::<Json>(&result.app_metadata).unwrap(), taken(batch));
            assert_eq!(f.rows("t"), all, "a snapshot has only what is durable");
        }
    }
    // Metadata of the sender's own says nothing here.
    let own = FlightData::new().with_app_metadata("anything");
    sender.unbounded_send(Ok(own)).unwrap();
    drop(sender);
    assert!(results.next().await.is_none());
    let counts = f.service.metrics();
    let flight = Protocol::Flight as usize;
    assert_eq!(
        (counts.requests[flight].1, counts.bytes[flight].1, counts.samples[flight].1),
        (2, bytes as u64, 5)
    );
    assert_eq!((counts.series, f.counts()), (3, vec![]));
}

#[tokio::test]
async fn what_is_refused_is_told_by_batch_and_at_the_end() {
    let f = Fixture::new().await;
    let gpu = |temperature: &[f64]| {
        let gpus = Int64Array::from_iter_values(0..temperature.len() as i64);
        let colors: ArrayRef = Arc::new(Float64Array::from(vec![1.0; temperature.len()]));
        batch(vec![
            ("gpu", Arc::new(gpus) as ArrayRef),
            ("gpu_temp", Arc::new(Float64Array::from(temperature.to_vec()))),
            ("uuid", colors),
        ])
    };
    let batches = [gpu(&[30.0, 40_000.0, 31.5]), gpu(&[30.0])];
    let (results, end) = f.put(to("gpu", &batches)).await;
    let uuid = "column \"uuid\": float64 cannot be an attribute tag";
    assert_eq!(
        results,
        [
            json!({
                "rows": 3, "refused_rows": 0, "refused_values": 5,
                "why": [
                    uuid,
                    "gpu.gpu_temp: 40000 does not fit int16",
                    "gpu.gpu_temp: 31.5 has a fraction, which int16 cannot hold",
                ],
            }),
            json!({ "rows": 1, "refused_rows": 0, "refused_values": 1, "why": [uuid] }),
        ]
    );
    let end = end.expect("something was refused");
    assert_eq!(end.code(), Code::InvalidArgument);
    let text = end.message();
    let want = "partial write: 4 rows are durable; not taken: 4 column, 2 value\ncolumn \"uuid\"";
    assert!(text.starts_with(want), "{text}");
    assert_eq!((f.rows("gpu"), f.counts()), (4, vec![("column", 4), ("value", 2)]));
}

#[tokio::test]
async fn a_bad_message_ends_the_stream_and_leaves_what_was_answered() {
    let f = Fixture::new().await;
    let mut messages = to("t", &[hosts(&["a", "b"]), hosts(&["c"]), hosts(&["d"])]);
    let body = messages[2].data_body.clone();
    messages[2].data_body = body.slice(..body.len() / 2);
    let (results, end) = f.put(messages).await;
    assert_eq!(results, [taken(2)]);
    let end = end.unwrap();
    assert_eq!(end.code(), Code::InvalidArgument);
    assert!(end.message().contains("is not within the body"), "{end}");
    assert_eq!((f.rows("t"), f.counts()), (2, vec![("malformed", 1)]));
}

#[tokio::test]
async fn streams_say_where_they_write_to() {
    let f = Fixture::new().await;
    let encoded = || encode(&[hosts(&["a"])], &IpcWriteOptions::default());
    let name = "name the table by a descriptor of type PATH with one element, in the first message";
    for descriptor in [
        None,
        Some(path(&[])),
        Some(path(&["a", "b"])),
        Some(FlightDescriptor::new_cmd("INSERT INTO t")),
    ] {
        let refused = f.refused(data(encoded(), descriptor)).await;
        assert_eq!(refused, (Code::InvalidArgument, name.to_owned()));
    }
    for table in ["", "a b", "time", "9lives", &"x".repeat(129)] {
        let (code, why) = f.refused(data(encoded(), Some(path(&[table])))).await;
        assert_eq!(code, Code::InvalidArgument);
        assert!(why.starts_with(&format!("table {table:?}: a name has")), "{why}");
    }
    let none = f.refused(vec![]).await;
    assert_eq!(none, (Code::InvalidArgument, "the stream ended before its schema came".to_owned()));
    // It may come before the schema, and again; but not another.
    let first = FlightData::new().with_descriptor(path(&["t"]));
    let messages: Vec<_> =
        std::iter::once(first.clone()).chain(data(encoded(), Some(path(&["t"])))).collect();
    assert_eq!(f.put(messages.clone()).await.0, [taken(1)]);
    let mut other = messages;
    other[2].flight_descriptor = Some(path(&["u"]));
    let refused = f.refused(other).await;
    assert_eq!(refused.1, "the descriptor changed: begin a stream for each table");
}

#[tokio::test]
async fn messages_beyond_limits_say_which() {
    let limits = WriteLimits { message_bytes: 100_000, ..WriteLimits::default() };
    let f = Fixture::with(limits, |_| ()).await;
    let names: Vec<String> = (0..2_000).map(|row| format!("h{row}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (code, text) = f.refused(to("t", &[hosts(&names)])).await;
    assert_eq!(code, Code::ResourceExhausted);
    assert!(text.contains("the limit is 100000: send fewer rows in one batch"), "{text}");
    // What tonic says of a message that it does not even read.
    let long = Status::out_of_range("decoded message length too large");
    let messages = stream::iter([Err(long)]);
    let end = collected(f.service.flight_put().put(messages)).await.1.unwrap();
    assert_eq!(end.code(), Code::ResourceExhausted);
    assert_eq!(
        end.message(),
        "a message has more than 16777216 bytes, which is the limit: send less"
    );
    assert_eq!(f.counts(), [("busy", 2)]);
}

#[tokio::test]
async fn a_store_without_room_says_when_to_come_again() {
    let limits = WriteLimits { patience: Duration::from_millis(50), ..WriteLimits::default() };
    let f = Fixture::with(limits, |options| options.memory_budget = 1).await;
    let mut pinned = Vec::new();
    let full = loop {
        assert!(pinned.len() < 50, "a budget of a byte is spent");
        // A snapshot holds what is in memory, so that a flush frees nothing.
        pinned.push(f.storage.snapshot());
        if let (_, Some(end)) = f.put(to("t", &[hosts(&["a"])])).await {
            break end;
        }
    };
    assert_eq!(full.code(), Code::Unavailable);
    assert_eq!(full.metadata().get("grpc-retry-pushback-ms").unwrap(), "5000");
    assert!(full.message().contains("storage.memory"), "{full}");
}

#[tokio::test]
async fn dictionaries_that_stay_are_bounded_and_leave_room_for_others() {
    let limits = WriteLimits {
        memory_bytes: 128 << 10,
        patience: Duration::from_millis(50),
        ..WriteLimits::default()
    };
    let f = Fixture::with(limits, |_| ()).await;
    let coded = |word: &str| {
        let coded: DictionaryArray<Int8Type> = [Some(word)].into_iter().collect();
        let value: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
        batch(vec![("host", Arc::new(coded) as ArrayRef), ("v", value)])
    };
    let long = "x".repeat(1_000);
    let messages = to("t", &[coded(&long)]);
    let mut ends = Vec::new();
    let mut open = Vec::new();
    for _ in 0..40 {
        let (sender, receiver) = futures::channel::mpsc::unbounded();
        for one in &messages {
            sender.unbounded_send(Ok(one.clone())).unwrap();
        }
        let mut results = f.service.flight_put().put(receiver);
        match results.next().await.unwrap() {
            Ok(_) => open.push((sender, results)),
            Err(status) => ends.push(status),
        }
    }
    assert!(!open.is_empty() && !ends.is_empty(), "{} are open", open.len());
    for end in ends {
        assert_eq!(end.code(), Code::Unavailable);
        assert!(end.message().contains("more than 32768 bytes of memory"), "{end}");
    }
    // Text of its own needs nothing that stays.
    assert_eq!(f.put(to("t", &[hosts(&["a"])])).await.0, [taken(1)]);
    drop(open);
    // One that is replaced is let go: a stream may have any number of them.
    let many: Vec<RecordBatch> = (0..50).map(|n| coded(&format!("{n}{long}"))).collect();
    loop {
        let (results, end) = f.put(to("t", &many)).await;
        let Some(end) = end else {
            assert_eq!(results.len(), 50);
            break;
        };
        // The streams before end on tasks of their own.
        assert_eq!(end.code(), Code::Unavailable, "{end}");
    }
}

#[tokio::test]
async fn results_that_nobody_reads_are_told_together() {
    let f = Fixture::new().await;
    let batches = vec![hosts(&["a", "b"]); MAX_WAITING + 20];
    let results = f.service.flight_put().put(stream::iter(to("t", &batches).into_iter().map(Ok)));
    let rows = 2 * batches.len();
    while f.service.metrics().requests[Protocol::Flight as usize].1 < batches.len() as u64 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (results, end) = collected(results).await;
    assert!(end.is_none());
    assert_eq!((results.len(), &results[0]), (MAX_WAITING, &taken(2)));
    assert_eq!(results.last().unwrap(), &taken(2 * 21));
    assert_eq!(
        results.iter().map(|result| result["rows"].as_u64().unwrap()).sum::<u64>(),
        rows as u64
    );
}

#[tokio::test]
async fn a_stream_ends_with_its_answer() {
    let f = Fixture::new().await;
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    let results = f.service.flight_put().put(receiver);
    drop(results);
    while !sender.is_closed() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let text = "h2 protocol error: error reading a body from connection";
    let gone = stream::iter([Err(Status::unknown(text))]);
    let end = collected(f.service.flight_put().put(gone)).await.1.unwrap();
    assert_eq!(end.message(), format!("the stream broke off: {text}"));
    assert_eq!(f.counts(), [], "nothing was wrong with what came");
}
