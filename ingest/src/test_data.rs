//! Real inputs for tests: not in the repository, found by `WARPLINE_TEST_DATA` or beside it.

use std::path::{Path, PathBuf};

/// A folder of the test data; `None`, said on stderr, where it is absent.
pub(crate) fn folder(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let root = std::env::var_os("WARPLINE_TEST_DATA").map_or(beside, PathBuf::from);
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no {} (set WARPLINE_TEST_DATA)", folder.display());
    None
}
