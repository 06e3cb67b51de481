//! Copies of a store at one moment, and stores made of them.
//!
//! ```text
//! <target>/store/<table>/...          the tables, which any Delta reader opens where they are
//! <target>/log-<id>/<segment>         the write-ahead log, where no server was writing it
//! <target>/warpline-backup.json       what belongs to the backup, written last
//! ```
//! Promises: what the manifest names is one version of each table, whole, and rollups are never
//! newer than what they were made from; a backup without a manifest is not restored; what is
//! restored is what was copied, by size and checksum.
//!
//! A table's log is copied as it is, from its newest checkpoint on: versions are told in the tags
//! of files and in the marks of rollups, so a copy must keep them.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod make;
mod manifest;
mod restore;
mod select;
#[cfg(test)]
mod tests;

pub use make::{BackupReport, backup};
pub use manifest::BackedUpTable;
pub use restore::{RestoreReport, restore};

use crate::error::{ErrorKind, StorageError};
use crate::store::store_error;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::collections::HashMap;
use url::Url;

/// Where a backup lies: a URL and options as a store has them.
#[derive(Clone, Debug)]
pub struct BackupPlace {
    pub url: Url,
    pub options: HashMap<String, String>,
}

/// Hears how many bytes were gone through, of how many that are known so far.
type Progress<'a> = &'a mut (dyn FnMut(u64, u64) + Send);

const MANIFEST: &str = "warpline-backup.json";
/// The folder of the tables in a backup.
const STORE: &str = "store";

fn path(text: &str) -> Result<Path, StorageError> {
    Path::parse(text).map_err(|error| {
        StorageError::because(ErrorKind::Corrupt, format!("{text:?} is no path"), error)
    })
}

/// A whole object; `None` where there is none.
async fn read(store: &dyn ObjectStore, path: &Path) -> Result<Option<bytes::Bytes>, StorageError> {
    let failed = |error| store_error(format!("{path} cannot be read"), error);
    match store.get(path).await {
        Ok(found) => found.bytes().await.map(Some).map_err(failed),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}
