//! What the store holds in memory: tables with their files and buffers, layouts, producers.
//!
//! One lock guards it. The writer publishes a commit group under it, a flush moves rows from
//! buffer to files under it, and a snapshot is taken under it: that is why a row is in exactly
//! one place of every snapshot. Nothing slow happens while it is held.

mod rolled;
mod table;

pub(crate) use rolled::{Reach, Rolled};
pub(crate) use table::{Stored, TableState};

use crate::buffer::{Budget, Buffered, LayoutEntry, Reservation, memory_of};
use crate::error::StorageError;
use crate::handle::{Acknowledged, Admission, Limits};
use crate::log::Entry;
use crate::machine::uptime;
use crate::model::{Layout, Position, ProducerId, Sequence, TableSchema, Timestamp};
use crate::rollup::TIERS;
use crate::snapshot::{Snapshot, TableSnapshot};
use crate::table::Tables;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

#[derive(Debug)]
pub(crate) struct State {
    limits: Limits,
    /// The log that the rows are in.
    writer: Uuid,
    budget: Arc<Budget>,
    tables: Vec<TableState>,
    by_name: BTreeMap<Arc<str>, usize>,
    layouts: HashMap<Arc<Layout>, Home>,
    /// The same by address, for the way of every block.
    addresses: HashMap<usize, Home>,
    series: usize,
    producers: HashMap<ProducerId, watch::Sender<Acknowledged>>,
    /// The last position published.
    position: Position,
}

/// Where blocks of a layout go.
#[derive(Clone, Debug)]
struct Home {
    table: usize,
    entry: Arc<LayoutEntry>,
}

/// What a flush covers.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// When, by [`uptime`].
    pub(crate) at: Duration,
    pub(crate) position: Position,
    /// What each producer had durable at `position`.
    pub(crate) producers: Vec<(ProducerId, Sequence)>,
}

impl State {
    /// An empty state without limits: what is in tables and log was taken once already. They
    /// come with [`State::resume`].
    pub(crate) fn new(writer: Uuid, budget: Arc<Budget>) -> Self {
        Self {
            limits: Limits { tables: usize::MAX, columns: usize::MAX, series: usize::MAX },
            writer,
            budget,
            tables: Vec::new(),
            by_name: BTreeMap::new(),
            layouts: HashMap::new(),
            addresses: HashMap::new(),
            series: 0,
            producers: HashMap::new(),
            position: 0,
        }
    }

    /// The log that buffered rows are in.
    pub(crate) fn writer(&self) -> Uuid {
        self.writer
    }

    pub(crate) fn tables(&self) -> &[TableState] {
        &self.tables
    }

    pub(crate) fn table(&self, number: usize) -> &TableState {
        &self.tables[number]
    }

    /// A new rollup's table; answers its number.
    pub(crate) fn add_tier(&mut self, schema: Arc<TableSchema>, stored: Stored) -> usize {
        let mut table = TableState::new(schema.clone(), stored, self.writer, &self.budget.clone());
        table.make_tier(schema);
        self.add_table(table)
    }

    /// Where a table is a rollup that others are made from: up to where it has buckets.
    pub(crate) fn table_until(&self, name: &str) -> Option<Timestamp> {
        let all = self.tables.iter().flat_map(TableState::tiers);
        all.filter(|rolled| &*rolled.table == name).map(Rolled::until).next()
    }

    /// The table's number, where there is such a table.
    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn table_mut(&mut self, number: usize) -> &mut TableState {
        &mut self.tables[number]
    }

    pub(crate) fn add_table(&mut self, table: TableState) -> usize {
        self.by_name.insert(table.schema().table.clone(), self.tables.len());
        self.tables.push(table);
        self.tables.len() - 1
    }

    /// After a replay: where the log ends and how far each producer had come. All of it is
    /// stored where no rows are left in the buffer.
    pub(crate) fn resume<'a>(
        &mut self,
        end: Position,
        producers: impl Iterator<Item = (&'a ProducerId, Sequence)>,
        limits: Limits,
    ) {
        self.limits = limits;
        assert!(end >= self.position, "the log ends after what it held");
        self.position = end;
        let stored = self.tables.iter().all(TableState::is_flushed);
        for (producer, durable) in producers {
            let stored = if stored { durable } else { 0 };
            self.acknowledge(producer, |to| *to = Acknowledged { durable, stored });
        }
    }

    /// Takes a layout into its table: columns of the wrong role or type come back in the
    /// admission's `refused`, a whole layout that cannot be taken is an error.
    pub(crate) fn admit(&mut self, layout: &Layout) -> Result<Admission, StorageError> {
        if let Some((known, _)) = self.layouts.get_key_value(layout) {
            return Ok(Admission { layout: known.clone(), refused: Vec::new() });
        }
        let known = self.by_name.get(layout.table()).copied();
        self.check_name(layout, known)?;
        self.check_limits(layout, known)?;
        let (schema, layout, refused) = match known {
            None => (TableSchema::of(layout), layout.clone(), Vec::new()),
            Some(table) => self.tables[table].schema().admit(layout)?,
        };
        if layout.columns().is_empty() {
            return Err(StorageError::rejected(format!(
                "nothing is left of a layout of table {}: name at least one field that it can take",
                layout.table()
            )));
        }
        let columns = schema.columns();
        let grows = known.is_none_or(|table| columns > self.tables[table].schema().columns());
        if grows && columns > self.limits.columns {
            return Err(StorageError::rejected(format!(
                "table {} would have {columns} fields and attributes; the limit `columns` is {}",
                schema.table, self.limits.columns
            )));
        }
        let schema = Arc::new(schema);
        let table = known.unwrap_or_else(|| {
            let (writer, budget) = (self.writer, self.budget.clone());
            self.add_table(TableState::new(schema.clone(), Stored::default(), writer, &budget))
        });
        Ok(Admission { layout: self.settle(table, schema, layout), refused })
    }

    fn settle(&mut self, table: usize, schema: Arc<TableSchema>, layout: Layout) -> Arc<Layout> {
        if let Some((known, _)) = self.layouts.get_key_value(&layout) {
            return known.clone();
        }
        let before = self.tables[table].series_count();
        let entry = self.tables[table].admit(schema, layout);
        let layout = entry.layout.clone();
        self.series += self.tables[table].series_count() - before;
        let home = Home { table, entry };
        self.addresses.insert(address(&layout), home.clone());
        self.layouts.insert(layout.clone(), home);
        layout
    }

    /// Rollups are written by nobody but the store.
    fn check_name(&self, layout: &Layout, table: Option<usize>) -> Result<(), StorageError> {
        let is_tier = match table {
            Some(number) => self.tables[number].is_tier(),
            None => TIERS.iter().any(|tier| layout.table().ends_with(tier.suffix)),
        };
        if !is_tier {
            return Ok(());
        }
        let suffixes = TIERS.map(|tier| tier.suffix).join(" and ");
        Err(StorageError::rejected(format!(
            "table {} cannot be written to: names that end in {suffixes} are those of rollups. \
             Choose another name",
            layout.table()
        )))
    }

    fn check_limits(&self, layout: &Layout, table: Option<usize>) -> Result<(), StorageError> {
        if table.is_none() && self.tables.len() >= self.limits.tables {
            return Err(StorageError::rejected(format!(
                "table {} would be one more than the limit `tables` of {}",
                layout.table(),
                self.limits.tables
            )));
        }
        let new = match table {
            None => layout.series().len(),
            Some(table) => self.tables[table].new_series(layout),
        };
        if self.series + new > self.limits.series {
            return Err(StorageError::rejected(format!(
                "{new} new series of table {} would pass the limit `series` of {}, of which {} are \
                 taken",
                layout.table(),
                self.limits.series,
                self.series
            )));
        }
        Ok(())
    }

    /// Forgets layouts that nobody holds any more: no producer, no row in memory, no log segment.
    /// One that comes again is taken as a new one.
    pub(crate) fn forget_layouts(&mut self) {
        let Self { layouts, addresses, .. } = self;
        layouts.retain(|layout, home| {
            // Two of each are this state's own: key and entry, and an entry in either map.
            let held = Arc::strong_count(layout) > 2 || Arc::strong_count(&home.entry) > 2;
            if !held {
                addresses.remove(&address(layout));
            }
            held
        });
        self.tables.iter_mut().for_each(TableState::forget_names);
    }

    #[cfg(test)]
    pub(crate) fn layouts(&self) -> usize {
        assert_eq!(self.layouts.len(), self.addresses.len());
        self.layouts.len()
    }

    pub(crate) fn knows(&self, layout: &Arc<Layout>) -> bool {
        self.addresses.contains_key(&address(layout))
    }

    /// Puts a durable entry, of which no block is in files yet, into the buffers of its tables.
    pub(crate) fn publish(&mut self, entry: Entry, memory: &mut Reservation) {
        assert!(entry.position > self.position, "positions grow");
        self.position = entry.position;
        for block in entry.blocks {
            let home = &self.addresses[&address(block.layout())];
            let memory = memory.split(memory_of(&block));
            let buffered = Buffered { entry: home.entry.clone(), block };
            self.tables[home.table].push(entry.position, buffered, memory);
        }
        self.acknowledge(&entry.producer, |to| to.durable = to.durable.max(entry.sequence));
    }

    pub(crate) fn acknowledge(
        &mut self,
        producer: &ProducerId,
        change: impl FnOnce(&mut Acknowledged),
    ) {
        match self.producers.get(producer) {
            Some(sender) => sender.send_modify(change),
            None => self.producer_sender(producer).send_modify(change),
        }
    }

    fn producer_sender(&mut self, id: &ProducerId) -> &watch::Sender<Acknowledged> {
        self.producers
            .entry(id.clone())
            .or_insert_with(|| watch::Sender::new(Acknowledged::default()))
    }

    pub(crate) fn producer(&mut self, id: &ProducerId) -> watch::Receiver<Acknowledged> {
        self.producer_sender(id).subscribe()
    }

    /// Ends the active generations: what was published so far is what the next flush writes.
    pub(crate) fn seal(&mut self) -> Sealed {
        for table in &mut self.tables {
            table.seal(&self.budget);
        }
        let producers = self.producers.iter();
        Sealed {
            at: uptime(),
            position: self.position,
            producers: producers.map(|(id, to)| (id.clone(), to.borrow().durable)).collect(),
        }
    }

    pub(crate) fn snapshot(&self, tables: &Tables) -> Snapshot {
        let mut snapshots: BTreeMap<Arc<str>, Arc<TableSnapshot>> = BTreeMap::new();
        let (tiers, raw): (Vec<_>, Vec<_>) =
            self.by_name.iter().partition(|(_, number)| self.tables[**number].is_tier());
        for (name, number) in tiers.into_iter().chain(raw) {
            let snapshot = self.tables[*number].snapshot(tables, &snapshots);
            snapshots.insert(name.clone(), Arc::new(snapshot));
        }
        Snapshot::new(snapshots)
    }

    pub(crate) fn series_count(&self) -> usize {
        self.series
    }
}

fn address(layout: &Arc<Layout>) -> usize {
    Arc::as_ptr(layout).addr()
}
