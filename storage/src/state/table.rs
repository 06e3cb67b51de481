//! One table in memory.

use super::rolled::Rolled;
use crate::buffer::{Budget, BufferSlice, Buffered, Generation, LayoutEntry, Newest, Reservation};
use crate::latest::StoredLatest;
use crate::model::{Identity, Layout, Names, Position, SeriesId, TableSchema, Timestamp};
use crate::rules::times_of_others;
use crate::snapshot::{DataFile, TableSnapshot, TimeRange, store_url};
use crate::table::{Table, Tables};
use hashbrown::HashMap;
use object_store::path::Path;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Weak};
use uuid::Uuid;

/// What of a table lies in files, as readers see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    /// In commit order.
    pub(crate) files: Arc<[Arc<DataFile>]>,
    /// The version of the table's log that `files` is.
    pub(crate) version: u64,
    /// How many versions came in that this process has not made.
    pub(crate) foreign: u64,
    /// Up to which position the files have the rows of this process' log.
    pub(crate) covered: Option<Position>,
    /// Days before this were removed because their time was up.
    pub(crate) kept_from: Timestamp,
}

impl Stored {
    pub(crate) fn of(table: &Table, incarnation: Uuid) -> Self {
        Self {
            files: table.files(),
            version: table.version(),
            foreign: table.foreign(),
            covered: table.covered(incarnation),
            kept_from: table.kept_from(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct TableState {
    schema: Arc<TableSchema>,
    stored: Stored,
    /// Files that were replaced while this process ran, for as long as somebody holds them.
    gone: HashMap<Path, Weak<DataFile>>,
    /// Whether the rows are those of a rollup.
    is_tier: bool,
    /// The table's rollups, narrower buckets first.
    tiers: Vec<Rolled>,
    /// The log that the buffered rows are in.
    writer: Uuid,
    /// The times of the files of other writers, whose rows this one does not know.
    others: Arc<[TimeRange]>,
    /// The newest row of each series in the files.
    stored_latest: Arc<StoredLatest>,
    series: HashMap<Identity, SeriesId>,
    layouts: u32,
    /// What its layouts have in common, each once.
    names: hashbrown::HashSet<Arc<Names>>,
    /// The newest time of each series, buffered rows included.
    latest: Newest,
    sealed: Option<Generation>,
    active: Generation,
}

impl TableState {
    /// A table with what is stored of it; nothing, for a new table.
    ///
    /// What each series' newest time in the files is, is not known after a restart: no row at or
    /// before the newest of all files is then taken for monotone.
    pub(crate) fn new(
        schema: Arc<TableSchema>,
        stored: Stored,
        writer: Uuid,
        budget: &Arc<Budget>,
    ) -> Self {
        let floor = stored.files.iter().map(|file| file.times.last).max().unwrap_or(Timestamp::MIN);
        let latest = Newest::from(floor);
        let stored_latest = StoredLatest::of_files(schema.clone(), stored.files.clone());
        Self {
            schema,
            others: times_of_others(&stored.files, writer).into(),
            stored,
            gone: HashMap::new(),
            is_tier: false,
            tiers: Vec::new(),
            writer,
            stored_latest: Arc::new(stored_latest),
            series: HashMap::new(),
            layouts: 0,
            names: hashbrown::HashSet::new(),
            active: Generation::new(Arc::new(latest.clone()), budget),
            latest,
            sealed: None,
        }
    }

    pub(crate) fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    pub(crate) fn is_tier(&self) -> bool {
        self.is_tier
    }

    /// The table is a rollup, with these columns.
    pub(crate) fn make_tier(&mut self, schema: Arc<TableSchema>) {
        self.is_tier = true;
        self.schema = schema;
    }

    pub(crate) fn tiers(&self) -> &[Rolled] {
        &self.tiers
    }

    /// What the table's rollups are now, narrower buckets first.
    pub(crate) fn set_tiers(&mut self, tiers: Vec<Rolled>) {
        self.tiers = tiers;
        let Stored { files, kept_from, .. } = &self.stored;
        self.tiers.iter_mut().for_each(|rolled| rolled.see(files, *kept_from));
    }

    pub(crate) fn stored(&self) -> &Stored {
        &self.stored
    }

    pub(crate) fn stored_latest(&self) -> &Arc<StoredLatest> {
        &self.stored_latest
    }

    pub(crate) fn series_count(&self) -> usize {
        self.series.len()
    }

    /// How many series of the layout the table has not seen; one named twice counts twice.
    pub(super) fn new_series(&self, layout: &Layout) -> usize {
        layout.series().iter().filter(|one| !self.series.contains_key(&one.identity)).count()
    }

    /// Takes a layout that `schema`, which succeeds the table's, already holds.
    pub(crate) fn admit(&mut self, schema: Arc<TableSchema>, layout: Layout) -> Arc<LayoutEntry> {
        self.schema = schema;
        let layout = Arc::new(layout.sharing(&mut self.names));
        let mut series = Vec::with_capacity(layout.series().len());
        for one in layout.series() {
            let next = self.series.len() as SeriesId;
            series.push(*self.series.entry(one.identity.clone()).or_insert(next));
        }
        self.layouts += 1;
        Arc::new(LayoutEntry::new(self.layouts - 1, layout, series))
    }

    /// Forgets names that no layout has any more.
    pub(super) fn forget_names(&mut self) {
        self.names.retain(|names| Arc::strong_count(names) > 1);
    }

    #[cfg(test)]
    pub(crate) fn names(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn push(&mut self, position: Position, buffered: Buffered, memory: Reservation) {
        self.active.push(position, buffered, memory, &mut self.latest);
    }

    /// Makes the active generation the sealed one, unless one still waits for its flush.
    pub(super) fn seal(&mut self, budget: &Arc<Budget>) {
        if self.sealed.is_none() && !self.active.is_empty() {
            let next = Generation::new(Arc::new(self.latest.clone()), budget);
            self.sealed = Some(std::mem::replace(&mut self.active, next));
        }
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.sealed.is_none() && self.active.is_empty()
    }

    pub(crate) fn sealed(&self) -> Option<&Generation> {
        self.sealed.as_ref()
    }

    /// The sealed rows are in the files of `stored` now, of which `latest` has the newest rows.
    pub(crate) fn flushed(&mut self, stored: Stored, latest: StoredLatest) {
        assert!(self.sealed.take().is_some(), "only sealed rows are flushed");
        self.replaced(stored, latest);
    }

    /// Other files are the table now, of which `latest` has the newest rows.
    pub(crate) fn replaced(&mut self, stored: Stored, latest: StoredLatest) {
        assert!(stored.version > self.stored.version, "versions grow");
        let there: HashSet<_> = stored.files.iter().map(|file| &file.path).collect();
        let gone = self.stored.files.iter().filter(|file| !there.contains(&file.path));
        self.gone.retain(|_, file| file.strong_count() > 0);
        self.gone.extend(gone.map(|file| (file.path.clone(), Arc::downgrade(file))));
        self.others = times_of_others(&stored.files, self.writer).into();
        self.tiers.iter_mut().for_each(|rolled| rolled.see(&stored.files, stored.kept_from));
        self.stored = stored;
        self.stored_latest = Arc::new(latest);
    }

    /// Whether readers of this process have a file, or can come to have it.
    pub(crate) fn is_held(&self, path: &Path) -> bool {
        self.gone.get(path).is_some_and(|file| file.strong_count() > 0)
            || self.stored.files.iter().any(|file| file.path == *path)
    }

    /// `others` has the tables that are tiers.
    pub(super) fn snapshot(
        &self,
        tables: &Tables,
        others: &BTreeMap<Arc<str>, Arc<TableSnapshot>>,
    ) -> TableSnapshot {
        let generations = self.sealed.iter().chain([&self.active]).cloned().collect();
        let buffer = BufferSlice::new(self.schema.clone(), generations, self.others.clone());
        let buffered = if self.tiers.is_empty() { Vec::new() } else { buffer.times_by_day() };
        let known = self.tiers.iter().filter(|rolled| rolled.is_within(self.stored.version));
        let tiers = known.filter_map(|rolled| {
            let table = others.get(&rolled.table)?.clone();
            Some(rolled.snapshot(table, &buffered))
        });
        TableSnapshot {
            schema: self.schema.clone(),
            version: self.stored.version,
            files: self.stored.files.clone(),
            tiers: tiers.collect(),
            buffer,
            stored_latest: self.stored_latest.clone(),
            store: tables.store().clone(),
            store_url: store_url(),
        }
    }
}
