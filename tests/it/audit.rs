//! A producer that remembers what was acknowledged, to be held against what a store has.
//!
//! Frame `s` holds the same rows whoever sends it: [`ROWS`] rows of one second, field `frame`
//! = `s` in each. So a frame sent again by another process is the same frame.

use bytes::Bytes;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use url::Url;
use warpline_ingest::{ClientOptions, StreamClient};
use warpline_storage::model::{
    BlockBuilder, Column, FieldType, Layout, ProducerId, Sequence, Series, Value,
};

pub(crate) const TABLE: &str = "audit";
/// Rows per frame, one for each series.
pub(crate) const ROWS: u64 = 16;
/// 2024-06-01T12:00:00Z
const START: i64 = 1_717_243_200_000_000;

fn layout() -> Arc<Layout> {
    let column = |name: &str, field_type| Column { name: name.into(), field_type };
    let series = (0..ROWS)
        .map(|n| Series { identity: vec![format!("n{n}").into()], attributes: vec![] })
        .collect();
    let watts = FieldType::Decimal { digits: 9, decimals: 3 };
    let columns = vec![column("frame", FieldType::Int64), column("watts", watts)];
    Arc::new(Layout::new(TABLE, vec!["node".into()], vec![], columns, series).expect("a layout"))
}

fn block(layout: &Arc<Layout>, frame: Sequence) -> Bytes {
    let mut block = BlockBuilder::new(layout.clone());
    for series in 0..ROWS {
        block.row(series as u32, START + frame.cast_signed() * 1_000_000);
        block.set(0, Value::Int(frame.cast_signed())).expect("an int64");
        let watts = (frame * 7 + series) % 700_000;
        block.set_stored(1, watts.cast_signed());
    }
    block.finish()
}

/// A client that waits out any outage of a test, and keeps few frames under way.
pub(crate) async fn connect(server: Url) -> StreamClient {
    let options = ClientOptions {
        patience: Duration::from_mins(1),
        backoff: (Duration::from_millis(10), Duration::from_millis(100)),
        window_frames: 64,
        ..ClientOptions::default()
    };
    let producer = ProducerId::new("auditor").expect("a name");
    StreamClient::connect(server, producer, options).await.expect("a stream")
}

/// Sends frames from where the server stands up to number `last`, waits until they are durable,
/// and writes each acknowledgement to `journal` as it comes.
pub(crate) async fn produce(server: Url, last: Sequence, journal: &Path) {
    let mut client = connect(server).await;
    let layout = layout();
    let number = client.define(layout.clone()).await.expect("a layout's number");
    let mut file =
        std::fs::File::options().create(true).append(true).open(journal).expect("the journal");
    let mut acknowledged = client.acknowledged();
    let writing = tokio::spawn(async move {
        while acknowledged.changed().await.is_ok() {
            let durable = acknowledged.borrow_and_update().durable;
            // One write, so that kill -9 leaves whole lines.
            file.write_all(format!("{durable}\n").as_bytes()).expect("a line in the journal");
        }
    });
    while client.next_sequence() <= last {
        let block = block(&layout, client.next_sequence());
        client.send(vec![(number, block)]).await.expect("a frame in the window");
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    let summary = client.finish().await.expect("everything durable");
    writing.abort();
    assert!(summary.refusals.is_empty(), "{:?}", summary.refusals);
    assert_eq!(summary.acknowledged.durable, last);
}

/// The last frame that a producer was told is durable.
pub(crate) fn acknowledged(journal: &Path) -> Sequence {
    let text = std::fs::read_to_string(journal).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().filter_map(|line| line.parse().ok()).max().unwrap_or(0)
}

/// What each of the frames up to `last` adds to a sum over field `frame`.
pub(crate) fn sum_of_frames(last: Sequence) -> i64 {
    (ROWS * last * (last + 1) / 2).cast_signed()
}
