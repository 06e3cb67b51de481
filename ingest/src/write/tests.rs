//! Requests at the router, and what of them is in the store afterwards.

use super::*;
use crate::otlp::tests as otel;
use crate::remote_write::Version;
use crate::remote_write::tests::{Given, encode, encode_v1, given};
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use tempfile::TempDir;
use tower::ServiceExt;
use warpline_storage::model::ProducerId;
use warpline_storage::{StorageOptions, TableSnapshot};

const V1: &str = "application/x-protobuf";
const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

struct Fixture {
    service: WriteService,
    storage: Storage,
    dir: TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    bytes: axum::body::Bytes,
    text: String,
}

impl Answer {
    fn written(&self) -> [&str; 3] {
        ["samples", "histograms", "exemplars"].map(|what| {
            let name = format!("x-prometheus-remote-write-{what}-written");
            self.headers.get(name).map_or("none", |value| value.to_str().unwrap())
        })
    }
}

impl Fixture {
    async fn new() -> Self {
        Self::with(WriteLimits::default()).await
    }

    async fn with(limits: WriteLimits) -> Self {
        Self::over(TempDir::new().unwrap(), limits, |_| ()).await
    }

    async fn over(
        dir: TempDir,
        limits: WriteLimits,
        change: impl FnOnce(&mut StorageOptions),
    ) -> Self {
        let mut options = StorageOptions::new(dir.path());
        change(&mut options);
        let storage = Storage::open(options).await.unwrap();
        let service = write_service(storage.clone(), Arc::new(Dictionary::builtin()), limits);
        Self { service, storage, dir }
    }

    async fn send(&self, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        self.post("/api/v1/write", headers, body).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        let response = self.service.routes().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        Answer { status, headers, text: String::from_utf8_lossy(&bytes).into_owned(), bytes }
    }

    async fn write(&self, content_type: &str, message: &[u8]) -> Answer {
        let headers = [("content-type", content_type), ("content-encoding", "snappy")];
        self.send(&headers, compress(message)).await
    }

    async fn rows(&self, table: &str) -> usize {
        self.storage.sync().await.unwrap();
        let snapshot = self.storage.snapshot();
        snapshot.table(table).map_or(0, |table: &Arc<TableSnapshot>| table.buffer.rows())
    }

    fn refused(&self) -> Vec<(&'static str, u64)> {
        let counts = self.service.metrics().refused.into_iter();
        counts.filter(|(_, n)| *n > 0).map(|(reason, n)| (reason.name(), n)).collect()
    }
}

fn compress(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).unwrap()
}

fn now_millis() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_millis() as i64
}

fn up(number: i64) -> Given {
    let instance = format!("n{number}:9100");
    given(&[("__name__", "up"), ("instance", &instance)], &[(now_millis(), 1.0)])
}

#[tokio::test]
async fn both_versions_are_taken() {
    let f = Fixture::new().await;
    let answer = f.write(V1, &encode(Version::V1, &[up(1), up(2)])).await;
    assert_eq!((answer.status, answer.written()), (StatusCode::NO_CONTENT, ["none"; 3]));
    let explicit = "application/x-protobuf; proto=prometheus.WriteRequest";
    assert_eq!(f.write(explicit, &encode(Version::V1, &[up(3)])).await.status, 204);
    let answer = f.write(V2, &encode(Version::V2, &[up(1), up(4)])).await;
    assert_eq!((answer.status, answer.written()), (StatusCode::NO_CONTENT, ["2", "0", "0"]));
    assert_eq!(f.rows("metric").await, 5);
    let counts = f.service.metrics();
    assert_eq!(counts.samples.map(|(_, count)| count), [3, 2, 0, 0, 0]);
    assert_eq!(counts.requests.map(|(_, count)| count), [2, 1, 0, 0, 0]);
    assert_eq!((counts.series, f.refused()), (4, vec![]), "series are the same in both versions");
    assert_eq!(f.write(V1, &[]).await.status, 204, "nothing is nothing wrong");
    assert_eq!(f.write(V1, &encode_v1(&[], &[("up", 2, "")])).await.status, 204);
}

#[tokio::test]
async fn what_cannot_be_taken_is_told_and_the_rest_kept() {
    let f = Fixture::new().await;
    let mut all = vec![up(1), given(&[("no", "name")], &[(now_millis(), 1.0)]), up(2)];
    all[2].samples.push((now_millis() + 86_400_000, 2.0));
    all[2].exemplars = 2;
    all[0].histograms = 1;
    let answer = f.write(V2, &encode(Version::V2, &all)).await;
    assert_eq!((answer.status, answer.written()), (StatusCode::BAD_REQUEST, ["2", "0", "0"]));
    let (first, rest) = answer.text.split_once('\n').unwrap();
    assert_eq!(
        first,
        "2 of 4 samples were taken; not taken: 1 series, 1 time, 1 histogram, 2 exemplar"
    );
    assert!(rest.contains("native histograms are not stored"), "{rest}");
    assert!(rest.contains("a series has no label __name__ (it has no=\"name\")"), "{rest}");
    assert!(rest.contains("storage.future_limit"), "{rest}");
    assert_eq!(f.rows("metric").await, 2);
    let want = [("series", 1), ("time", 1), ("histogram", 1), ("exemplar", 2)];
    assert_eq!(f.refused(), want);
    let answer = f.write(V1, &encode(Version::V1, &all)).await;
    assert_eq!((answer.status, answer.written()), (StatusCode::BAD_REQUEST, ["none"; 3]));
    assert_eq!(f.rows("metric").await, 4);
}

#[tokio::test]
async fn other_messages_are_415() {
    let f = Fixture::new().await;
    let body = compress(&encode(Version::V1, &[up(1)]));
    let json = f.send(&[("content-type", "application/json")], body.clone()).await;
    assert_eq!(json.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(json.text.contains("io.prometheus.write.v2.Request"), "{}", json.text);
    let other = "application/x-protobuf;proto=io.prometheus.write.v3.Request";
    assert_eq!(f.write(other, b"").await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let zstd = [("content-type", V1), ("content-encoding", "zstd")];
    assert_eq!(f.send(&zstd, body.clone()).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(f.send(&[("content-type", V1)], body).await.status, 204, "snappy is understood");
}

#[tokio::test]
async fn malformed_bodies_leave_nothing() {
    let f = Fixture::new().await;
    let mut message = encode(Version::V1, &[up(1)]);
    message.extend([0x0a, 0x7f]);
    let answer = f.write(V1, &message).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.text, "the message ends inside a field: nothing of the request is taken\n");
    let headers = [("content-type", V2), ("content-encoding", "snappy")];
    let answer = f.send(&headers, "this is no snappy block").await;
    assert_eq!((answer.status, answer.written()), (StatusCode::BAD_REQUEST, ["0"; 3]));
    assert_eq!((f.rows("metric").await, f.refused()), (0, vec![("malformed", 2)]));
}

#[tokio::test]
async fn large_bodies_are_413() {
    let limits = WriteLimits { body_bytes: 2_000, message_bytes: 100_000, ..Default::default() };
    let f = Fixture::with(limits).await;
    let answer = f.send(&[("content-type", V1)], vec![7_u8; 2_001]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.text.contains("2000 bytes"), "{}", answer.text);
    // A few bytes that say they are four gigabytes.
    let bomb = f.send(&[("content-type", V1)], vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]).await;
    assert_eq!(bomb.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(bomb.text.contains("100000 bytes"), "{}", bomb.text);
    assert_eq!(f.refused(), [("busy", 2)]);
}

#[tokio::test]
async fn a_store_without_room_pushes_back() {
    let patience = Duration::from_millis(50);
    let limits = WriteLimits { patience, ..WriteLimits::default() };
    let dir = TempDir::new().unwrap();
    let f = Fixture::over(dir, limits, |options| options.memory_budget = 1).await;
    let mut full = None;
    for number in 0..50 {
        let answer = f.write(V1, &encode(Version::V1, &[up(number)])).await;
        if answer.status != 204 {
            full = Some(answer);
            break;
        }
        // A snapshot holds what is in memory, so that a flush frees nothing.
        let snapshot = f.storage.snapshot();
        std::mem::forget(snapshot);
    }
    let full = full.expect("a budget of a byte is spent");
    assert_eq!(full.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(full.headers["retry-after"], "5");
    assert!(full.text.contains("storage.memory"), "{}", full.text);
}

#[tokio::test]
async fn sequences_go_on_after_a_restart() {
    let f = Fixture::new().await;
    for number in 0..3 {
        f.write(V1, &encode(Version::V1, &[up(number)])).await;
    }
    let Fixture { service, storage, dir } = f;
    storage.close().await.unwrap();
    drop((service, storage));
    let f = Fixture::over(dir, WriteLimits::default(), |_| ()).await;
    assert_eq!(f.write(V1, &encode(Version::V1, &[up(9)])).await.status, 204);
    assert_eq!(f.rows("metric").await, 4, "the row is not dropped as one that came before");
    let producer = ProducerId::new(crate::stream::SERVER_PRODUCER).unwrap();
    assert_eq!(f.storage.producer(&producer).borrow().durable, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_requests_at_once_are_all_kept() {
    let f = Arc::new(Fixture::new().await);
    let requests = (0..200).map(|number| {
        let f = f.clone();
        tokio::spawn(async move {
            let version = if number % 2 == 0 { Version::V1 } else { Version::V2 };
            let content_type = if number % 2 == 0 { V1 } else { V2 };
            let message = encode(version, &[up(number), up(1_000 + number % 7)]);
            f.write(content_type, &message).await.status
        })
    });
    for answer in futures::future::join_all(requests).await {
        assert_eq!(answer.unwrap(), StatusCode::NO_CONTENT);
    }
    assert_eq!(f.rows("metric").await, 400);
    assert_eq!(f.service.metrics().series, 207);
}

#[tokio::test]
async fn one_scrape_over_several_requests_is_one_row() {
    let f = Fixture::new().await;
    let time = now_millis();
    let fields = ["DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_SM_CLOCK"];
    for field in fields {
        let one = given(&[("__name__", field), ("gpu", "0"), ("Hostname", "h")], &[(time, 30.0)]);
        assert_eq!(f.write(V1, &encode(Version::V1, &[one])).await.status, 204);
    }
    f.storage.flush().await.unwrap();
    let snapshot = f.storage.snapshot();
    let table = snapshot.table("gpu").unwrap();
    assert_eq!(table.files.iter().map(|file| file.rows).sum::<u64>(), 1);
    assert_eq!(table.schema.fields.len(), 3);
}

#[tokio::test]
async fn lines_are_taken_as_influxdb_takes_them() {
    let f = Fixture::new().await;
    let now = now_millis();
    let text = format!("cpu,host=a used=1.5 {now}\ncpu,host=b used=2 {now}\n");
    let v2 = f.post("/api/v2/write?org=o&bucket=b&precision=ms", &[], text.clone()).await;
    assert_eq!((v2.status, &*v2.text), (StatusCode::NO_CONTENT, ""));
    assert_eq!(f.post("/write?db=d&precision=ms", &[], text.clone()).await.status, 204);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, b"cpu,host=c used=3").unwrap();
    let gzip = gzip.finish().unwrap();
    let packed = f.post("/api/v2/write", &[("content-encoding", "gzip")], gzip).await;
    assert_eq!(packed.status, StatusCode::NO_CONTENT);
    assert_eq!(f.rows("cpu").await, 5);

    let bad = format!("cpu,host=a used=x {now}\ncpu,host=a used=4 {now}");
    let partly = f.post("/api/v2/write?precision=ms", &[], bad).await;
    assert_eq!(partly.status, StatusCode::BAD_REQUEST);
    let error: serde_json::Value = serde_json::from_str(&partly.text).unwrap();
    assert_eq!(error["code"], "invalid");
    let text = "partial write: 1 of 2 points dropped; not taken: 1 malformed\nline 1: the value of \
                field \"used\" is no number, boolean or string in double quotes";
    assert_eq!((&error["message"], &error["error"]), (&text.into(), &text.into()));
    assert_eq!(f.rows("cpu").await, 6);
    let unknown = f.post("/write?precision=fortnight", &[], "cpu used=1").await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    assert!(unknown.text.contains("use ns, us, ms, s, m or h"), "{}", unknown.text);
    let no_gzip = f.post("/write", &[("content-encoding", "gzip")], "cpu used=1").await;
    assert_eq!(no_gzip.status, StatusCode::BAD_REQUEST);
    let ping = Request::get("/ping").body(Body::empty()).unwrap();
    let ping = f.service.open_routes().oneshot(ping).await.unwrap();
    assert_eq!(ping.status(), StatusCode::NO_CONTENT);
    assert!(ping.headers().contains_key("x-influxdb-version"));
}

#[tokio::test]
async fn a_gzip_bomb_is_413() {
    let limits = WriteLimits { message_bytes: 100_000, ..WriteLimits::default() };
    let f = Fixture::with(limits).await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut gzip, &vec![b'a'; 10 << 20]).unwrap();
    let bomb = f.post("/write", &[("content-encoding", "gzip")], gzip.finish().unwrap()).await;
    assert_eq!(bomb.status, StatusCode::PAYLOAD_TOO_LARGE);
}

fn power(temporality: u64) -> Vec<u8> {
    let time = now_millis().cast_unsigned() * 1_000_000;
    let joules = otel::sum("energy", "J", &[otel::point(time, 7.5, &[("gpu", "0")])], temporality);
    let up = otel::gauge("up", "", &[otel::point(time, 1.0, &[])]);
    otel::request(&[("service.name", "dcgm"), ("host.name", "h7")], "scope", &[joules, up])
}

#[tokio::test]
async fn opentelemetry_is_taken_over_http() {
    let f = Fixture::new().await;
    let headers = [("content-type", "application/x-protobuf")];
    let answer = f.post("/v1/metrics", &headers, power(2)).await;
    assert_eq!((answer.status, &*answer.text), (StatusCode::OK, ""));
    assert_eq!(answer.headers["content-type"], "application/x-protobuf");
    assert_eq!(f.rows("metric").await, 2);
    let answer = f.post("/v1/metrics", &headers, power(1)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.text.contains("energy: delta temporality is not stored"), "{}", answer.text);
    let (outer, text) =
        (usize::from(answer.bytes[1] & 0x7f) | usize::from(answer.bytes[2]) << 7, 3);
    assert_eq!(outer, answer.bytes.len() - text, "one partial success");
    assert_eq!(answer.bytes[text..text + 2], [0x08, 1], "one point was rejected");
    assert_eq!((f.rows("metric").await, f.refused()), (3, vec![("delta", 1)]));

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &power(2)).unwrap();
    let packed = [headers[0], ("content-encoding", "gzip")];
    let answer = f.post("/v1/metrics", &packed, gzip.finish().unwrap()).await;
    assert_eq!((answer.status, f.rows("metric").await), (StatusCode::OK, 5));
    let json = f.post("/v1/metrics", &[("content-type", "application/json")], "{}").await;
    assert_eq!(json.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let cut = power(2);
    let malformed = f.post("/v1/metrics", &headers, cut[..cut.len() - 1].to_vec()).await;
    assert_eq!(malformed.status, StatusCode::BAD_REQUEST);
    assert!(malformed.text.contains("the message ends inside a field"), "{}", malformed.text);
}
