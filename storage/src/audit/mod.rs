//! Verifies a store without changing it: is everything there, and is it what was written?
//!
//! ```text
//! file     one data file: size, checksum, footer, order, statistics
//! bounds   what a footer says of columns, against their values
//! table    what the files of a table must be to each other, and to the positions they cover
//! keys     no two monotone files have a key in common
//! tiers    rollups are what their source reduces to
//! log      the write-ahead log, and that it goes on where the tables end
//! ```
//! Promises: nothing is written, and a server may run meanwhile; memory is bounded by a row group
//! of two files and a batch of each file of a day. What cannot be told is said to be left out.

mod bounds;
mod file;
mod finding;
mod keys;
mod log;
mod table;
#[cfg(test)]
mod tests;
mod tiers;

pub use finding::{Finding, FindingKind};

use crate::error::StorageError;
use crate::handle::StorageOptions;
use crate::rollup::{TIERS, Tier};
use crate::store::is_there;
use crate::table::{Listed, Table, Tables};
use std::path::Path;
use std::sync::Arc;

/// What is to be verified.
#[derive(Clone, Debug, Default)]
pub struct AuditOptions {
    /// These tables and their rollups; all where there are none.
    pub tables: Vec<String>,
    /// No row is decoded: files are there, footers and logs are sound.
    pub quick: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct AuditReport {
    pub tables: u64,
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
    /// Rows of rollups that were held against what they should be.
    pub rollup_rows: u64,
    /// Batches of the log.
    pub batches: u64,
    pub findings: Vec<Finding>,
    /// What was not looked at, and why.
    pub left_out: Vec<String>,
    /// Why it did not come to its end; the findings are those before.
    pub broken_off: Option<StorageError>,
}

/// Hears how many bytes were read, of how many that are known so far.
type Progress<'a> = &'a mut (dyn FnMut(u64, u64) + Send);

/// Verifies the store of these options. An error says that it could not be looked at, or not to
/// the end, and that nothing was found until then.
pub async fn audit(
    store: &StorageOptions,
    options: &AuditOptions,
    progress: Progress<'_>,
) -> Result<AuditReport, StorageError> {
    let log = store.data_dir.join("log");
    let there = is_there(&store.store_url);
    if !there && !log.is_dir() {
        return Err(StorageError::rejected(format!(
            "there is neither a log in {} nor a store at its URL: name the data folder of a server",
            log.display()
        )));
    }
    let open = || Tables::open(&store.store_url, &store.store_options);
    let tables = there.then(open).transpose()?;
    let names = match &tables {
        Some(tables) => tables.names().await?,
        None => Vec::new(),
    };
    let families = families(&names, &options.tables)?;
    let report = AuditReport::default();
    let mut audit = Audit { report, quick: options.quick, progress, done: 0, total: 0 };
    if options.quick {
        audit.leave_out("rows: --quick decodes none, so order, keys and rollups were not verified");
    }
    let all = options.tables.is_empty();
    let looked = audit.look(tables.as_ref(), &families, &log, all).await;
    if audit.report.findings.is_empty() {
        looked?;
    } else {
        audit.report.broken_off = looked.err();
    }
    Ok(audit.report)
}

struct Audit<'a> {
    report: AuditReport,
    quick: bool,
    progress: Progress<'a>,
    done: u64,
    total: u64,
}

/// A table at one version.
struct Opened {
    name: Arc<str>,
    table: Table,
    listed: Vec<Listed>,
}

/// A table and the names that its rollups would have, wider ones first: pinned in this order, no
/// rollup is newer than what it was made from.
pub(crate) struct Family {
    pub(crate) tiers: Vec<(Tier, String)>,
    pub(crate) name: String,
}

/// The tables by families, of these names alone where there are any.
pub(crate) fn families(names: &[String], wanted: &[String]) -> Result<Vec<Family>, StorageError> {
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(name)) {
        return Err(StorageError::rejected(format!(
            "there is no table {unknown:?}; there are {}",
            names.join(", ")
        )));
    }
    let source_of = |name: &String| {
        TIERS.iter().find_map(|tier| {
            let source = name.strip_suffix(tier.suffix)?;
            names.iter().find(|name| *name == source)
        })
    };
    let heads = names.iter().filter(|name| source_of(name).is_none());
    let is_wanted = |name: &&String| {
        let own = |wanted: &String| wanted == *name || source_of(wanted) == Some(*name);
        wanted.is_empty() || wanted.iter().any(own)
    };
    let family = |name: &String| {
        let tiers = TIERS.iter().rev().map(|tier| (*tier, tier.table(name)));
        let tiers = tiers.filter(|(_, tier)| names.contains(tier)).collect();
        Family { tiers, name: name.clone() }
    };
    Ok(heads.filter(is_wanted).map(family).collect())
}

impl Audit<'_> {
    /// Tables, then the log; whether the two meet, where it is `all` tables. What cannot be read of
    /// one table keeps no other from being looked at.
    async fn look(
        &mut self,
        tables: Option<&Tables>,
        families: &[Family],
        log: &Path,
        all: bool,
    ) -> Result<(), StorageError> {
        let mut outcome = Ok(());
        for family in families {
            let Some(tables) = tables else { break };
            if let Err(error) = self.family(tables, family).await {
                self.leave_out(format!("the rest of table {}: {error}", family.name));
                outcome = outcome.and(Err(error));
            }
        }
        outcome.and(self.log(log, tables.filter(|_| all)).await)
    }

    async fn family(&mut self, tables: &Tables, family: &Family) -> Result<(), StorageError> {
        let mut tiers = Vec::new();
        for (tier, name) in &family.tiers {
            tiers.extend(self.open(tables, name).await.map(|opened| (*tier, opened)));
        }
        let Some(raw) = self.open(tables, &family.name).await else {
            self.leave_out(format!("rollups of {}: it cannot be read", family.name));
            return Ok(());
        };
        let mut sound = self.table(tables, &raw).await?;
        for (_, tier) in &tiers {
            sound &= self.table(tables, tier).await?;
        }
        if self.quick || tiers.is_empty() {
            return Ok(());
        }
        if !sound {
            self.leave_out(format!("rollups of {}: files are damaged", family.name));
            return Ok(());
        }
        self.tiers(tables, &raw, &mut tiers).await
    }

    /// A table whose log cannot be read is a finding.
    async fn open(&mut self, tables: &Tables, name: &str) -> Option<Opened> {
        match tables.inspect(name).await {
            Ok((table, listed)) => {
                self.total += listed.iter().map(|listed| listed.file.bytes).sum::<u64>();
                Some(Opened { name: name.into(), table, listed })
            }
            Err(error) => {
                self.find(FindingKind::TableLog, name, error.to_string());
                None
            }
        }
    }

    fn find(&mut self, kind: FindingKind, place: impl Into<String>, found: impl Into<String>) {
        self.report.findings.push(Finding { kind, place: place.into(), found: found.into() });
    }

    fn leave_out(&mut self, what: impl Into<String>) {
        self.report.left_out.push(what.into());
    }

    fn read(&mut self, bytes: u64) {
        self.done += bytes;
        (self.progress)(self.done, self.total);
    }
}

/// Whether a table has gone on since: files that it had may be replaced and deleted by now.
async fn has_moved(tables: &Tables, opened: &Opened) -> bool {
    let now = tables.open_table(&opened.name).await;
    now.is_ok_and(|now| now.version() != opened.table.version())
}
