//! Makes a backup, or brings one up to date.
//!
//! ```text
//! family   rollups and then their table are pinned at their newest versions
//! copy     data files first, then the logs that name them; what is at the target already stays
//! again    where a file was deleted meanwhile, the family from its newest versions, some times
//! log      where no server writes it, whole segments, up to their last group
//! finish   the manifest, and then what it does not name goes, where there was one before
//! ```

use super::manifest::{BackedUpTable, Entry, Manifest};
use super::select::select;
use super::{BackupPlace, MANIFEST, Progress, STORE, path, read};
use crate::audit::{Family, families};
use crate::error::{ErrorKind, StorageError};
use crate::handle::StorageOptions;
use crate::log::Look;
use crate::store::{is_there, open_store, store_error};
use crate::table::{Listed, Table, Tables};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use std::collections::{HashMap, HashSet};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use url::Url;
use uuid::Uuid;

/// How the folder of a log begins, before an id.
const LOG: &str = "log-";
/// How often a family is pinned anew.
const ATTEMPTS: usize = 10;

/// What a backup has.
#[derive(Clone, Debug)]
pub struct BackupReport {
    pub tables: Vec<BackedUpTable>,
    /// Whether the log is in it: then nothing acknowledged is missing. Otherwise a server was
    /// running, and rows that it had not flushed are not in the backup.
    pub log: bool,
    pub files: u64,
    pub bytes: u64,
    /// What was copied of these: the rest was at the target already.
    pub copied_files: u64,
    pub copied_bytes: u64,
}

/// Copies the store of these options to `target`. A server may run meanwhile; where none does,
/// none can be started until the backup is made.
///
/// A backup at the target that has a table which this store lacks, or has in an older version, is
/// `replace`d on demand alone.
pub async fn backup(
    store: &StorageOptions,
    target: &BackupPlace,
    replace: bool,
    progress: Progress<'_>,
) -> Result<BackupReport, StorageError> {
    check_apart(store, &target.url)?;
    if !is_there(&store.store_url) {
        return Err(StorageError::rejected(format!(
            "there is no store at {}: name the data folder of a server",
            store.store_url.path()
        )));
    }
    let dir = store.data_dir.join("log");
    let looking = tokio::task::spawn_blocking(move || Look::at(&dir, |_| ()));
    let look = looking
        .await
        .map_err(|e| StorageError::because(ErrorKind::Internal, "the log was not read", e))??;
    let tables = Tables::open(&store.store_url, &store.store_options)?;
    let to = open_store(&target.url, &target.options)?;
    Making::begin(tables, to, look, replace, progress).await?.run().await
}

/// The target neither contains nor lies within what is backed up.
fn check_apart(store: &StorageOptions, target: &Url) -> Result<(), StorageError> {
    let refused = |own: &dyn std::fmt::Display| {
        Err(StorageError::rejected(format!(
            "the target {} and {own} overlap, and a store cannot be its own backup: name another \
             place",
            target.path()
        )))
    };
    if *target == store.store_url {
        return refused(&"the store");
    }
    let folder = |url: &Url| url.to_file_path().ok().filter(|_| url.scheme() == "file");
    let Some(to) = folder(target).map(|to| real(&to)) else { return Ok(()) };
    for own in [Some(store.data_dir.clone()), folder(&store.store_url)].into_iter().flatten() {
        let own = real(&own);
        if to.starts_with(&own) || own.starts_with(&to) {
            return refused(&own.display());
        }
    }
    Ok(())
}

/// A folder without links, as far as it is there.
fn real(folder: &FilePath) -> PathBuf {
    let known = folder.ancestors().find_map(|above| {
        let rest = folder.strip_prefix(above).ok()?;
        Some(above.canonicalize().ok()?.join(rest))
    });
    known.unwrap_or_else(|| folder.to_owned())
}

struct Making<'a> {
    tables: Tables,
    to: Arc<dyn ObjectStore>,
    look: Option<Look>,
    /// Sizes of what lies at the target.
    there: HashMap<Path, u64>,
    /// What an older backup at the target has.
    before: Option<Manifest>,
    /// The checksums that it tells, by path.
    known: HashMap<String, (u64, u32)>,
    replace: bool,
    progress: Progress<'a>,
    done: u64,
    total: u64,
    copied_files: u64,
    copied_bytes: u64,
}

/// What copying a family came to.
enum Outcome {
    Copied(Vec<BackedUpTable>, Vec<Entry>),
    /// Something was deleted meanwhile.
    Gone,
}

/// A file of the store that is to be copied.
struct Wanted<'f> {
    from: &'f Path,
    bytes: u64,
    checksum: Option<u32>,
    head: bool,
    /// Names of the log can come to mean other bytes.
    always: bool,
}

impl<'a> Making<'a> {
    async fn begin(
        tables: Tables,
        to: Arc<dyn ObjectStore>,
        look: Option<Look>,
        replace: bool,
        progress: Progress<'a>,
    ) -> Result<Self, StorageError> {
        if let Some(damage) = look.as_ref().and_then(|look| look.damage.as_ref()) {
            let text = format!("{damage}. Mend that first: warpline check says what else there is");
            return Err(StorageError::new(damage.kind(), text));
        }
        let before = read(&*to, &path(MANIFEST)?).await?;
        let before = match before.map(|bytes| Manifest::decode(&bytes)).transpose() {
            Err(_) if replace => None,
            Err(error) => {
                let text = "the target has a backup that cannot be read: name another place, or \
                            give --replace to write over it";
                return Err(StorageError::because(error.kind(), text, error));
            }
            Ok(before) => before,
        };
        let listed = to.list(None).map_ok(|entry| (entry.location, entry.size)).try_collect().await;
        let there = listed.map_err(|e| store_error("the target cannot be listed", e))?;
        let files = before.iter().flat_map(|manifest| &manifest.files);
        let known = files.map(|file| (file.path.clone(), (file.bytes, file.crc32c))).collect();
        Ok(Self {
            tables,
            to,
            look,
            there,
            before,
            known,
            replace,
            progress,
            done: 0,
            total: 0,
            copied_files: 0,
            copied_bytes: 0,
        })
    }

    async fn run(mut self) -> Result<BackupReport, StorageError> {
        let names = self.tables.names().await?;
        self.check_names(&names)?;
        let (mut tables, mut files) = (Vec::new(), Vec::new());
        for family in families(&names, &[])? {
            let (own, copied) = self.family(&family).await?;
            tables.extend(own);
            files.extend(copied);
        }
        let log = self.log(&mut files).await?;
        let report = BackupReport {
            tables: tables.clone(),
            log: log.is_some(),
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.bytes).sum(),
            copied_files: self.copied_files,
            copied_bytes: self.copied_bytes,
        };
        let kept: HashSet<String> = files.iter().map(|file| file.path.clone()).collect();
        let manifest = Manifest::new(tables, log, files).encode()?;
        self.put(&path(MANIFEST)?, manifest.into()).await?;
        if self.before.is_some() {
            forget(&*self.to, self.there.keys(), &kept).await?;
        }
        Ok(report)
    }

    async fn family(
        &mut self,
        family: &Family,
    ) -> Result<(Vec<BackedUpTable>, Vec<Entry>), StorageError> {
        let (done, total) = (self.done, self.total);
        for _ in 0..ATTEMPTS {
            (self.done, self.total) = (done, total);
            if let Outcome::Copied(tables, files) = self.copy_family(family).await? {
                return Ok((tables, files));
            }
        }
        Err(StorageError::new(
            ErrorKind::Retry,
            format!(
                "files of table {} were deleted {ATTEMPTS} times before they were copied: set \
                 maintenance.delete_after of the server to longer than a backup takes",
                family.name
            ),
        ))
    }

    /// Rollups are pinned before what they were made from.
    async fn copy_family(&mut self, family: &Family) -> Result<Outcome, StorageError> {
        let mut pinned = Vec::new();
        for name in family.tiers.iter().map(|(_, name)| name).chain([&family.name]) {
            let (table, listed) = self.tables.inspect(name).await?;
            self.check_table(name, &table)?;
            self.total += listed.iter().map(|listed| listed.file.bytes).sum::<u64>();
            pinned.push((table, listed));
        }
        let mut files = Vec::new();
        for (_, listed) in &pinned {
            for Listed { file, checksum, .. } in listed {
                let (from, bytes, checksum) = (&file.path, file.bytes, *checksum);
                let wanted = Wanted { from, bytes, checksum, head: false, always: false };
                let Some(entry) = self.copy(wanted).await? else { return Ok(Outcome::Gone) };
                files.push(entry);
                self.passed(bytes);
            }
        }
        let mut tables = Vec::new();
        for (table, _) in &mut pinned {
            let Some(log) = self.table_log(table).await? else { return Ok(Outcome::Gone) };
            files.extend(log);
            let incarnation = self.look.as_ref().and_then(|look| look.incarnation);
            tables.push(about(table, incarnation).await?);
        }
        Ok(Outcome::Copied(tables, files))
    }

    /// The store still has every table of the backup at the target.
    fn check_names(&self, names: &[String]) -> Result<(), StorageError> {
        let mut before = self.before.iter().flat_map(|manifest| &manifest.tables);
        match before.find(|known| !names.contains(&known.name)) {
            Some(lost) => self.refuse(&lost.name, "which this store does not have"),
            None => Ok(()),
        }
    }

    /// The table is the one of the backup at the target, and no older than there.
    fn check_table(&self, name: &str, table: &Table) -> Result<(), StorageError> {
        let mut before = self.before.iter().flat_map(|manifest| &manifest.tables);
        let Some(known) = before.find(|known| known.name == name) else { return Ok(()) };
        if known.id != **table.id() {
            return self.refuse(name, "which in this store is another table of that name");
        }
        if known.version > table.version() {
            return self.refuse(name, "which in this store is at an older version");
        }
        Ok(())
    }

    fn refuse(&self, table: &str, why: &str) -> Result<(), StorageError> {
        if self.replace {
            return Ok(());
        }
        Err(StorageError::rejected(format!(
            "the target has a backup with table {table}, {why}: the store is another one, or has \
             lost something (warpline check). Name a place of its own for this backup, or give \
             --replace to lose the one that is there"
        )))
    }

    /// The files that make the table's version readable; `None` where they are not all there.
    async fn table_log(&mut self, table: &Table) -> Result<Option<Vec<Entry>>, StorageError> {
        let folder = path(&format!("{}/_delta_log", table.schema().table))?;
        let listed: Vec<_> = (self.tables.store().list(Some(&folder)).try_collect().await)
            .map_err(|e| store_error(format!("{folder} cannot be listed"), e))?;
        let names: HashMap<&str, (&Path, u64)> = listed
            .iter()
            .filter_map(|entry| Some((entry.location.filename()?, (&entry.location, entry.size))))
            .collect();
        let Some(selected) = select(names.keys().copied(), table.version()) else {
            return Ok(None);
        };
        let heads = selected.heads.iter().map(|name| (name, true));
        let mut entries = Vec::new();
        for (name, head) in heads.chain(selected.rest.iter().map(|name| (name, false))) {
            let (from, bytes) = names[name.as_str()];
            let wanted = Wanted { from, bytes, checksum: None, head, always: true };
            let Some(entry) = self.copy(wanted).await? else { return Ok(None) };
            entries.push(entry);
        }
        Ok(Some(entries))
    }

    /// Copies a file unless it is at the target; `None` where it is gone.
    async fn copy(&mut self, wanted: Wanted<'_>) -> Result<Option<Entry>, StorageError> {
        let Wanted { from, bytes, checksum, head, always } = wanted;
        let to = path(&format!("{STORE}/{from}"))?;
        let entry = |crc32c| Entry { path: to.to_string(), bytes, crc32c, head };
        let there = !always && self.there.get(&to) == Some(&bytes);
        let known = self.known.get(to.as_ref()).filter(|known| known.0 == bytes);
        if let Some(crc32c) = known.map(|known| known.1).or(checksum).filter(|_| there) {
            return Ok(Some(entry(crc32c)));
        }
        let Some(content) = read(&**self.tables.store(), from).await? else { return Ok(None) };
        let crc32c = crc32c::crc32c(&content);
        if content.len() as u64 != bytes || checksum.is_some_and(|checksum| checksum != crc32c) {
            return Err(StorageError::corrupt(format!(
                "{from} is not what was written: warpline check says what is wrong. Put it back \
                 from an older backup before the next one"
            )));
        }
        if !there {
            self.put(&to, content.into()).await?;
        }
        Ok(Some(entry(crc32c)))
    }

    async fn put(&mut self, to: &Path, content: PutPayload) -> Result<(), StorageError> {
        let bytes = content.content_length() as u64;
        let put = self.to.put(to, content).await;
        put.map_err(|e| store_error(format!("{to} was not written to the target"), e))?;
        self.there.insert(to.clone(), bytes);
        self.copied_files += 1;
        self.copied_bytes += bytes;
        Ok(())
    }

    fn passed(&mut self, bytes: u64) {
        self.done += bytes;
        (self.progress)(self.done, self.total);
    }

    /// The log's segments, where no server writes it, in a folder of their own.
    async fn log(&mut self, files: &mut Vec<Entry>) -> Result<Option<Uuid>, StorageError> {
        let Some(look) = self.look.take().filter(|look| !look.is_written()) else {
            return Ok(None);
        };
        let folder = format!("{LOG}{}", Uuid::new_v4().simple());
        for (number, segment) in look.segments.iter().enumerate() {
            let (name, bytes) = look.bytes_of(segment).map_err(|error| {
                StorageError::because(ErrorKind::Retry, "a log segment was not read", error)
            })?;
            let to = path(&format!("{folder}/{name}"))?;
            let (length, crc32c) = (bytes.len() as u64, crc32c::crc32c(&bytes));
            self.put(&to, bytes.into()).await?;
            let head = number == 0;
            files.push(Entry { path: to.to_string(), bytes: length, crc32c, head });
        }
        let incarnation = look.incarnation.filter(|_| !look.segments.is_empty());
        // Until the manifest is written, no server may go on.
        self.look = Some(look);
        Ok(incarnation)
    }
}

async fn about(
    table: &mut Table,
    incarnation: Option<Uuid>,
) -> Result<BackedUpTable, StorageError> {
    let covered = match incarnation {
        Some(incarnation) => table.look_up_covered(incarnation).await?,
        None => None,
    };
    let files = table.files();
    Ok(BackedUpTable {
        name: table.schema().table.to_string(),
        id: table.id().to_string(),
        version: table.version(),
        files: files.len() as u64,
        rows: files.iter().map(|file| file.rows).sum(),
        covered: covered.unwrap_or(0),
        until: files.iter().map(|file| file.times.last).max(),
    })
}

/// Deletes what older backups and runs that were broken off have left, of what is `there`.
async fn forget(
    to: &dyn ObjectStore,
    there: impl Iterator<Item = &Path>,
    kept: &HashSet<String>,
) -> Result<(), StorageError> {
    let gone = there.filter(|path| is_ours(path) && !kept.contains(path.as_ref()));
    let gone: Vec<_> = gone.cloned().map(Ok).collect();
    let mut deleted = to.delete_stream(futures::stream::iter(gone).boxed());
    while let Some(one) = deleted.next().await {
        match one {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(store_error("an older file was not deleted", error)),
        }
    }
    Ok(())
}

/// Whether a path of the target is in a folder that backups alone write to.
fn is_ours(path: &Path) -> bool {
    let Some((folder, _)) = path.as_ref().split_once('/') else { return false };
    let log = |id: &str| id.len() == 32 && Uuid::try_parse(id).is_ok();
    folder == STORE || folder.strip_prefix(LOG).is_some_and(log)
}
