//! Holds one data file against what its table's log says of it.
//!
//! Pages carry no checksums of their own. Files written since there is `warpline.crc32c` are
//! verified by it, byte by byte; of older ones decoding every page is all that can be done, which
//! does not notice every changed value.

use super::FindingKind;
use super::bounds::false_claims;
use crate::error::StorageError;
use crate::model::TableSchema;
use crate::rules::FOREIGN;
use crate::store::store_error;
use crate::table::{Groups, Listed, Seen};
use futures::TryStreamExt;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use std::sync::Arc;

/// Something wrong with the file.
pub(super) type Problem = (FindingKind, String);

/// What is wrong with a file that was there and had the right size; `None` where it was deleted
/// since.
pub(super) async fn problems(
    store: Arc<dyn ObjectStore>,
    listed: Listed,
    schema: Arc<TableSchema>,
    quick: bool,
) -> Option<Vec<Problem>> {
    let path = listed.file.path.clone();
    // Decoders meet bytes that nobody meant: one that panics says the same as one that fails.
    let from = store.clone();
    let work = tokio::spawn(async move { look(&from, &listed, &schema, quick).await });
    let why = match work.await {
        Ok(Ok(problems)) => return Some(problems),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => format!("{path} cannot be decoded: {panic}"),
    };
    match store.head(&path).await {
        Err(Error::NotFound { .. }) => None,
        _ => Some(vec![(FindingKind::Unreadable, why)]),
    }
}

async fn look(
    store: &Arc<dyn ObjectStore>,
    listed: &Listed,
    schema: &Arc<TableSchema>,
    quick: bool,
) -> Result<Vec<Problem>, StorageError> {
    if let Some(checksum) = listed.checksum.filter(|_| !quick) {
        let own = checksum_of(store, listed).await?;
        if own != checksum {
            let found = format!("its CRC-32C is {own:08x}, it was written with {checksum:08x}");
            return Ok(vec![(FindingKind::Checksum, found)]);
        }
    }
    let groups = Groups::open(store.clone(), listed.file.clone(), schema.clone()).await?;
    let rows = groups.footer().file_metadata().num_rows();
    if rows != listed.file.rows.cast_signed() {
        let found = format!("the log says {} rows, the footer {rows}", listed.file.rows);
        return Ok(vec![(FindingKind::Statistics, found)]);
    }
    if quick { Ok(Vec::new()) } else { look_at_rows(listed, schema, &groups).await }
}

async fn checksum_of(store: &Arc<dyn ObjectStore>, listed: &Listed) -> Result<u32, StorageError> {
    let path = &listed.file.path;
    let failed = |error| store_error(format!("{path} cannot be read"), error);
    let mut bytes = store.get(path).await.map_err(failed)?.into_stream();
    let mut checksum = 0;
    while let Some(bytes) = bytes.try_next().await.map_err(failed)? {
        checksum = crc32c::crc32c_append(checksum, &bytes);
    }
    Ok(checksum)
}

async fn look_at_rows(
    listed: &Listed,
    schema: &TableSchema,
    groups: &Groups,
) -> Result<Vec<Problem>, StorageError> {
    // Of a file of another program nothing is promised but its rows.
    let ours = listed.file.order.version != FOREIGN;
    let mut problems = Vec::new();
    let mut seen = Some(Seen::new(schema));
    for group in 0..groups.footer().num_row_groups() {
        let batches = groups.read(group).await?;
        if !ours {
            continue;
        }
        problems.extend(false_claims(groups.footer(), group, schema, &batches)?);
        for batch in &batches {
            let Some(order) = &mut seen else { break };
            if let Err(error) = order.add(batch) {
                problems.push((FindingKind::Order, error.to_string()));
                seen = None;
            }
        }
    }
    if ours
        && listed.file.rows > 0
        && let Some(seen) = seen
        && let Some(found) = seen.contents().contradicts(&listed.statistics)
    {
        problems.push((FindingKind::Statistics, found));
    }
    Ok(problems)
}
