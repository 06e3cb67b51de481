//! Real inputs for tests: not in the repository, in the folder that `WARPLINE_TEST_DATA` names.

use std::path::PathBuf;

/// A folder of the test data; `None`, said on stderr, where it is absent.
pub(crate) fn folder(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("WARPLINE_TEST_DATA").map(PathBuf::from);
    let folder = root.map(|root| root.join(name)).filter(|folder| folder.is_dir());
    if folder.is_none() {
        eprintln!("skipped: no folder {name} (set WARPLINE_TEST_DATA)");
    }
    folder
}
