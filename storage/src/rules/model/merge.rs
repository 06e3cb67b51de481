//! Merges: planned over a version, perhaps an older one, and committed later or never.

use super::Flaw;
use super::rows::{Rows, rows_of, write_all};
use super::table::{About, Change, File, Table, Version};
use crate::rules::check::{Broken, check_merge};
use crate::rules::merge::{
    are_consecutive, has_one_origin, is_alone_in_its_version, is_closed, late_stays,
    merged_version, merged_writer,
};
use crate::snapshot::{DataFile, FileKind, Level};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// Where a merge looks for its inputs; numbers are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) age: u8,
    pub(super) date: u8,
    pub(super) start: u8,
    pub(super) len: u8,
    /// Whether a group of rows becomes two files.
    pub(super) cut: bool,
    /// How names of the outputs begin.
    pub(super) prefix: u8,
}

/// Outputs are written; the commit is still to be made.
#[derive(Debug)]
pub(super) struct Merge {
    inputs: Vec<Arc<DataFile>>,
    outputs: Vec<File>,
}

impl Merge {
    pub(super) fn plan(
        table: &mut Table,
        window: Window,
        id: Uuid,
        flaw: Option<Flaw>,
    ) -> Option<Self> {
        let version = table.recent(window.age).clone();
        let inputs = choose(&version, window, flaw)?;
        let inputs_log: Vec<_> = inputs.iter().map(|file| file.about.clone()).collect();
        let about = |kind| About {
            kind,
            writer: writer(&inputs_log, id, flaw),
            version: output_version(&inputs_log, table.newest(), flaw),
            level: Level::Hour,
        };
        let (new, late) = split(&inputs, &version, flaw);
        let mut outputs = Vec::new();
        let groups = [(new, about(FileKind::Monotone)), (late, about(FileKind::Late))];
        for (rows, about) in groups {
            for part in cut(rows, window.cut) {
                outputs.push(File::new(table.name(window.prefix), part, about));
            }
        }
        Some(Self { inputs: inputs_log, outputs })
    }

    /// Commits what was planned, or gives it up where the table has changed too much.
    pub(super) fn commit(self, table: &mut Table, flaw: Option<Flaw>) -> Result<bool, Broken> {
        let newest = table.newest();
        let there = |input: &Arc<DataFile>| newest.log.iter().any(|f| f.path == input.path);
        if !self.inputs.iter().all(there) {
            return Ok(false);
        }
        if flaw != Some(Flaw::PlansOnce) && !is_allowed(&self.inputs, &newest.log, flaw) {
            return Ok(false);
        }
        if flaw.is_none() {
            let outputs: Vec<_> = self.outputs.iter().map(|file| file.about.clone()).collect();
            check_merge(&newest.log, &self.inputs, &outputs, newest.number + 1)?;
        }
        table.commit(Change { removed: self.inputs, added: self.outputs, ..Change::default() });
        Ok(true)
    }
}

/// From the window's start as many files as it says, and those after them that must come along.
fn choose(version: &Version, window: Window, flaw: Option<Flaw>) -> Option<Vec<File>> {
    let dates: BTreeSet<_> = version.log.iter().map(|file| file.date).collect();
    let date = dates.iter().nth(usize::from(window.date) % dates.len().max(1))?;
    let day: Vec<_> = version.files.iter().filter(|file| file.about.date == *date).collect();
    let start = usize::from(window.start) % day.len();
    let len = 1 + usize::from(window.len) % (day.len() - start);
    for end in start + len..=day.len() {
        let mut inputs: Vec<File> = day[start..end].iter().copied().cloned().collect();
        if flaw == Some(Flaw::SkipsLate) {
            let inner = 1..inputs.len().saturating_sub(1);
            let late = inner.into_iter().find(|at| inputs[*at].about.kind == FileKind::Late);
            late.map(|at| inputs.remove(at));
        }
        let log: Vec<_> = inputs.iter().map(|file| file.about.clone()).collect();
        if is_allowed(&log, &version.log, flaw) {
            return Some(inputs);
        }
    }
    None
}

fn is_allowed(inputs: &[Arc<DataFile>], all: &[Arc<DataFile>], flaw: Option<Flaw>) -> bool {
    let consecutive = are_consecutive(inputs, all);
    let alone = is_alone_in_its_version(inputs, all);
    match flaw {
        Some(Flaw::SkipsLate) => alone && has_one_origin(inputs),
        Some(Flaw::SplitsVersion) => consecutive && has_one_origin(inputs),
        Some(Flaw::MixesForeign) => consecutive && alone,
        _ => is_closed(inputs, all),
    }
}

fn writer(inputs: &[Arc<DataFile>], id: Uuid, flaw: Option<Flaw>) -> Uuid {
    match flaw {
        Some(Flaw::TakesFirstWriter) => inputs[0].writer,
        _ => merged_writer(inputs).unwrap_or(id),
    }
}

fn output_version(inputs: &[Arc<DataFile>], newest: &Version, flaw: Option<Flaw>) -> u64 {
    match flaw {
        Some(Flaw::TakesCommitVersion) => newest.number + 1,
        Some(Flaw::TakesVersionZero) => 0,
        Some(Flaw::TakesLeastVersion) => {
            inputs.iter().map(|file| file.order.version).min().unwrap_or(0)
        }
        _ => merged_version(inputs),
    }
}

/// The rows of the inputs, new and late.
fn split(inputs: &[File], version: &Version, flaw: Option<Flaw>) -> (Rows, Rows) {
    let log: Vec<_> = inputs.iter().map(|file| file.about.clone()).collect();
    let stays = match flaw {
        Some(Flaw::PromotesLate) => Vec::new(),
        _ => late_stays(&log, &version.log),
    };
    let mut all = Rows::new();
    for file in inputs {
        write_all(&mut all, rows_of(&file.rows));
    }
    let monotone = |file: &&File| file.about.kind == FileKind::Monotone;
    let known: BTreeSet<_> =
        inputs.iter().filter(monotone).flat_map(|file| file.rows.keys()).collect();
    all.into_iter().partition(|(key, _)| {
        known.contains(key) || !stays.iter().any(|range| range.contains(key.1))
    })
}

fn cut(mut rows: Rows, cut: bool) -> Vec<Rows> {
    let middle = rows.keys().nth(rows.len() / 2).copied();
    let tail = match middle {
        Some(key) if cut => rows.split_off(&key),
        _ => Rows::new(),
    };
    [rows, tail].into_iter().filter(|part| !part.is_empty()).collect()
}
