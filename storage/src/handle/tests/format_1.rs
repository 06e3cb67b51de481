//! A store that a Warpline of format 1 has written opens, answers the same and goes on.
//!
//! `testdata/format-1` is what the program of that time left when it was closed: two flushes, of
//! which the second has late rows, and a third part of the rows in the log alone. These bytes stay
//! as they are.

use super::*;
use crate::audit::{AuditOptions, audit};
use crate::maintenance::{MaintenanceOptions, Retention};
use crate::sim::rows as rows_of;
use arrow::array::Array;
use arrow::datatypes::{Decimal64Type, Float64Type};
use std::collections::BTreeMap;

/// By series and second: temperature, energy in thousandths, load.
type Rows = BTreeMap<(String, i64), (Option<i64>, Option<i64>, Option<f64>)>;

fn settings(dir: &Path) -> StorageOptions {
    let maintenance = MaintenanceOptions {
        background: false,
        retention: Retention { raw: None, ..Retention::default() },
        ..MaintenanceOptions::default()
    };
    StorageOptions { maintenance, segment_bytes: 4_096, ..options(dir) }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// What was sent then, as the program of that time was told.
fn sent() -> Rows {
    let mut rows = Rows::new();
    for second in 1..=130 {
        for series in 0..2 {
            let temp = match second {
                30 => Some(-7),
                _ => (second % 5 != 0).then_some(second % 100),
            };
            let (energy, load) = (second * 1_500 + series, second as f64 / 8.0);
            rows.insert((series.to_string(), second), (temp, Some(energy), Some(load)));
        }
    }
    rows
}

async fn answered(storage: &Storage) -> Rows {
    let snapshot = storage.snapshot();
    let mut rows = Rows::new();
    for batch in rows_of(snapshot.table("gpu").unwrap()).await.unwrap() {
        let column = |name: &str| batch.column_by_name(name).unwrap().clone();
        let times = column("time");
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let gpu = arrow::compute::cast(&column("gpu"), &arrow::datatypes::DataType::Utf8).unwrap();
        let (temp, energy, load) = (column("temp"), column("energy"), column("load"));
        let temp = temp.as_primitive::<Int16Type>();
        let energy = energy.as_primitive::<Decimal64Type>();
        let load = load.as_primitive::<Float64Type>();
        for row in 0..batch.num_rows() {
            let key = (gpu.as_string::<i32>().value(row).to_owned(), seconds(times.value(row)));
            let values = (
                temp.is_valid(row).then(|| temp.value(row).into()),
                energy.is_valid(row).then(|| energy.value(row)),
                load.is_valid(row).then(|| load.value(row)),
            );
            assert!(rows.insert(key, values).is_none(), "a key comes twice");
        }
    }
    rows
}

fn seconds(time: i64) -> i64 {
    (time - START) / SECOND
}

/// The seconds as a batch of two series, with a field that the old store does not know.
async fn go_on(storage: &Storage, sequence: u64, second: i64) {
    let series = |gpu: u8| Series {
        identity: vec!["n0".into(), gpu.to_string().into()],
        attributes: Vec::new(),
    };
    let column = |name: &str, field_type: &str| Column {
        name: name.into(),
        field_type: field_type.parse().unwrap(),
    };
    let columns = vec![column("temp", "int16"), column("clock", "int32")];
    let identity = vec!["node".into(), "gpu".into()];
    let layout = Layout::new("gpu", identity, Vec::new(), columns, (0..2).map(series).collect());
    let layout = storage.admit(&layout.unwrap()).unwrap().layout;
    let mut builder = BlockBuilder::new(layout.clone());
    for series in 0..2 {
        builder.row(series, START + second * SECOND);
        builder.set(0, Value::Int(55)).unwrap();
        builder.set(1, Value::Int(1_980)).unwrap();
    }
    let blocks = vec![Block::parse(layout, builder.finish()).unwrap()];
    storage.append(Batch { producer: producer(), sequence, blocks }).await.unwrap();
    storage.sync().await.unwrap();
}

async fn verify(dir: &Path) {
    let report = audit(&settings(dir), &AuditOptions::default(), &mut |_, _| ()).await;
    assert_eq!(report.unwrap().findings, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_format_1_opens_and_goes_on() {
    let dir = TempDir::new().unwrap();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/handle/testdata/format-1");
    copy(&kept, dir.path());
    let log = dir.path().join("store/gpu/_delta_log/00000000000000000000.json");
    let made = std::fs::read_to_string(log).unwrap();
    assert!(made.contains(r#""warpline.format":"1""#), "the fixture is of format 1");
    verify(dir.path()).await;

    let storage = Storage::open(settings(dir.path())).await.unwrap();
    assert_eq!(storage.producer(&producer()).borrow().durable, 13);
    assert_eq!(answered(&storage).await, sent());
    go_on(&storage, 13, 131).await;
    go_on(&storage, 14, 131).await;
    go_on(&storage, 15, 40).await;
    storage.flush().await.unwrap();
    let mut wanted = sent();
    for gpu in ["0", "1"] {
        wanted.insert((gpu.into(), 131), (Some(55), None, None));
        wanted.get_mut(&(gpu.to_owned(), 40)).unwrap().0 = Some(55);
    }
    assert_eq!(answered(&storage).await, wanted);
    storage.maintenance().roll_all().await.unwrap();
    storage.compact(|_, _| ()).await.unwrap();
    let snapshot = storage.snapshot();
    let table = snapshot.table("gpu").unwrap();
    assert_eq!((table.files.len(), table.tiers.len()), (1, 1));
    assert_eq!(answered(&storage).await, wanted);
    storage.close().await.unwrap();
    verify(dir.path()).await;

    let storage = Storage::open(settings(dir.path())).await.unwrap();
    assert_eq!(answered(&storage).await, wanted);
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_later_format_is_refused_and_stays_as_it_is() {
    let dir = TempDir::new().unwrap();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/handle/testdata/format-1");
    copy(&kept, dir.path());
    let log = dir.path().join("store/gpu/_delta_log/00000000000000000000.json");
    let made = std::fs::read_to_string(&log).unwrap();
    let later = made.replace(r#""warpline.format":"1""#, r#""warpline.format":"3""#);
    std::fs::write(&log, &later).unwrap();
    let error = Storage::open(settings(dir.path())).await.unwrap_err();
    assert!(error.to_string().contains("format 3") && error.to_string().contains("newer"));
    assert_eq!(std::fs::read_dir(log.parent().unwrap()).unwrap().count(), 3, "no commit was made");
}
