//! Requests as a sender encodes them, what they become, and any bytes.

use super::*;
use crate::dictionary::Dictionary;
use crate::protobuf::{append_bytes, append_varint};
use proptest::prelude::*;
use std::sync::Arc;
use tempfile::TempDir;
use warpline_storage::{Storage, StorageOptions};

fn message(tag: u8, inner: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    append_bytes(&mut out, tag, inner);
    out
}

fn attribute(tag: u8, (name, value): (&str, &str)) -> Vec<u8> {
    let value = message(0x12, &message(0x0a, value.as_bytes()));
    message(tag, &[message(0x0a, name.as_bytes()), value].concat())
}

fn fixed(tag: u8, bits: u64) -> Vec<u8> {
    [&[tag][..], &bits.to_le_bytes()].concat()
}

/// A `NumberDataPoint` in its metric.
pub(crate) fn point(nanos: u64, value: f64, attributes: &[(&str, &str)]) -> Vec<u8> {
    let attributes: Vec<u8> = attributes.iter().flat_map(|one| attribute(0x3a, *one)).collect();
    let inner = [fixed(0x19, nanos), fixed(0x21, value.to_bits()), attributes].concat();
    message(0x0a, &inner)
}

fn metric(name: &str, unit: &str, tag: u8, data: &[u8]) -> Vec<u8> {
    let inner =
        [message(0x0a, name.as_bytes()), message(0x1a, unit.as_bytes()), message(tag, data)];
    message(0x12, &inner.concat())
}

pub(crate) fn gauge(name: &str, unit: &str, points: &[Vec<u8>]) -> Vec<u8> {
    metric(name, unit, 0x2a, &points.concat())
}

/// A monotonic sum.
pub(crate) fn sum(name: &str, unit: &str, points: &[Vec<u8>], temporality: u64) -> Vec<u8> {
    let mut data = points.concat();
    data.push(0x10);
    append_varint(&mut data, temporality);
    data.extend([0x18, 1]);
    metric(name, unit, 0x3a, &data)
}

/// One resource with one scope.
pub(crate) fn request(resource: &[(&str, &str)], scope: &str, metrics: &[Vec<u8>]) -> Vec<u8> {
    let attributes: Vec<u8> = resource.iter().flat_map(|one| attribute(0x0a, *one)).collect();
    let scope = message(0x0a, &message(0x0a, scope.as_bytes()));
    let scoped = message(0x12, &[scope, metrics.concat()].concat());
    message(0x0a, &[message(0x0a, &attributes), scoped].concat())
}

const TIME: u64 = 1_700_000_000_000_000_000;

fn register() -> Register {
    let mut register = Register::new(Arc::new(Dictionary::builtin()), 1_000);
    register.begin(0, 0..=i64::MAX);
    register
}

/// The rows of a request: identity, kind, unit and value.
async fn rows(request: &[u8]) -> (Vec<String>, PointTally) {
    let dir = TempDir::new().unwrap();
    let storage = Storage::open(StorageOptions::new(dir.path())).await.unwrap();
    let mut register = register();
    let points = read(request, &mut register).unwrap();
    let (blocks, _) = register.finish(&storage).unwrap();
    let shown = blocks.iter().flat_map(|block| {
        let layout = block.layout();
        (0..block.rows()).map(move |row| {
            let series = &layout.series()[block.series_index(row) as usize];
            let value = match layout.columns()[0].field_type {
                warpline_storage::model::FieldType::Float64 => {
                    f64::from_bits(block.raw(0, row).cast_unsigned())
                }
                _ => block.raw(0, row) as f64,
            };
            let attributes = series.attributes.join(",");
            format!("{} [{attributes}] {value}", series.identity.join(" "))
        })
    });
    (shown.collect(), points)
}

#[tokio::test]
async fn numbers_are_samples_with_the_labels_of_all_levels() {
    let resource = [
        ("service.name", "job-1"),
        ("host.name", "h7"),
        ("k8s.cluster.name", "c1"),
        ("zone", "z"),
        ("empty", ""),
    ];
    let metrics = [
        gauge("temp", "Cel", &[point(TIME, 30.5, &[("zone", "own")])]),
        sum("done", "", &[point(TIME, 7.0, &[])], 2),
        sum("delta", "", &[point(TIME, 7.0, &[]), point(TIME, 8.0, &[])], 1),
        gauge("DCGM_FI_DEV_GPU_TEMP", "C", &[point(TIME, 41.0, &[("gpu", "3")])]),
    ];
    let (rows, points) = rows(&request(&resource, "s", &metrics)).await;
    let labels = r#""cluster":"c1","hostname":"h7","job":"job-1","otel_scope_name":"s""#;
    assert_eq!(
        rows,
        [
            "c1 h7 3 [job-1,s,z] 41".to_owned(),
            format!(r#"c1 h7 temp {{{labels},"zone":"own"}} [gauge,Cel] 30.5"#),
            format!(r#"c1 h7 done {{{labels},"zone":"z"}} [counter,] 7"#),
        ]
    );
    assert_eq!(points, PointTally { points: 5, unsupported: 2 });
}

/// A histogram, a summary and an exponential histogram, of one point each.
pub(crate) fn distributions() -> [Vec<u8>; 3] {
    let packed = |tag: u8, bits: &[u64]| {
        let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        message(tag, &bytes)
    };
    let histogram = [
        fixed(0x19, TIME),
        fixed(0x21, 6),
        fixed(0x29, 12.5_f64.to_bits()),
        packed(0x32, &[1, 2, 3]),
        packed(0x3a, &[0.5_f64.to_bits(), 10_f64.to_bits()]),
        attribute(0x4a, ("a", "b")),
    ];
    let histogram = [message(0x0a, &histogram.concat()), vec![0x10, 2]].concat();
    let quantile = [fixed(0x09, 0.99_f64.to_bits()), fixed(0x11, 7_f64.to_bits())].concat();
    let summary =
        [fixed(0x19, TIME), fixed(0x21, 3), fixed(0x29, 4_f64.to_bits()), message(0x32, &quantile)];
    let summary = message(0x0a, &summary.concat());
    let exponential = message(0x0a, &fixed(0x19, TIME));
    [
        metric("d", "s", 0x4a, &histogram),
        metric("e", "s", 0x5a, &summary),
        metric("f", "s", 0x52, &exponential),
    ]
}

#[tokio::test]
async fn histograms_and_summaries_are_their_plain_samples() {
    let (rows, points) = rows(&request(&[], "", &distributions())).await;
    assert_eq!(
        rows,
        [
            r#"  d_bucket {"a":"b","le":"0.5"} [histogram,s] 1"#,
            r#"  d_bucket {"a":"b","le":"10"} [histogram,s] 3"#,
            r#"  d_bucket {"a":"b","le":"+Inf"} [histogram,s] 6"#,
            r#"  d_sum {"a":"b"} [histogram,s] 12.5"#,
            r#"  d_count {"a":"b"} [histogram,s] 6"#,
            r#"  e {"quantile":"0.99"} [summary,s] 7"#,
            r"  e_sum {} [summary,s] 4",
            r"  e_count {} [summary,s] 3",
        ]
    );
    assert_eq!(points, PointTally { points: 3, unsupported: 1 });
}

#[tokio::test]
async fn values_of_attributes_are_written_out() {
    let of = |inner: Vec<u8>| {
        let value = message(0x12, &inner);
        message(0x3a, &[message(0x0a, b"a"), value].concat())
    };
    let nested = message(0x2a, &[message(0x0a, &[0x18, 5]), message(0x0a, &[0x10, 1])].concat());
    let cases = [
        (vec![0x10, 1], "true"),
        ([vec![0x18], vec![0xff; 9], vec![1]].concat(), "-1"),
        (fixed(0x21, 1.5_f64.to_bits()), "1.5"),
        (message(0x3a, &[0xab, 1]), "ab01"),
        (nested, "[5,true]"),
    ];
    for (value, want) in cases {
        let inner = [fixed(0x19, TIME), fixed(0x21, 1_f64.to_bits()), of(value)].concat();
        let (rows, _) = rows(&request(&[], "", &[gauge("g", "", &[message(0x0a, &inner)])])).await;
        assert_eq!(rows, [format!(r#"  g {{"a":"{want}"}} [gauge,] 1"#)]);
    }
    let mut deep = vec![0x10, 1];
    (0..40).for_each(|_| deep = message(0x2a, &message(0x0a, &deep)));
    let inner = [fixed(0x19, TIME), of(deep)].concat();
    let deep = request(&[], "", &[gauge("g", "", &[message(0x0a, &inner)])]);
    assert!(matches!(read(&deep, &mut register()), Err(Malformed::Deep(_))));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        drop(read(&bytes, &mut register()));
    }

    #[test]
    fn mutations_are_read_without_panic(
        names in prop::collection::vec(".{0,8}", 1..4),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..10),
        cut in any::<prop::sample::Index>(),
    ) {
        let metrics: Vec<Vec<u8>> = names
            .iter()
            .flat_map(|name| {
                let points = [point(TIME, 1.0, &[(name, "x")]), point(TIME, 2.0, &[])];
                [gauge(name, "s", &points), sum(name, name, &points, 2), metric(name, "", 0x4a, &points.concat())]
            })
            .collect();
        let mut bytes = request(&[("host.name", "h")], "s", &metrics);
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        drop(read(&bytes, &mut register()));
        bytes.truncate(cut.index(bytes.len()));
        drop(read(&bytes, &mut register()));
    }
}
