//! One table: each of its files, and what they must be to each other.

use super::file::problems;
use super::{Audit, FindingKind, Opened, has_moved, keys};
use crate::error::StorageError;
use crate::rules::{Broken, check_table};
use crate::snapshot::{DataFile, Level};
use crate::store::store_error;
use crate::table::{Listed, Tables};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// Files looked at together.
const AT_ONCE: usize = 2;

impl Audit<'_> {
    /// Answers whether all files can be read.
    pub(super) async fn table(
        &mut self,
        tables: &Tables,
        opened: &Opened,
    ) -> Result<bool, StorageError> {
        self.report.tables += 1;
        let sound = self.files(tables, opened).await?;
        self.invariants(opened);
        self.coverage(opened);
        if self.quick {
            return Ok(sound);
        }
        if !sound {
            self.leave_out(format!("keys of {}: files are damaged", opened.name));
            return Ok(false);
        }
        match keys::repeat(opened).await {
            Ok(None) => {}
            Ok(Some(found)) => {
                let (one, other) = (&found.files[0].path, &found.files[1].path);
                let (identity, time) = (found.identity.join(", "), found.time);
                let text = format!("{one} and {other} both have ({identity}) at {time}");
                self.find(FindingKind::Keys, &*opened.name, text);
            }
            Err(error) => {
                let what = format!("keys of {}: {error}", opened.name);
                return self.lost(tables, opened, what, error).await.map(|()| false);
            }
        }
        Ok(true)
    }

    /// Rows could not be read to the end. Where the table has gone on meanwhile, its replaced
    /// files may be deleted: then it is nothing to report.
    pub(super) async fn lost(
        &mut self,
        tables: &Tables,
        opened: &Opened,
        what: String,
        error: StorageError,
    ) -> Result<(), StorageError> {
        if !has_moved(tables, opened).await {
            return Err(error);
        }
        self.leave_out(what);
        Ok(())
    }

    async fn files(&mut self, tables: &Tables, opened: &Opened) -> Result<bool, StorageError> {
        let sizes = sizes(tables, &opened.name).await?;
        let mut sound = true;
        let mut whole = Vec::new();
        let mut gone = Vec::new();
        for listed in &opened.listed {
            let DataFile { path, bytes, .. } = &*listed.file;
            match sizes.get(path) {
                Some(own) if own == bytes => whole.push(listed.clone()),
                Some(own) => {
                    sound = false;
                    let found = format!("it has {own} bytes, its commit says {bytes}");
                    self.find(FindingKind::Size, path.as_ref(), found);
                }
                None => gone.push(path.clone()),
            }
        }
        let (store, schema) = (tables.store(), opened.table.schema());
        let quick = self.quick;
        let looking = futures::stream::iter(whole).map(|listed: Listed| async move {
            let found = problems(store.clone(), listed.clone(), schema.clone(), quick).await;
            (listed.file, found)
        });
        let mut looking = looking.buffered(AT_ONCE);
        while let Some((file, found)) = looking.next().await {
            match found {
                Some(found) => {
                    sound &= found.is_empty();
                    for (kind, text) in found {
                        self.find(kind, file.path.as_ref(), text);
                    }
                }
                None => gone.push(file.path.clone()),
            }
            self.report.files += 1;
            self.report.rows += file.rows;
            self.report.bytes += file.bytes;
            self.read(file.bytes);
        }
        self.missing(tables, opened, &gone).await?;
        Ok(sound && gone.is_empty())
    }

    /// Files that the table has still, and that are not there.
    async fn missing(
        &mut self,
        tables: &Tables,
        opened: &Opened,
        gone: &[Path],
    ) -> Result<(), StorageError> {
        if gone.is_empty() {
            return Ok(());
        }
        let now = tables.open_table(&opened.name).await?.files();
        let there: HashSet<&Path> = now.iter().map(|file| &file.path).collect();
        for path in gone {
            if there.contains(path) {
                let found = "the table has it, and it is not in the store";
                self.find(FindingKind::Missing, path.as_ref(), found);
            } else {
                self.leave_out(format!("{path}: it was replaced and deleted meanwhile"));
            }
        }
        Ok(())
    }

    fn invariants(&mut self, opened: &Opened) {
        let (table, files) = (&opened.table, opened.table.files());
        let checks = check_table(&files, table.version(), table.deduplicated_until());
        for Broken { invariant, found } in checks {
            self.find(FindingKind::Invariant, &*opened.name, format!("{invariant}: {found}"));
        }
    }

    /// Flushes of one log cover its positions one after another, and what they have the table
    /// says it covers.
    fn coverage(&mut self, opened: &Opened) {
        let mut flushes: BTreeMap<Uuid, BTreeMap<u64, (u64, u64)>> = BTreeMap::new();
        for listed in opened.listed.iter().filter(|l| l.file.level == Level::Flush) {
            let Some((first, last)) = listed.positions else { continue };
            let DataFile { path, writer, order, .. } = &*listed.file;
            let until = opened.table.covered(*writer);
            if until.is_none_or(|until| until < last) || first > last {
                let found = format!(
                    "it has positions {first} to {last} of log {writer}, of which the table covers \
                     {until:?}"
                );
                self.find(FindingKind::Coverage, path.as_ref(), found);
            }
            flushes.entry(*writer).or_default().insert(order.version, (first, last));
        }
        for (writer, flushes) in flushes {
            let flushes: Vec<_> = flushes.into_iter().collect();
            for pair in flushes.windows(2) {
                let [(before, (_, end)), (after, (start, _))] = [pair[0], pair[1]];
                if start <= end {
                    let found = format!(
                        "version {before} has positions of log {writer} up to {end}, and version \
                         {after} has them from {start} on: rows were flushed twice"
                    );
                    self.find(FindingKind::Coverage, &*opened.name, found);
                }
            }
        }
    }
}

/// What lies in a table's folder, by path.
async fn sizes(tables: &Tables, name: &Arc<str>) -> Result<HashMap<Path, u64>, StorageError> {
    let listing = tables.store().list(Some(&Path::from(&**name)));
    let sizes = listing.map_ok(|entry| (entry.location, entry.size)).try_collect().await;
    sizes.map_err(|error| store_error(format!("{name} cannot be listed"), error))
}
