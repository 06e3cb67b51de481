//! Rollups over random histories of a real store: what a snapshot says a tier has is what its raw
//! rows reduce to; and days go when their time is up.

use super::*;
use crate::audit::{AuditOptions, audit};
use crate::model::{Batch, Block, BlockBuilder, Column, Layout, ProducerId, Series};
use crate::sim::{clean_buckets, rows};
use crate::snapshot::{TableSnapshot, TierSnapshot};
use crate::{Storage, StorageOptions};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::path::Path as FilePath;
use std::sync::LazyLock;
use std::sync::atomic::AtomicUsize;
use tempfile::TempDir;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Two and a quarter hours before this day began: days that are kept a day are not over yet.
static START: LazyLock<i64> = LazyLock::new(|| now().div_euclid(DAY) * DAY - 8_100 * SECOND);

/// Rows of one series at a steady pace.
#[derive(Clone, Debug)]
struct Pace {
    gpu: u8,
    job: u8,
    first: i64,
    rows: i64,
    /// Seconds from row to row.
    step: i64,
    value: i64,
    absent: i64,
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Pace>),
    Flush,
    Roll,
    /// What is due by itself, hours that are over included.
    Maintain,
    Compact,
    Restart,
    Expire,
}

fn pace() -> impl Strategy<Value = Pace> {
    (0..2_u8, 0..3_u8, 0..12_000_i64, 30..2_000_i64, 1..3_i64, any::<i16>(), 1..7_i64).prop_map(
        |(gpu, job, first, rows, step, value, absent)| Pace {
            gpu,
            job,
            first,
            rows,
            step,
            value: value.into(),
            absent,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop::collection::vec(pace(), 1..4).prop_map(Step::Append),
        4 => Just(Step::Flush),
        3 => Just(Step::Roll),
        3 => Just(Step::Maintain),
        1 => Just(Step::Compact),
        1 => Just(Step::Restart),
        1 => Just(Step::Expire),
    ];
    prop::collection::vec(step, 1..14)
}

fn layout(pace: &Pace) -> Layout {
    let column = |name: &str, field_type: &str| Column {
        name: name.into(),
        field_type: field_type.parse().unwrap(),
    };
    let series = Series {
        identity: vec!["n".into(), pace.gpu.to_string().into()],
        attributes: vec![if pace.job == 0 { "" } else { "job" }.into()],
    };
    let columns = vec![column("temp", "int16"), column("energy", "decimal(15,3)")];
    let identity = vec!["node".into(), "gpu".into()];
    Layout::new("gpu", identity, vec!["job".into()], columns, vec![series]).unwrap()
}

fn block(storage: &Storage, pace: &Pace) -> Block {
    let layout = storage.admit(&layout(pace)).unwrap().layout;
    let mut builder = BlockBuilder::new(layout.clone());
    for row in 0..pace.rows {
        builder.row(0, *START + (pace.first + row * pace.step) * SECOND);
        if row % pace.absent != 1 {
            builder.set_stored(0, (pace.value + row) % 1_000);
        }
        builder.set_stored(1, pace.value * 7 + row * 11);
    }
    Block::parse(layout, builder.finish()).unwrap()
}

async fn append(storage: &Storage, sequence: u64, paces: &[Pace]) {
    let producer = ProducerId::new("p").unwrap();
    let blocks = paces.iter().map(|pace| block(storage, pace)).collect();
    storage.append(Batch { producer, sequence, blocks }).await.unwrap();
    storage.sync().await.unwrap();
}

async fn open(dir: &FilePath) -> Storage {
    let maintenance = MaintenanceOptions {
        background: false,
        merge_memory: 0,
        retention: Retention { raw: Some(Duration::from_hours(24)), ..Retention::default() },
        ..MaintenanceOptions::default()
    };
    Storage::open(StorageOptions { maintenance, ..StorageOptions::new(dir) }).await.unwrap()
}

static COMPARED: AtomicUsize = AtomicUsize::new(0);

async fn check_tier(
    raw: &TableSnapshot,
    tier: &TierSnapshot,
    kept_from: i64,
) -> Result<(), TestCaseError> {
    let raw_rows = rows(raw).await.unwrap();
    let compared = clean_buckets(&raw.schema, &raw_rows, tier, kept_from).await.unwrap();
    COMPARED.fetch_add(compared.map_err(TestCaseError::fail)?, Relaxed);
    Ok(())
}

async fn check(storage: &Storage, kept_from: i64) -> Result<(), TestCaseError> {
    let snapshot = storage.snapshot();
    let Some(raw) = snapshot.table("gpu") else { return Ok(()) };
    for tier in &raw.tiers {
        check_tier(raw, tier, kept_from).await?;
    }
    Ok(())
}

async fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let dir = TempDir::new().unwrap();
    let mut storage = open(dir.path()).await;
    let mut kept_from = i64::MIN;
    for (step, sequence) in steps.into_iter().zip(1..) {
        match step {
            Step::Append(paces) => append(&storage, sequence, &paces).await,
            Step::Flush => storage.flush().await.unwrap(),
            Step::Roll => storage.maintenance().roll_all().await.unwrap(),
            Step::Maintain => {
                for table in storage.maintenance().tables() {
                    storage.maintenance().maintain(&table, *START + DAY / 6).await.unwrap();
                }
            }
            Step::Compact => storage.compact(|_, _| ()).await.unwrap(),
            Step::Restart => {
                storage.close().await.unwrap();
                storage = open(dir.path()).await;
            }
            Step::Expire => {
                let end_of_first = START.div_euclid(DAY) * DAY + DAY;
                let now = end_of_first + DAY;
                storage.maintenance().expire(&"gpu".into(), now).await.unwrap();
                let raw = storage.maintenance().stored("gpu").map(|(_, stored)| stored.kept_from);
                kept_from = raw.unwrap_or(kept_from).max(kept_from);
            }
        }
        check(&storage, kept_from).await?;
    }
    storage.flush().await.unwrap();
    storage.maintenance().roll_all().await.unwrap();
    check(&storage, kept_from).await?;
    verify(dir.path()).await?;
    storage.close().await.unwrap();
    verify(dir.path()).await
}

/// Nothing is found in a healthy store, its server on or off.
async fn verify(dir: &FilePath) -> Result<(), TestCaseError> {
    let report = audit(&StorageOptions::new(dir), &AuditOptions::default(), &mut |_, _| ()).await;
    prop_assert_eq!(report.unwrap().findings, Vec::new());
    Ok(())
}

#[test]
fn tiers_are_what_raw_rows_reduce_to() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config { cases: 24, ..Config::default() });
    runner.run(&steps(), |steps| runtime.block_on(run(steps))).unwrap();
    let compared = COMPARED.load(Relaxed);
    assert!(compared > 1_000, "only {compared} rows of tiers were compared");
}
