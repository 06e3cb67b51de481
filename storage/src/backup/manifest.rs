//! What a backup consists of.

use super::MANIFEST;
use crate::error::{ErrorKind, StorageError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const FORMAT: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    /// The version of Warpline that made it.
    pub(super) warpline: String,
    /// When, in RFC 3339.
    pub(super) made: String,
    pub(super) tables: Vec<BackedUpTable>,
    /// The log's incarnation, where the log was copied.
    pub(super) log: Option<Uuid>,
    pub(super) files: Vec<Entry>,
    /// CRC-32C of the manifest with a 0 in this place, as compact JSON.
    pub(super) checksum: u32,
}

/// A table of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUpTable {
    pub name: String,
    /// What tells the table from others of its name.
    pub id: String,
    pub version: u64,
    pub files: u64,
    pub rows: u64,
    /// Up to which position the table has the rows of the server's log.
    pub covered: u64,
    /// The greatest time of its rows, in microseconds since 1970.
    pub until: Option<i64>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// From the backup's root.
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) crc32c: u32,
    /// Without it its table, or the log, cannot be read: restored last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) head: bool,
}

impl Manifest {
    pub(super) fn new(tables: Vec<BackedUpTable>, log: Option<Uuid>, files: Vec<Entry>) -> Self {
        Self {
            format: FORMAT,
            warpline: env!("CARGO_PKG_VERSION").to_owned(),
            made: chrono::Utc::now().to_rfc3339(),
            tables,
            log,
            files,
            checksum: 0,
        }
    }

    pub(super) fn encode(mut self) -> Result<Vec<u8>, StorageError> {
        self.checksum = 0;
        self.checksum = crc32c::crc32c(&serde_json::to_vec(&self).map_err(unwritten)?);
        serde_json::to_vec_pretty(&self).map_err(unwritten)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let broken = |why: &dyn std::fmt::Display| {
            StorageError::corrupt(format!(
                "{MANIFEST} is damaged ({why}): the backup cannot be trusted. Take another one"
            ))
        };
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| broken(&e))?;
        if value["format"].as_u64().is_some_and(|format| format > u64::from(FORMAT)) {
            return Err(StorageError::rejected(format!(
                "the backup is in format {}, this program knows formats up to {FORMAT}: use a \
                 newer one",
                value["format"]
            )));
        }
        let mut manifest: Self = serde_json::from_value(value).map_err(|e| broken(&e))?;
        let said = std::mem::take(&mut manifest.checksum);
        let own = crc32c::crc32c(&serde_json::to_vec(&manifest).map_err(unwritten)?);
        if said != own {
            return Err(broken(&"its checksum does not match"));
        }
        manifest.checksum = said;
        Ok(manifest)
    }
}

fn unwritten(error: serde_json::Error) -> StorageError {
    StorageError::because(ErrorKind::Internal, "a manifest cannot be written", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let entry = Entry { path: "store/a".into(), bytes: 7, crc32c: 9, head: true };
        Manifest::new(Vec::new(), Some(Uuid::from_u128(1)), vec![entry])
    }

    #[test]
    fn a_manifest_comes_back() {
        let bytes = manifest().encode().unwrap();
        let back = Manifest::decode(&bytes).unwrap();
        assert_eq!((back.files, back.log), (manifest().files, manifest().log));
    }

    #[test]
    fn a_changed_manifest_is_refused() {
        let bytes = manifest().encode().unwrap();
        let mut text = String::from_utf8(bytes.clone()).unwrap();
        text = text.replace("\"bytes\": 7", "\"bytes\": 8");
        assert_eq!(Manifest::decode(text.as_bytes()).unwrap_err().kind(), ErrorKind::Corrupt);
        let cut = &bytes[..bytes.len() - 5];
        assert_eq!(Manifest::decode(cut).unwrap_err().kind(), ErrorKind::Corrupt);
        let newer = String::from_utf8(bytes).unwrap().replace("\"format\": 1", "\"format\": 2");
        let error = Manifest::decode(newer.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    }
}
