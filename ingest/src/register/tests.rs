//! Requests of any cut of series, and what becomes of them.

use super::*;
use crate::forgetting::SPARE;
use crate::remote_write::SeriesKey;
use std::collections::BTreeSet;
use std::fmt::Write;
use tempfile::TempDir;
use warpline_storage::model::FieldType;
use warpline_storage::{Retention, StorageOptions};

const TIME: Timestamp = 1_700_000_000_000_000;

struct Fixture {
    register: Register,
    storage: Storage,
    minute: u32,
    _dir: TempDir,
}

impl Fixture {
    async fn new(limit: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let mut options = StorageOptions::new(dir.path());
        options.maintenance.retention = Retention::default();
        let storage = Storage::open(options).await.unwrap();
        let register = Register::new(Arc::new(Dictionary::builtin()), limit);
        Self { register, storage, minute: 0, _dir: dir }
    }

    fn begin(&mut self) {
        self.register.begin(self.minute, 0..=TIME + 1_000);
    }

    fn sample(&mut self, labels: &[(&str, &str)], time: Timestamp, value: f64) {
        self.register.series(key(labels).as_bytes());
        self.register.sample(time, Value::Float(value));
    }

    fn finish(&mut self) -> (Vec<String>, Tally) {
        let (blocks, tally) = self.register.finish(&self.storage).unwrap();
        (blocks.iter().flat_map(rows).collect(), tally)
    }
}

fn key(labels: &[(&str, &str)]) -> SeriesKey {
    let mut key = SeriesKey::default();
    for (name, value) in labels {
        key.label(name.as_bytes(), value.as_bytes());
    }
    key
}

/// A block's rows as text: identity, attributes and values that are there, time where not TIME.
fn rows(block: &Block) -> Vec<String> {
    (0..block.rows()).map(|row| show(block, row)).collect()
}

fn show(block: &Block, row: usize) -> String {
    let layout = block.layout();
    let series = &layout.series()[block.series_index(row) as usize];
    let mut text = format!("{}: {}", layout.table(), series.identity.join(" "));
    for (name, value) in layout.attribute_tags().iter().zip(&series.attributes) {
        if !value.is_empty() {
            write!(text, " {name}={value}").unwrap();
        }
    }
    for (column, spec) in layout.columns().iter().enumerate() {
        if block.is_present(column, row) {
            let raw = block.raw(column, row);
            match spec.field_type {
                FieldType::Float64 => {
                    write!(text, " {}={}", spec.name, f64::from_bits(raw.cast_unsigned())).unwrap();
                }
                _ => write!(text, " {}={raw}", spec.name).unwrap(),
            }
        }
    }
    if block.time(row) != TIME {
        write!(text, " @{}", block.time(row) - TIME).unwrap();
    }
    text
}

const TEMPERATURE: &str = "DCGM_FI_DEV_GPU_TEMP";
const POWER: &str = "DCGM_FI_DEV_POWER_USAGE";

#[tokio::test]
async fn names_and_labels_mean_what_they_mean_to_the_agent() {
    let mut f = Fixture::new(100).await;
    f.begin();
    let gpu = [("gpu", "0"), ("Hostname", "h7"), ("instance", "x:9400"), ("cluster", "c1")];
    let with = |name: &'static str| [&[("__name__", name)], &gpu[..]].concat();
    f.sample(&with(TEMPERATURE), TIME, 30.0);
    f.sample(&with(POWER), TIME, 113.611);
    f.sample(&[&gpu[..1], &gpu[2..], &[("__name__", POWER), ("node", "n5")]].concat(), TIME, 2.5);
    f.sample(&[&gpu[..3], &[("__name__", POWER), ("node", "n5")]].concat(), TIME, 3.5);
    f.sample(&[&gpu[..1], &[("__name__", "own"), ("node", "n5")]].concat(), TIME, 1.0);
    f.sample(&[("__name__", "numa_free"), ("instance", "n3:9100"), ("node", "0")], TIME, 1.0);
    f.sample(&[("__name__", "up"), ("instance", "n3:9100"), ("job", "node")], TIME, 1.0);
    f.sample(&[("__name__", "up"), ("instance", "[fe80::1]:9100")], TIME, 1.0);
    f.sample(&[("__name__", "up"), ("instance", "https://a/b")], TIME, 1.0);
    let (rows, tally) = f.finish();
    assert_eq!(
        rows,
        [
            "gpu: c1 h7 0 instance=x:9400 gpu_temp=30 power_usage=113611",
            "gpu: c1 n5 0 instance=x:9400 power_usage=2500",
            "gpu:  h7 0 instance=x:9400 label_node=n5 power_usage=3500",
            r#"metric:  n5 own {"gpu":"0","node":"n5"} value=1"#,
            r#"metric:  n3 numa_free {"instance":"n3:9100","node":"0"} value=1"#,
            r#"metric:  n3 up {"instance":"n3:9100","job":"node"} value=1"#,
            r#"metric:  fe80::1 up {"instance":"[fe80::1]:9100"} value=1"#,
            r#"metric:  https://a/b up {"instance":"https://a/b"} value=1"#,
        ]
    );
    assert_eq!(tally, Tally { samples: 9, ..Tally::default() });
}

#[tokio::test]
async fn a_row_comes_in_parts() {
    let mut f = Fixture::new(100).await;
    f.begin();
    f.sample(&[("__name__", TEMPERATURE), ("gpu", "0"), ("pod", "p")], TIME, 30.0);
    assert_eq!(f.finish().0, ["gpu:   0 pod=p gpu_temp=30"]);
    f.begin();
    f.sample(&[("__name__", POWER), ("gpu", "0"), ("err", "e")], TIME, 1.5);
    assert_eq!(f.finish().0, ["gpu:   0 err=e power_usage=1500"]);
    f.begin();
    f.sample(&[("__name__", TEMPERATURE), ("gpu", "0"), ("pod", "p")], TIME, 31.0);
    f.sample(&[("__name__", POWER), ("gpu", "0"), ("err", "e")], TIME, 2.5);
    assert_eq!(f.finish().0, ["gpu:   0 err=e pod=p gpu_temp=31 power_usage=2500"]);
    // The first is as it was: it has no second attribute.
    f.begin();
    f.sample(&[("__name__", TEMPERATURE), ("gpu", "0"), ("pod", "p")], TIME, 32.0);
    assert_eq!(f.finish().0, ["gpu:   0 pod=p gpu_temp=32"]);
}

#[tokio::test]
async fn ends_of_series_are_no_rows() {
    let mut f = Fixture::new(100).await;
    f.begin();
    let stale = f64::from_bits(STALE);
    f.sample(&[("__name__", TEMPERATURE), ("gpu", "0")], TIME, stale);
    f.sample(&[("__name__", "up")], TIME, stale);
    f.sample(&[("__name__", "nan")], TIME, f64::NAN);
    f.sample(&[("__name__", POWER), ("gpu", "1")], TIME, f64::NAN);
    f.sample(&[("__name__", "DCGM_FI_OTHER")], TIME, 9_223_372_036_854_775_794.0);
    let (rows, tally) = f.finish();
    assert_eq!(rows, ["gpu:   1", "metric:   nan {} value=NaN"]);
    assert_eq!((tally.samples, tally.stale, tally.blank), (5, 2, 2));
    assert_eq!(tally.refused.total(), 0);
}

#[tokio::test]
async fn metadata_comes_before_or_after() {
    let mut f = Fixture::new(100).await;
    let series = [("__name__", "d_seconds_bucket"), ("le", "1")];
    f.begin();
    f.sample(&series, TIME, 1.0);
    f.register.metadata("d_seconds", MetricType::Histogram, "seconds");
    f.register.metadata("", MetricType::Counter, "");
    assert_eq!(f.finish().0, [r#"metric:   d_seconds_bucket {"le":"1"} value=1"#]);
    f.begin();
    f.sample(&series, TIME, 2.0);
    let told = r#"metric:   d_seconds_bucket {"le":"1"} kind=histogram unit=seconds value=2"#;
    assert_eq!(f.finish().0, [told]);
    // Another sender's other word changes nothing.
    f.begin();
    let state = f.register.families.state();
    f.register.metadata("d_seconds", MetricType::Gauge, "");
    f.register.metadata("other", MetricType::Unknown, "");
    assert_eq!(f.register.families.state(), state);
    f.register.discard();
    // Series may also tell of themselves.
    f.begin();
    let mut key = key(&[("__name__", "up")]);
    key.told(MetricType::Gauge, b"ratio");
    f.register.series(key.as_bytes());
    f.register.sample(TIME, Value::Float(1.0));
    assert_eq!(f.finish().0, ["metric:   up {} kind=gauge unit=ratio value=1"]);
}

#[tokio::test]
async fn what_is_refused_is_told_at_every_request() {
    let mut f = Fixture::new(100).await;
    for _ in 0..2 {
        f.begin();
        f.sample(&[("no", "name")], TIME, 1.0);
        f.sample(&[("__name__", "a"), ("b", "1"), ("b", "2")], TIME, 1.0);
        f.sample(&[("__name__", "c")], TIME, 1.0);
        f.sample(&[("__name__", "c")], TIME + 2_000, 1.0);
        f.sample(&[("__name__", "c")], -1, 1.0);
        f.sample(&[("__name__", TEMPERATURE), ("gpu", "0")], TIME, 99_999.0);
        let (rows, tally) = f.finish();
        assert_eq!(rows, ["metric:   c {} value=1"]);
        let refused = tally.refused;
        let counts = [Reason::Series, Reason::Time, Reason::Value].map(|r| refused.count(r));
        assert_eq!(counts, [2, 2, 1]);
        assert_eq!(
            refused.examples(),
            [
                "a series has no label __name__ (it has no=\"name\")",
                "the label \"b\" is given twice, once as \"1\"",
                "time -1 (microseconds) is before 1970",
                "gpu.gpu_temp: 99999 does not fit int16",
            ]
        );
    }
}

#[tokio::test]
async fn the_limit_is_named_and_old_series_make_room() {
    let mut f = Fixture::new(3).await;
    let names = ["a", "b", "c", "d"];
    f.begin();
    for name in names {
        f.sample(&[("__name__", name)], TIME, 1.0);
    }
    let (rows, tally) = f.finish();
    assert_eq!((rows.len(), tally.refused.count(Reason::Series)), (3, 1));
    assert!(tally.refused.examples()[0].contains("knows 3 series"), "{tally:?}");
    f.minute = 30;
    f.begin();
    f.sample(&[("__name__", "d")], TIME, 1.0);
    assert_eq!(f.finish().1.refused.count(Reason::Series), 1, "all were sent lately");
    f.minute = 61;
    f.begin();
    f.sample(&[("__name__", "d")], TIME, 1.0);
    assert_eq!(f.finish().0, ["metric:   d {} value=1"]);
}

#[tokio::test]
async fn what_is_no_longer_sent_is_forgotten() {
    let mut f = Fixture::new(usize::MAX).await;
    for round in 0..5 {
        f.minute = round * 100;
        f.begin();
        for number in 0..40_000 {
            f.sample(&[("__name__", "a"), ("n", &format!("{round}-{number}"))], TIME, 1.0);
        }
        assert_eq!(f.finish().0.len(), 40_000);
    }
    assert!(f.register.len() <= 2 * 40_000 + SPARE, "{}", f.register.len());
    assert!(f.register.metric.len() <= 2 * 40_000 + SPARE);
}

#[tokio::test]
async fn a_request_left_out_leaves_nothing() {
    let mut f = Fixture::new(100).await;
    f.begin();
    f.sample(&[("__name__", "a")], TIME, 1.0);
    f.sample(&[("__name__", TEMPERATURE), ("gpu", "0")], TIME, 30.0);
    f.sample(&[("no", "name")], TIME, 30.0);
    f.register.discard();
    f.begin();
    f.sample(&[("__name__", TEMPERATURE), ("gpu", "1")], TIME, 31.0);
    let (rows, tally) = f.finish();
    assert_eq!(rows, ["gpu:   1 gpu_temp=31"]);
    assert_eq!(tally, Tally { samples: 1, ..Tally::default() });
}

#[tokio::test]
async fn each_series_comes_out_once_however_requests_are_cut() {
    let mut f = Fixture::new(10_000).await;
    let names: Vec<String> = (0..900).map(|n| format!("m{n}")).collect();
    for (round, size) in [7_usize, 1, 250, 33].into_iter().enumerate() {
        let mut all = Vec::new();
        for part in names.chunks(size) {
            f.begin();
            for name in part {
                f.sample(&[("__name__", name)], TIME, round as f64);
            }
            all.extend(f.finish().0);
        }
        let distinct: BTreeSet<_> = all.iter().collect();
        assert_eq!((all.len(), distinct.len()), (900, 900));
    }
}

/// What cannot be taken is not remembered at its full length.
#[tokio::test]
async fn a_series_too_long_to_remember_is_refused() {
    let mut f = Fixture::new(10).await;
    let long = "x".repeat(MAX_KEY_BYTES);
    for _ in 0..2 {
        f.begin();
        f.sample(&[("__name__", "up"), ("why", &long)], TIME, 1.0);
        f.sample(&[("__name__", "up")], TIME, 2.0);
        let (rows, tally) = f.finish();
        assert_eq!((rows.len(), tally.refused.count(Reason::Series)), (1, 1));
        assert_eq!(f.register.known.len(), 1);
    }
}

/// A GPU and its instance are each as long as a label may be, and too long together.
#[tokio::test]
async fn a_name_too_long_harms_no_series_beside_it() {
    let mut f = Fixture::new(10).await;
    let (gpu, instance) = ("1".repeat(4_000), "2".repeat(4_000));
    f.begin();
    let temp = ("__name__", "DCGM_FI_DEV_GPU_TEMP");
    f.sample(&[temp, ("gpu", &gpu), ("GPU_I_ID", &instance)], TIME, 40.0);
    f.sample(&[temp, ("gpu", "0")], TIME, 41.0);
    f.sample(&[("__name__", "up")], TIME, 1.0);
    let (rows, tally) = f.finish();
    assert_eq!((rows.len(), tally.refused.count(Reason::Series)), (2, 1), "{rows:?}");
}
