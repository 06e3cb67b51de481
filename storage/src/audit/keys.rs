//! Whether monotone files of one writer have a key in common, which they must not: statements read
//! them without resolving writes.
//!
//! Only key columns are read. Days of more files than can be open at once are looked at by halves
//! of the day, down to a minute.

use super::Opened;
use crate::error::{ErrorKind, StorageError};
use crate::merge::{Merge, Repeat, Wanted};
use crate::model::{TableSchema, Timestamp};
use crate::rules::FOREIGN;
use crate::snapshot::{DataFile, FileKind, TimeRange};
use std::collections::BTreeMap;
use std::sync::Arc;

const OPEN_FILES: usize = 64;
const NO_LESS: i64 = 60_000_000;

/// A key that two files have.
pub(super) struct Common {
    pub(super) files: [Arc<DataFile>; 2],
    pub(super) identity: Vec<String>,
    pub(super) time: Timestamp,
}

/// The first key that was found in two monotone files of one writer.
pub(super) async fn repeat(opened: &Opened) -> Result<Option<Common>, StorageError> {
    let mut days: BTreeMap<_, Vec<Arc<DataFile>>> = BTreeMap::new();
    for file in opened.table.files().iter() {
        if file.kind == FileKind::Monotone && file.order.version != FOREIGN {
            days.entry((file.date, file.writer)).or_default().push(file.clone());
        }
    }
    let schema = TableSchema {
        attributes: Vec::new(),
        fields: Vec::new(),
        ..(**opened.table.schema()).clone()
    };
    let schema = Arc::new(schema);
    for files in days.into_values() {
        let mut parts = vec![files];
        while let Some(files) = parts.pop() {
            if let Some(halves) = halves(&files) {
                parts.extend(halves);
            } else if let Some(found) = repeat_of(opened, &schema, files).await? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// The files of the earlier and of the later half of their time, where they are too many.
fn halves(files: &[Arc<DataFile>]) -> Option<[Vec<Arc<DataFile>>; 2]> {
    let span = files.iter().map(|file| file.times).reduce(TimeRange::span)?;
    if files.len() <= OPEN_FILES || span.last - span.first < NO_LESS {
        return None;
    }
    let middle = span.first + (span.last - span.first) / 2;
    let of = |range: TimeRange| {
        files.iter().filter(|file| file.times.meets(range)).cloned().collect::<Vec<_>>()
    };
    let halves =
        [of(TimeRange { last: middle, ..span }), of(TimeRange { first: middle + 1, ..span })];
    // Files that all span the middle are not fewer in a half.
    halves.iter().all(|half| half.len() < files.len()).then_some(halves)
}

async fn repeat_of(
    opened: &Opened,
    schema: &Arc<TableSchema>,
    files: Vec<Arc<DataFile>>,
) -> Result<Option<Common>, StorageError> {
    if files.len() < 2 {
        return Ok(None);
    }
    let writer = opened.table.writer();
    let all = [TimeRange::ALL];
    let mut merge =
        Merge::of_files(writer.store(), schema, &files, Wanted::New, Vec::new(), &all).await?;
    let merging = tokio::task::spawn_blocking(move || {
        while merge.repeat().is_none()
            && let Some(batch) = merge.next()
        {
            batch?;
        }
        Ok(merge.repeat().cloned())
    });
    let repeat: Result<Option<Repeat>, StorageError> = merging
        .await
        .map_err(|e| StorageError::because(ErrorKind::Internal, "keys were not compared", e))?;
    Ok(repeat?.map(|Repeat { sources, identity, time }| Common {
        files: [files[sources[0]].clone(), files[sources[1]].clone()],
        identity,
        time,
    }))
}
