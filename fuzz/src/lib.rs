//! What the targets have in common: a bound on memory, a folder and a store to decode into.

#[path = "../../tests/hostile/bounded.rs"]
mod bounded;

use std::path::Path;
use std::sync::{LazyLock, Mutex};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use warpline_storage::{Limits, Storage, StorageOptions};

/// Inputs after which a store is replaced: tables and series come with each.
const INPUTS: usize = 4_096;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

static HOME: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a folder"));
static STORE: Mutex<Option<Store>> = Mutex::new(None);

struct Store {
    storage: Storage,
    inputs: usize,
    _home: TempDir,
}

/// Runs a decoder over an input, which bounds the memory that it may take.
pub fn bounded<T>(input: &[u8], decode: impl FnOnce(&[u8]) -> T) -> T {
    bounded::bounded(input, decode)
}

/// A folder that the decoder has for itself.
pub fn with_folder<T>(work: impl FnOnce(&Path) -> T) -> T {
    work(HOME.path())
}

/// A store that few inputs before this one have met.
pub fn with_store<T>(work: impl FnOnce(&Storage) -> T) -> T {
    let mut held = STORE.lock().expect("a target that failed has ended");
    let store = match held.take() {
        Some(store) if store.inputs < INPUTS => held.insert(store),
        _ => held.insert(open()),
    };
    store.inputs += 1;
    work(&store.storage)
}

fn open() -> Store {
    let home = TempDir::new().expect("a folder");
    let limits = Limits { tables: 200, columns: 500, series: 20_000 };
    let mut options = StorageOptions::new(home.path());
    options.limits = limits;
    options.segment_bytes = 1 << 16;
    options.maintenance.retention.raw = None;
    let storage = RUNTIME.block_on(Storage::open(options)).expect("an empty store opens");
    Store { storage, inputs: 0, _home: home }
}

impl Drop for Store {
    fn drop(&mut self) {
        RUNTIME.block_on(self.storage.close()).expect("nothing was written");
    }
}
