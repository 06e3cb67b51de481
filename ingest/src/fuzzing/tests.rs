//! Hostile inputs that are kept, through their decoders; and the seeds that are made of what the
//! encoders of this room and of its tests write.

use super::replay::{assert_kept, replay, segments};
use crate::flight::tests as arrow_flight;
use crate::frame::{self, Reason, Refusal, Welcome};
use crate::otlp::tests as otel;
use crate::remote_write::Version;
use crate::remote_write::tests::{encode, encode_v1, given};
use arrow::array::{ArrayRef, DictionaryArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::Int8Type;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::IpcWriteOptions;
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use warpline_storage::model::{BlockBuilder, Column, FieldType, Layout, Series};
use warpline_storage::{Acknowledged, Storage, StorageOptions};

/// 2026-11-26, in milliseconds.
const NOW: i64 = 1_795_651_200_000;

async fn store() -> (TempDir, Storage) {
    let dir = TempDir::new().unwrap();
    let mut options = StorageOptions::new(dir.path());
    options.maintenance.retention.raw = None;
    let storage = Storage::open(options).await.unwrap();
    (dir, storage)
}

fn layout() -> Arc<Layout> {
    let columns = [
        ("gpu_util", FieldType::Int8),
        ("power_usage", FieldType::decimal(9, 3).unwrap()),
        ("energy", FieldType::decimal(15, 3).unwrap()),
        ("clock", FieldType::Int16),
        ("xid", FieldType::Int32),
        ("bytes", FieldType::Int64),
        ("ratio", FieldType::Float64),
    ];
    let columns = columns.map(|(name, field_type)| Column { name: name.into(), field_type });
    let series = (0..2).map(|gpu| Series {
        identity: vec!["c1".into(), "n1".into(), gpu.to_string().into()],
        attributes: vec!["H100".into()],
    });
    let identity = vec!["cluster".into(), "node".into(), "gpu".into()];
    let attributes = vec!["model".into()];
    Arc::new(Layout::new("gpu", identity, attributes, columns.to_vec(), series.collect()).unwrap())
}

fn block(times: &[i64]) -> Bytes {
    let layout = layout();
    let mut builder = BlockBuilder::new(layout.clone());
    for time in times {
        for series in 0..2 {
            builder.row(series, *time);
            (0..layout.columns().len()).for_each(|column| builder.set_stored(column, 7));
        }
    }
    builder.finish()
}

#[test]
fn frames() {
    let define = frame::define(3, &layout());
    let tick = frame::frame(7, &[(3, block(&[NOW]))]);
    let ticks = frame::frame(8, &[(3, block(&[NOW, NOW + 1])), (3, block(&[NOW + 2]))]);
    let told = Refusal {
        reason: Reason::Value,
        sequence: 9,
        layout: 3,
        column: "power_usage".into(),
        count: 2,
        message: "1e99 does not fit".into(),
    };
    let welcome = Welcome { version: 1, durable: 5, stored: 4, max_message: 1 << 24 };
    let seeds = [
        ("hello", frame::hello("node-1", 42)),
        ("define", define.clone()),
        ("stream", [&define[..], &tick, &ticks].concat().into()),
        ("welcome", frame::welcome(&welcome)),
        ("acknowledge", frame::acknowledge(Acknowledged { durable: 7, stored: 6 })),
        ("refusal", frame::refusal(&told)),
    ];
    assert_kept("fuzz/corpus/frame", &seeds.map(|(name, bytes)| (name, bytes.to_vec())));
    replay("frame", super::frame);
}

#[test]
fn expositions() {
    replay("exposition", super::exposition);
}

/// A GPU's field, a metric of its own, and one of two samples.
fn requests(version: Version) -> [(&'static str, Vec<u8>); 3] {
    let gpu = [("__name__", "DCGM_FI_DEV_GPU_TEMP"), ("gpu", "0"), ("Hostname", "n1")];
    let gpu = given(&gpu, &[(NOW, 41.0)]);
    let up = given(&[("__name__", "up"), ("instance", "n1:9100")], &[(NOW, 1.0)]);
    let mut many =
        given(&[("__name__", "d_bucket"), ("le", "+Inf")], &[(NOW, 1.5), (NOW + 1, 2.5)]);
    if version == Version::V2 {
        many.told = Some((3, "s".into()));
    }
    let all = [gpu.clone(), up.clone(), many.clone()];
    [
        ("gpu", encode(version, &[gpu])),
        ("samples", encode(version, &[many, up])),
        ("all", encode(version, &all)),
    ]
}

#[tokio::test]
async fn remote_writes() {
    let (_dir, storage) = store().await;
    let told = encode_v1(&[], &[("a", 1, "seconds"), ("b", 9, "")]);
    let first = [&requests(Version::V1)[..], &[("metadata", told)]].concat();
    assert_kept("fuzz/corpus/remote_write_1", &first);
    replay("remote_write_1", |input| super::remote_write_1(input, &storage));
    assert_kept("fuzz/corpus/remote_write_2", &requests(Version::V2));
    replay("remote_write_2", |input| super::remote_write_2(input, &storage));
    let packed = |message: &[u8]| snap::raw::Encoder::new().compress_vec(message).unwrap();
    let bodies: Vec<_> = first.iter().map(|(name, message)| (*name, packed(message))).collect();
    assert_kept("fuzz/corpus/remote_write_body", &bodies);
    replay("remote_write_body", |input| super::remote_write_body(input, &storage));
}

#[tokio::test]
async fn lines() {
    let (_dir, storage) = store().await;
    replay("lines", |input| super::lines(input, &storage));
}

#[tokio::test]
async fn otlp() {
    let (_dir, storage) = store().await;
    let nanos = NOW.cast_unsigned() * 1_000_000;
    let point = |attributes: &[(&str, &str)]| otel::point(nanos, 41.0, attributes);
    let gpu = otel::gauge("DCGM_FI_DEV_GPU_TEMP", "C", &[point(&[("gpu", "3")])]);
    let sum = otel::sum("done", "1", &[point(&[("a", "b")]), point(&[])], 2);
    let resource = [("service.name", "job-1"), ("host.name", "h7")];
    let seeds = [
        ("gpu", otel::request(&resource, "", std::slice::from_ref(&gpu))),
        ("sum", otel::request(&[], "s", std::slice::from_ref(&sum))),
        ("all", otel::request(&resource, "s", &[gpu, sum])),
        ("histogram", otel::request(&[], "", &otel::distributions()[..2])),
    ];
    assert_kept("fuzz/corpus/otlp", &seeds);
    replay("otlp", |input| super::otlp(input, &storage));
}

/// A stream of Arrow IPC.
fn stream(columns: Vec<(&str, ArrayRef)>, codec: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(codec).unwrap();
    let messages = arrow_flight::encode(&[arrow_flight::batch(columns)], &options);
    let mut out = Vec::new();
    for message in &messages {
        out.extend([0xff; 4]);
        out.extend((message.header.len() as i32).to_le_bytes());
        out.extend_from_slice(&message.header);
        out.extend_from_slice(&message.body);
    }
    out
}

#[tokio::test]
async fn flights() {
    let (_dir, storage) = store().await;
    let texts = |texts: [&str; 3]| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
    let coded: DictionaryArray<Int8Type> = ["a", "b", "a"].into_iter().collect();
    let numbers = || Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])) as ArrayRef;
    let doubles = || Arc::new(Float64Array::from(vec![1.5, 2.5, 3.5])) as ArrayRef;
    let plain = || vec![("host", texts(["a", "b", "a"])), ("v", numbers()), ("w", doubles())];
    let long = || -> Vec<(&str, ArrayRef)> {
        let hosts = StringArray::from(vec!["a-host-of-many-rows"; 100]);
        vec![("host", Arc::new(hosts)), ("v", Arc::new(Int64Array::from(vec![7; 100])))]
    };
    let gpu = vec![
        ("node", texts(["n1"; 3])),
        ("gpu", texts(["0", "1", "2"])),
        ("power_usage", doubles()),
    ];
    let seeds = [
        ("plain", stream(plain(), None)),
        ("gpu", stream(gpu, None)),
        ("dictionary", stream(vec![("host", Arc::new(coded)), ("v", numbers())], None)),
        ("lz4", stream(long(), Some(CompressionType::LZ4_FRAME))),
        ("zstd", stream(long(), Some(CompressionType::ZSTD))),
    ];
    assert_kept("fuzz/corpus/flight", &seeds);
    replay("flight", |input| super::flight(input, &storage));
}

#[test]
fn labels() {
    replay("labels", super::labels);
}

#[test]
fn dictionaries() {
    replay("dictionary", super::dictionary);
}

#[test]
fn spools() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/spool/testdata/version-1");
    assert_kept("fuzz/corpus/spool", &segments(&folder));
    let home = TempDir::new().unwrap();
    replay("spool", |input| super::spool(input, home.path()));
}
