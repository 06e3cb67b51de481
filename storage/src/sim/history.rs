//! One history: the lives of some processes one after the other, each with its faults and its end,
//! and then a calm in which everything must come right.

use super::actors;
use super::line::Line;
use super::load;
use super::process::{Process, Session, life};
use super::store::Remote;
use super::world::{Faults, Flaw, Outcome, World};
use crate::error::{ErrorKind, StorageError};
use crate::log::volume::{self, Volume};
use crate::machine::now;
use crate::machine::simulated::{self, below, chance, sleep};
use crate::maintenance::{MaintenanceOptions, Retention};
use crate::table::Tables;
use crate::{Storage, StorageOptions};
use futures::FutureExt;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long the calm may last.
const PATIENCE: Duration = Duration::from_hours(4);

/// Runs the history of a seed, in a world that may have a flaw.
pub(super) fn run(seed: u64, flaw: Option<Flaw>) -> Outcome {
    let outcome = simulated::run(seed, load::MIDNIGHT - 1_800 * load::SECOND, history(flaw));
    volume::unmount_all();
    outcome
}

/// How the processes of a history are set up.
#[derive(Clone)]
struct Setup {
    options: StorageOptions,
    volume: Arc<Mutex<Volume>>,
    processes: u64,
    /// Whether a process can live on after another has taken its place.
    rivals: bool,
}

async fn history(flaw: Option<Flaw>) -> Outcome {
    let world = World::new(load::drawn(), flaw);
    // A panic of a task that nobody waits for is none the less one.
    let _ = tokio::spawn(lives(world.clone())).await;
    for panic in simulated::panics() {
        world.fail(panic);
    }
    world.outcome()
}

async fn lives(world: Arc<World>) {
    let count = world.oracle.lock().producers();
    let producers: Vec<_> =
        (0..count).map(|number| tokio::spawn(actors::produce(world.clone(), number))).collect();
    tokio::spawn(actors::flush(world.clone()));
    tokio::spawn(actors::maintain(world.clone()));
    tokio::spawn(actors::read(world.clone()));
    if chance(40) {
        tokio::spawn(actors::add(world.clone()));
    }
    let mut setup = Setup::drawn(&world);
    for _ in 0..below(4) {
        *world.faults.lock() = Faults::drawn();
        let Some(session) = setup.open(&world, life()).await else { return };
        if chance(20) {
            setup.fill(&world);
        }
        let span = Duration::from_millis(below([2_000, 60_000, 900_000][below(3) as usize]));
        tokio::select! {
            biased;
            () = session.process.gone() => {}
            () = setup.stopped(&world, &session) => {}
            () = sleep(span) => {}
        }
        setup.end(&world, &session).await;
    }
    calm(&world, &mut setup, producers).await;
}

impl Setup {
    fn drawn(world: &World) -> Self {
        let pick = |all: &[u64]| all[below(all.len() as u64) as usize];
        let rivals = chance(50);
        let maintenance = MaintenanceOptions {
            background: chance(30),
            merge_memory: 0,
            file_size: pick(&[6_000, 128 << 20]),
            delete_after: Duration::from_secs(if rivals { 600 } else { pick(&[0, 60, 600]) }),
            retention: Retention { raw: Some(Duration::from_hours(24)), ..Retention::default() },
            ..MaintenanceOptions::default()
        };
        let options = StorageOptions {
            memory_budget: pick(&[20_000, 1 << 20, 1 << 30]) as usize,
            flush_bytes: pick(&[4_000, 64_000]) as usize,
            flush_interval: Duration::from_secs(pick(&[5, 60, 3_600])),
            segment_bytes: pick(&[2_048, 8_192, 65_536]),
            maintenance,
            ..StorageOptions::new(world.folder())
        };
        let mut volume = Volume::new(pick(&[512, 4_096]) as usize);
        if world.flaw == Some(Flaw::SyncsNothing) {
            volume.lie();
        }
        let volume = Arc::new(Mutex::new(volume));
        Self { options, volume, processes: 0, rivals }
    }

    /// Opens the store in a new process, and in yet another where that fails.
    async fn open(&mut self, world: &Arc<World>, mut life: u64) -> Option<Arc<Session>> {
        for attempt in 0..20 {
            if attempt == 8 {
                (*world.faults.lock(), life) = (Faults::default(), u64::MAX);
            }
            let process = Process::new(self.processes, life);
            self.processes += 1;
            world.note(format!("process {} begins", process.number));
            let opened = tokio::select! {
                biased;
                () = process.gone() => None,
                opened = self.try_open(world, &process) => Some(opened),
            };
            match opened {
                Some(Ok(storage)) => return begin(world, process, storage),
                Some(Err(error)) => {
                    world.judge("opening", &error);
                    process.die();
                }
                None => {}
            }
            if world.has_failed() {
                return None;
            }
            if chance(30) {
                self.cut(world);
            }
            sleep(Duration::from_secs(1 + below(30))).await;
        }
        world.fail("the store cannot be opened");
        None
    }

    async fn try_open(
        &self,
        world: &Arc<World>,
        process: &Arc<Process>,
    ) -> Result<Storage, StorageError> {
        let data_dir = world.folder().join(process.number.to_string());
        let (judging, of) = (world.clone(), process.clone());
        let judge = Arc::new(move |step, name: &str| of.step(&judging, step, name));
        volume::mount(&self.volume, &data_dir.join("log"), judge);
        let line = Line::new(world.clone(), process.clone());
        let store = Remote::new(world.objects.clone(), line.clone());
        let tables = Tables::simulated(store, world.tables.clone(), line);
        Storage::open_over(StorageOptions { data_dir, ..self.options.clone() }, tables).await
    }

    /// Waits until a store takes nothing any more. A table that a rival has made first stops
    /// whoever makes it after.
    async fn stopped(&self, world: &World, session: &Session) {
        loop {
            sleep(Duration::from_millis(500)).await;
            if let Some(error) = session.storage.failure() {
                world.judge("the store stopped", error);
                let text = error.to_string();
                let was_fenced = |table| text.contains(&format!("table {table}:"));
                let of_known = session.known.iter().any(was_fenced);
                if error.kind() == ErrorKind::Fenced && (of_known || !self.rivals) {
                    world.fail("a process was fenced that nothing has replaced");
                }
                return;
            }
        }
    }

    /// The end of a process: by itself, by the hand of another, or with the power.
    async fn end(&mut self, world: &Arc<World>, session: &Arc<Session>) {
        world.session.set(None);
        let number = session.process.number;
        match below(10) {
            0 | 1 if !session.process.is_gone() => {
                world.note(format!("process {number} is closed"));
                session.process.never_dies();
                if let Err(error) = session.storage.close().await {
                    world.judge("closing", &error);
                }
            }
            2..=4 if self.rivals => {
                world.note(format!("process {number} lives on without its disk"));
                session.process.detach();
                let copy = self.volume.lock().copied();
                self.volume = Arc::new(Mutex::new(copy));
                let (session, span) = (session.clone(), Duration::from_secs(below(300)));
                tokio::spawn(async move {
                    sleep(span).await;
                    session.process.die();
                    session.storage.kill();
                });
                return;
            }
            5..=7 => self.cut(world),
            _ => world.note(format!("process {number} is killed")),
        }
        session.process.die();
        session.storage.kill();
    }

    /// The disk has little room for a while.
    fn fill(&self, world: &World) {
        let room = self.options.segment_bytes * (1 + below(3)) + below(20_000);
        world.note(format!("the disk has room for {room} bytes"));
        self.volume.lock().limit(room);
        let (volume, span) = (self.volume.clone(), Duration::from_secs(below(200)));
        tokio::spawn(async move {
            sleep(span).await;
            volume.lock().limit(u64::MAX);
        });
    }

    fn cut(&self, world: &World) {
        world.note("the power goes");
        self.volume.lock().cut();
    }
}

/// The store is open: what it says to have is compared with what it must have.
fn begin(world: &World, process: Arc<Process>, storage: Storage) -> Option<Arc<Session>> {
    let count = world.oracle.lock().producers();
    let durable = |number| storage.producer(&load::producer(number)).borrow().durable;
    let durable: Vec<_> = (0..count).map(durable).collect();
    world.note(format!("process {} is open and has {durable:?}", process.number));
    if let Err(wrong) = world.oracle.lock().reopened(&durable) {
        world.fail(wrong);
        return None;
    }
    let known = storage.maintenance().tables();
    let session = Arc::new(Session { process, storage, known });
    world.session.set(Some(session.clone()));
    Some(session)
}

/// Nothing fails any more: all that producers have is stored, and stays so.
async fn calm(world: &Arc<World>, setup: &mut Setup, producers: Vec<JoinHandle<()>>) {
    *world.faults.lock() = Faults::default();
    let finished = futures::future::join_all(producers);
    let finished = finished.map(|all| all.iter().all(Result::is_ok)).boxed().shared();
    for _ in 0..4 {
        let Some(session) = setup.open(world, u64::MAX).await else { return };
        let ended = tokio::select! {
            biased;
            done = finish(world, &session, finished.clone()) => {
                if let Err(error) = done {
                    world.fail(format!("in the calm: {error}"));
                }
                true
            }
            () = setup.stopped(world, &session) => !setup.rivals,
            () = sleep(PATIENCE) => {
                world.fail("the calm does not end");
                true
            }
        };
        world.session.set(None);
        session.process.die();
        session.storage.kill();
        if ended || world.has_failed() {
            return;
        }
    }
    world.fail("the store stops again and again");
}

async fn finish(
    world: &World,
    session: &Session,
    producers: impl Future<Output = bool>,
) -> Result<(), StorageError> {
    if !producers.await {
        world.fail("a producer panicked");
    }
    while !actors::flush_once(world, session).await {
        sleep(Duration::from_secs(1)).await;
    }
    let maintenance = session.storage.maintenance();
    for _ in 0..2 {
        for table in maintenance.tables() {
            maintenance.maintain(&table, now()).await?;
        }
        actors::read_once(world, session).await?;
        session.storage.compact(|_, _| ()).await?;
    }
    actors::read_once(world, session).await?;
    session.storage.close().await
}
