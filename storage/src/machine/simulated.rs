//! A machine of one thread whose every chance comes from a seed.
//!
//! Time stands still while any task can run, and jumps to the next sleeper when none can: so a
//! second costs nothing, and two runs of one seed are the same to the last step.

use crate::error::StorageError;
use crate::model::Timestamp;
use futures::FutureExt;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Once;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use uuid::Uuid;

#[derive(Debug)]
struct Machine {
    chance: u64,
    began: Timestamp,
    now: Duration,
    /// By the time they wake and the order in which they lay down.
    sleepers: BTreeMap<(Duration, u64), Waker>,
    slept: u64,
    /// How deep in blocking work the thread is.
    blocked: u32,
    /// What tasks have panicked with.
    panics: Vec<String>,
}

static HOOK: Once = Once::new();

thread_local! {
    static MACHINE: RefCell<Option<Machine>> = const { RefCell::new(None) };
}

fn with<T>(ask: impl FnOnce(&mut Machine) -> T) -> Option<T> {
    MACHINE.with_borrow_mut(|machine| machine.as_mut().map(ask))
}

/// Runs a future to its end on a machine of its own, which began at `began`. Whatever the future
/// has spawned is dropped at its end.
pub(crate) fn run<T: Send + 'static>(
    seed: u64,
    began: Timestamp,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    HOOK.call_once(note_panics);
    let (now, sleepers, slept, blocked, panics) = Default::default();
    let machine = Machine { chance: seed, began, now, sleepers, slept, blocked, panics };
    MACHINE.set(Some(machine));
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.on_thread_park(wake_next).build().expect("a runtime");
    let ended = runtime.block_on(async { tokio::spawn(work).await });
    drop(runtime);
    MACHINE.set(None);
    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn note_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        MACHINE.with(|machine| {
            if let Ok(mut machine) = machine.try_borrow_mut()
                && let Some(machine) = machine.as_mut()
            {
                machine.panics.push(panic.to_string());
            }
        });
        before(panic);
    }));
}

/// What tasks have panicked with so far.
pub(crate) fn panics() -> Vec<String> {
    with(|machine| std::mem::take(&mut machine.panics)).unwrap_or_default()
}

/// Nothing can run: time goes on to whoever wakes next.
fn wake_next() {
    let next = with(|machine| {
        let ((now, _), waker) = machine.sleepers.pop_first()?;
        machine.now = now;
        Some(waker)
    });
    if let Some(waker) = next.flatten() {
        waker.wake();
    }
}

pub(crate) fn is_on() -> bool {
    with(|_| ()).is_some()
}

pub(crate) fn now() -> Option<Timestamp> {
    with(|machine| machine.began + machine.now.as_micros() as Timestamp)
}

pub(crate) fn uptime() -> Option<Duration> {
    with(|machine| machine.now)
}

pub(crate) fn new_id() -> Option<Uuid> {
    with(|machine| {
        let halves = [machine.random(), machine.random()];
        Uuid::from_u64_pair(halves[0], halves[1])
    })
}

/// A number below `end`, which is not 0.
pub(crate) fn below(end: u64) -> u64 {
    with(Machine::random).expect("a simulated machine") % end
}

/// Whether a thing happens that happens `percent` times of a hundred.
pub(crate) fn chance(percent: u64) -> bool {
    below(100) < percent
}

/// A moment that other tasks may use, mostly a short one.
pub(crate) async fn moment() {
    let longest = [1, 1_000, 20_000, 400_000][below(4) as usize];
    sleep(Duration::from_micros(below(longest))).await;
}

/// Whether the thread is in blocking work, in which nobody can be waited for.
pub(crate) fn is_blocked() -> bool {
    with(|machine| machine.blocked > 0).unwrap_or(false)
}

pub(super) async fn blocking<T>(
    work: impl FnOnce() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    moment().await;
    with(|machine| machine.blocked += 1);
    let done = work();
    with(|machine| machine.blocked -= 1);
    moment().await;
    done
}

pub(super) fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing that blocking work asks for waits")
}

/// Lets so much time pass.
pub(crate) fn sleep(time: Duration) -> Sleep {
    Sleep { place: None, time }
}

#[derive(Debug)]
pub(crate) struct Sleep {
    time: Duration,
    place: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let polled = with(|machine| {
            let Some(place) = self.place else {
                machine.slept += 1;
                let place = (machine.now + self.time, machine.slept);
                machine.sleepers.insert(place, context.waker().clone());
                self.place = Some(place);
                return Poll::Pending;
            };
            let Some(waker) = machine.sleepers.get_mut(&place) else { return Poll::Ready(()) };
            waker.clone_from(context.waker());
            Poll::Pending
        });
        polled.unwrap_or(Poll::Ready(()))
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            with(|machine| machine.sleepers.remove(&place));
        }
    }
}

impl Machine {
    /// The next number of splitmix64.
    fn random(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
