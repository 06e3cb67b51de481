//! What cannot be taken is told with its reason; everything beside it is kept.

use super::harness::*;
use crate::frame::{Reason, define, frame};
use bytes::Bytes;
use std::time::SystemTime;
use warpline_storage::model::{BlockBuilder, FieldType, Layout, Series, Value};

/// Values of one field over all buffered rows: how many are there, how many are NULL.
fn present_and_absent(server: &TestServer, table: &str, field: &str) -> (usize, usize) {
    let snapshot = server.storage.snapshot();
    let table = snapshot.table(table).unwrap();
    let column = table.schema.arrow().index_of(field).unwrap();
    let batches = table.buffer.scan_all(&[column]);
    batches.fold((0, 0), |(present, absent), batch| {
        let nulls = batch.column(0).null_count();
        (present + batch.num_rows() - nulls, absent + nulls)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_another_type_are_converted_or_become_null() {
    let server = TestServer::start().await;
    let layout = layout();
    let mut first = server.client("n1").await;
    let number = first.define(layout.clone()).await.unwrap();
    first.send(vec![(number, tick(&layout, 0))]).await.unwrap();
    first.finish().await.unwrap();

    let doubles = layout_of(
        "gpu",
        &[
            ("power_usage", FieldType::Float64),
            ("gpu_util", FieldType::Decimal { digits: 9, decimals: 1 }),
        ],
    );
    let mut client = server.client("n2").await;
    let number = client.define(doubles.clone()).await.unwrap();
    let mut builder = BlockBuilder::new(doubles);
    for (series, watts, util) in [(0, 699.123, 55.0), (1, 1e12, 55.5), (2, f64::NAN, 1_000.0)] {
        builder.row(series, START + SECOND);
        builder.set(0, Value::Float(watts)).unwrap();
        builder.set(1, Value::Float(util)).unwrap();
    }
    client.send(vec![(number, builder.finish())]).await.unwrap();
    let refusals = client.finish().await.unwrap().refusals;
    assert_eq!(refusals.count(Reason::Value), 4);
    let mut columns: Vec<_> = refusals.recent().map(|r| (r.column.as_str(), r.count)).collect();
    columns.sort_unstable();
    assert_eq!(columns, [("gpu_util", 2), ("power_usage", 2)]);
    assert_eq!(present_and_absent(&server, "gpu", "power_usage"), (9, 2));
    assert_eq!(present_and_absent(&server, "gpu", "gpu_util"), (9, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_outside_its_digits_becomes_null() {
    let server = TestServer::start().await;
    let layout = layout();
    let mut client = server.client("n1").await;
    let number = client.define(layout.clone()).await.unwrap();
    let mut builder = BlockBuilder::new(layout);
    for series in 0..8 {
        builder.row(series, START);
        builder.set_stored(1, if series == 3 { 1_000_000_000 } else { 5 });
    }
    client.send(vec![(number, builder.finish())]).await.unwrap();
    let refusals = client.finish().await.unwrap().refusals;
    assert_eq!(refusals.count(Reason::Value), 1);
    let told = refusals.recent().next().unwrap();
    assert_eq!(told.column, "power_usage");
    assert!(told.message.contains("1000000 does not fit decimal(9,3)"), "{}", told.message);
    assert_eq!(present_and_absent(&server, "gpu", "power_usage"), (7, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_the_future_are_dropped() {
    let server = TestServer::start().await;
    let layout = layout();
    let mut client = server.client("n1").await;
    let number = client.define(layout.clone()).await.unwrap();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as i64;
    let mut builder = BlockBuilder::new(layout.clone());
    for (series, time) in [(0, now), (1, now + 3_600 * SECOND), (2, -1), (3, now + SECOND)] {
        builder.row(series, time);
        builder.set(0, Value::Int(1)).unwrap();
    }
    let mixed = builder.finish();
    let far = tick(&layout, 1_000_000_000);
    client.send(vec![(number, mixed), (number, far)]).await.unwrap();
    let summary = client.finish().await.unwrap();
    assert_eq!(summary.refusals.count(Reason::Time), 10);
    assert_eq!((summary.acknowledged.durable, server.storage.metrics().rows), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_block_leaves_the_one_beside_it() {
    let server = TestServer::start().await;
    let stream = server.raw().await.greeted("n1").await;
    let layout = layout();
    stream.send(define(0, &layout)).await;
    let good = tick(&layout, 0);
    let mut flags = good.to_vec();
    flags[0] = 0xff;
    let blocks = [
        (0, good.slice(..good.len() - 1)),
        (0, good),
        (0, Bytes::from(flags)),
        (0, Bytes::new()),
        (7, Bytes::from_static(b"whatever")),
    ];
    stream.send(frame(1, &blocks)).await;
    let answers = stream.finish().await.unwrap();
    assert_eq!(answers.acknowledged.durable, 1);
    let counted = |reason| -> u64 {
        answers.refusals.iter().filter(|r| r.reason == reason).map(|r| r.count).sum()
    };
    assert_eq!((counted(Reason::Block), counted(Reason::UnknownLayout)), (3, 1));
    assert_eq!(server.storage.metrics().rows, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_with_nothing_to_take_is_taken() {
    let server = TestServer::start().await;
    let stream = server.raw().await.greeted("n1").await;
    stream.send(frame(1, &[(0, Bytes::new())])).await;
    stream.send(frame(2, &[])).await;
    let answers = stream.finish().await.unwrap();
    assert_eq!((answers.acknowledged.durable, answers.refusals.len()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layout_is_refused_in_parts_or_whole() {
    let server = TestServer::start().await;
    let (layout, mut client) = (layout(), server.client("n1").await);
    let number = client.define(layout.clone()).await.unwrap();
    client.send(vec![(number, tick(&layout, 0))]).await.unwrap();

    // `model` is an attribute of the table, so it cannot become a field too.
    let clash = layout_of("gpu", &[("gpu_util", FieldType::Int8)]);
    let columns = [("model", FieldType::Int8), ("gpu_util", FieldType::Int8)];
    let columns = columns.map(|(name, field_type)| warpline_storage::model::Column {
        name: name.into(),
        field_type,
    });
    let series = clash.series().iter().map(|s| Series { attributes: vec![], ..s.clone() });
    let clash = Layout::new(
        "gpu",
        clash.identity_tags().to_vec(),
        vec![],
        columns.into(),
        series.collect(),
    );
    let clash = std::sync::Arc::new(clash.unwrap());
    let part = client.define(clash.clone()).await.unwrap();
    client.send(vec![(part, tick(&clash, 1))]).await.unwrap();

    let series = vec![Series { identity: vec!["n1".into()], attributes: vec![] }];
    let other = Layout::new("gpu", vec!["host".into()], vec![], vec![], series).unwrap();
    let other = std::sync::Arc::new(other);
    let whole = client.define(other.clone()).await.unwrap();
    client.send(vec![(whole, tick(&other, 2)), (number, tick(&layout, 2))]).await.unwrap();

    let summary = client.finish().await.unwrap();
    let count = |reason| summary.refusals.count(reason);
    assert_eq!((count(Reason::Column), count(Reason::Layout)), (1, 1));
    assert_eq!((count(Reason::UnknownLayout), summary.acknowledged.durable), (1, 3));
    assert_eq!(server.storage.metrics().rows, 24);
}
