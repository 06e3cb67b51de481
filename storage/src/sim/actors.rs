//! Those who use a store: producers, readers, whoever flushes and maintains, another program.

use super::load::{self, COLUMNS, MIDNIGHT, Pace, SECOND, TABLES};
use super::oracle::{Rows, difference, newest};
use super::process::Session;
use super::reading::{by_key, clean_buckets, doubled, merged, parts};
use super::world::World;
use crate::error::StorageError;
use crate::handle::Acknowledged;
use crate::machine::now;
use crate::machine::simulated::{below, chance, sleep};
use crate::model::{Sequence, Timestamp};
use crate::snapshot::TableSnapshot;
use arrow::array::RecordBatch;
use std::sync::Arc;
use std::time::Duration;

/// A time that is mostly short.
async fn while_away() {
    let longest = [10, 500, 5_000, 60_000][below(4) as usize];
    sleep(Duration::from_millis(below(longest))).await;
}

/// Sends all batches of a producer, again and from where the store stands whenever it has to.
pub(super) async fn produce(world: Arc<World>, number: usize) {
    loop {
        let session = world.session().await;
        let sent = session.during(&world, send_all(&world, &session, number)).await;
        if sent == Some(true) {
            return;
        }
        while_away().await;
    }
}

async fn send_all(world: &World, session: &Session, number: usize) -> bool {
    let mut told = session.storage.producer(&load::producer(number));
    let mut next = told.borrow_and_update().durable + 1;
    if chance(30) {
        next = next.saturating_sub(below(4)).max(1);
    }
    let last = world.oracle.lock().batches(number);
    while next <= last {
        if chance(60) {
            while_away().await;
        }
        hear(world, number, *told.borrow());
        if !send(world, session, number, next).await {
            return false;
        }
        if chance(10) && !send(world, session, number, 1 + below(next)).await {
            return false;
        }
        if chance(40) && told.wait_for(|told| told.durable >= next).await.is_err() {
            return false;
        }
        next += 1;
    }
    let Ok(all) = told.wait_for(|told| told.durable >= last).await else { return false };
    hear(world, number, *all);
    true
}

fn hear(world: &World, number: usize, told: Acknowledged) {
    let heard = world.oracle.lock().told(number, told);
    heard.unwrap_or_else(|wrong| world.fail(wrong));
}

async fn send(world: &World, session: &Session, number: usize, sequence: Sequence) -> bool {
    let load = world.oracle.lock().load(number, sequence);
    let sent = load::send(&session.storage, number, sequence, &load).await;
    if let Err(error) = sent {
        world.judge("a batch", &error);
        while_away().await;
        return false;
    }
    world.oracle.lock().sent(number, sequence);
    world.note(format!("producer {number} sends {sequence}"));
    true
}

/// What each producer has been told.
fn told(world: &World, session: &Session) -> Vec<Acknowledged> {
    let count = world.oracle.lock().producers();
    let told = |number| *session.storage.producer(&load::producer(number)).borrow();
    (0..count).map(told).collect()
}

pub(super) async fn flush(world: Arc<World>) {
    loop {
        let session = world.session().await;
        while_away().await;
        let _ = session.during(&world, flush_once(&world, &session)).await;
    }
}

/// Whether everything that was durable is stored.
pub(super) async fn flush_once(world: &World, session: &Session) -> bool {
    let before = told(world, session);
    let flushed = session.storage.flush().await;
    world.note(format!("flush: {}", flushed.is_ok()));
    if let Err(error) = flushed {
        world.judge("a flush", &error);
        return false;
    }
    for (number, (before, after)) in before.into_iter().zip(told(world, session)).enumerate() {
        if after.stored < before.durable {
            world.fail(format!(
                "before a flush producer {number} was told {before:?}, after it {after:?}"
            ));
        }
        hear(world, number, after);
    }
    true
}

pub(super) async fn maintain(world: Arc<World>) {
    loop {
        let session = world.session().await;
        while_away().await;
        if chance(20) {
            sleep(Duration::from_secs(700)).await;
        }
        let work = session.during(&world, maintain_once(&session));
        if let Some(Err(error)) = work.await {
            world.judge("maintenance", &error);
        }
    }
}

async fn maintain_once(session: &Session) -> Result<(), StorageError> {
    let maintenance = session.storage.maintenance();
    let tables = maintenance.tables();
    let Some(table) = tables.get(below(tables.len().max(1) as u64) as usize) else {
        return Ok(());
    };
    match below(7) {
        0 | 1 => maintenance.maintain(table, now()).await,
        2 => maintenance.merge_all(table, |_| ()).await,
        3 => maintenance.roll_all().await,
        // As of the day on which the first rows are kept no longer.
        4 if chance(30) => maintenance.maintain(table, MIDNIGHT + 90_000 * SECOND).await,
        5 => maintenance.delete_orphans(table).await.map(|_| ()),
        6 => session.storage.compact(|_, _| ()).await,
        _ => Ok(()),
    }
}

/// Another program, which adds a row now and then.
pub(super) async fn add(world: Arc<World>) {
    for number in 0.. {
        sleep(Duration::from_secs(1 + below(200))).await;
        let pace = Pace::alone(number * 7);
        let rows = |schema| (pace.date(), pace.batch(schema));
        let direct = world.objects.direct();
        if let Some(version) = world.tables.add_foreign(TABLES[0], direct, rows).await {
            world.note(format!("another program makes version {version}"));
            world.oracle.lock().added(version, pace);
        }
    }
}

/// A reader's snapshot and what it must hold for as long as the reader has it.
struct Pinned {
    tables: Vec<PinnedTable>,
}

struct PinnedTable {
    table: Arc<TableSnapshot>,
    rows: Rows,
    /// Those that are said to be stored.
    stored: Rows,
    kept_from: Timestamp,
}

pub(super) async fn read(world: Arc<World>) {
    loop {
        let session = world.session().await;
        let reading = async {
            let mut pinned: Vec<Pinned> = Vec::new();
            loop {
                while_away().await;
                pinned.push(pin(&world, &session));
                let chosen = below(pinned.len() as u64) as usize;
                for reader in [&pinned[chosen], &pinned[pinned.len() - 1]] {
                    if let Err(error) = check(&world, reader).await {
                        world.judge("a reader", &error);
                    }
                }
                if pinned.len() > 3 {
                    pinned.swap_remove(chosen);
                }
            }
        };
        let _: Option<()> = session.during(&world, reading).await;
    }
}

/// A check of what is there now.
pub(super) async fn read_once(world: &World, session: &Session) -> Result<(), StorageError> {
    check(world, &pin(world, session)).await
}

fn pin(world: &World, session: &Session) -> Pinned {
    let snapshot = session.storage.snapshot();
    let told = told(world, session);
    let (durable, stored): (Vec<_>, Vec<_>) =
        told.into_iter().map(|told| (told.durable, told.stored)).unzip();
    let oracle = world.oracle.lock();
    let mut tables = Vec::new();
    for name in TABLES {
        let version = snapshot.table(name).map_or(0, |table| table.version);
        let files = session.storage.maintenance().stored(name);
        let kept_from = files.map_or(Timestamp::MIN, |(_, stored)| stored.kept_from);
        let kept = |sequences: &[Sequence]| {
            let mut rows = oracle.rows(name, sequences, version);
            rows.retain(|(_, time), _| *time >= kept_from);
            rows
        };
        let (rows, stored) = (kept(&durable), kept(&stored));
        match snapshot.table(name).cloned() {
            Some(table) => tables.push(PinnedTable { table, rows, stored, kept_from }),
            None if rows.is_empty() => {}
            None => world.fail(format!("table {name} is gone")),
        }
    }
    Pinned { tables }
}

async fn check(world: &World, pinned: &Pinned) -> Result<(), StorageError> {
    for pinned in &pinned.tables {
        let table = &pinned.table;
        let parts = parts(table).await?;
        let latest: Vec<_> = table.latest(&[]).await?.batches((0..COLUMNS).collect()).collect();
        let raw = merged(&table.schema, parts.clone())?;
        if let Err(wrong) = pinned.compare(&parts, &raw, &latest) {
            let (name, version) = (&table.schema.table, table.version);
            world.fail(format!("{name} at version {version}: {wrong}"));
        }
        let mut buckets = 0;
        for tier in &table.tiers {
            match clean_buckets(&table.schema, &raw, tier, pinned.kept_from).await? {
                Ok(compared) => buckets += compared,
                Err(wrong) => world.fail(wrong),
            }
        }
        world.compared(buckets as u64);
    }
    Ok(())
}

impl PinnedTable {
    fn compare(
        &self,
        parts: &[Vec<RecordBatch>],
        raw: &[RecordBatch],
        latest: &[RecordBatch],
    ) -> Result<(), String> {
        doubled(&self.table, parts)?;
        let equal = |is: &[RecordBatch], should: &Rows| {
            let mut rows = by_key(is)?;
            rows.retain(|(_, time), _| *time >= self.kept_from);
            difference(&rows, should).map_or(Ok(()), Err)
        };
        equal(raw, &self.rows)?;
        equal(latest, &newest(&self.rows))?;
        let (_, files) = parts.split_last().expect("the buffer is a part");
        let mut in_files = Rows::new();
        for file in files {
            in_files.extend(by_key(file)?);
        }
        let lacking = self.stored.keys().find(|key| !in_files.contains_key(*key));
        lacking.map_or(Ok(()), |key| Err(format!("{key:?} is said to be stored and is not")))
    }
}
