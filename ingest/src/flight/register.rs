//! All tables that streams write to, and the one way of a batch into blocks.

use super::plan::Known;
use super::schema::Column;
use super::table::FlightTable;
use super::{Batch, FlightError, Plan, malformed, within};
use crate::dictionary::Dictionary;
use crate::forgetting::{Forgetting, weight};
use crate::refused::{Reason, Refused};
use hashbrown::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use warpline_storage::Storage;
use warpline_storage::model::{Block, Timestamp};

/// Tables that are known at a time; past them all are forgotten within a minute.
const MAX_TABLES: usize = 4_096;

/// Memory that a row takes until it is in a block, and each of its page's fields.
const ROW_BYTES: usize = 128;
const FIELD_BYTES: usize = 18;

/// Memory of a row in a page of so many fields.
pub(super) fn row_bytes(fields: usize) -> usize {
    ROW_BYTES + fields * FIELD_BYTES
}

/// What became of one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FlightTally {
    /// Rows that were taken.
    pub(crate) rows: u64,
    /// Values of fields read.
    pub(crate) values: u64,
    pub(crate) refused: Refused,
}

impl FlightTally {
    /// Adds what became of another batch.
    pub(crate) fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.values += other.values;
        self.refused.merge(&other.refused);
    }

    pub(crate) fn refused_rows(&self) -> u64 {
        self.refused.count(Reason::Series) + self.refused.count(Reason::Time)
    }

    /// Values of rows that were taken otherwise.
    pub(crate) fn refused_values(&self) -> u64 {
        self.refused.count(Reason::Column) + self.refused.count(Reason::Value)
    }
}

/// What a batch is mapped with.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) storage: &'a Storage,
    pub(super) accepted: RangeInclusive<Timestamp>,
    pub(super) minute: u32,
    /// Series that may be known, and how many more than are.
    pub(super) series: usize,
    pub(super) room: usize,
    /// Memory that its rows may take, and the tags of its series.
    pub(super) memory: usize,
}

#[derive(Debug)]
pub(crate) struct FlightRegister {
    dictionary: Arc<Dictionary>,
    forgetting: Forgetting,
    /// What a batch's rows may take, and the tags of its series.
    memory: usize,
    tables: HashMap<Arc<str>, FlightTable>,
}

impl FlightRegister {
    /// Knows up to `series`. The rows of one batch may take `memory` bytes, and the tags of its
    /// series as much.
    pub(crate) fn new(dictionary: Arc<Dictionary>, series: usize, memory: usize) -> Self {
        let forgetting = Forgetting::new(series);
        Self { dictionary, forgetting, memory, tables: HashMap::new() }
    }

    /// Series that are known.
    pub(crate) fn len(&self) -> usize {
        self.tables.values().map(FlightTable::len).sum()
    }

    fn weight(&self) -> usize {
        weight(self.len(), self.tables.values().map(FlightTable::tag_bytes).sum())
    }

    /// What a stream's columns are in their table.
    pub(crate) fn plan(
        &mut self,
        table: &str,
        columns: &[Column],
        minute: u32,
        storage: &Storage,
    ) -> Result<Plan, FlightError> {
        self.begin(minute);
        let snapshot = storage.snapshot();
        let stored = snapshot.table(table).map(|table| &*table.schema);
        let with_rows = self.tables.get(table).filter(|table| table.len() > 0);
        let identity = with_rows.map(|table| &*table.identity);
        let known = Known { table, stored, identity, dictionary: &self.dictionary };
        let plan = Plan::of(columns, known)?;
        if identity.is_some_and(|identity| *identity != plan.identity) {
            // Another protocol has made the table meanwhile.
            self.tables.remove(table);
        }
        self.check_room(&plan.table)?;
        Ok(plan)
    }

    /// Memory that the rows of a batch may take, by what is known of their table.
    pub(crate) fn rows_cost(&self, plan: &Plan, rows: usize) -> usize {
        let fields = self.tables.get(&plan.table).map_or(plan.fields.len(), |t| t.fields(plan));
        row_bytes(fields).saturating_mul(rows).min(self.memory)
    }

    /// Maps a batch: the rows as blocks, under layouts that the store has taken.
    pub(crate) fn map(
        &mut self,
        plan: &Plan,
        batch: &Batch,
        minute: u32,
        storage: &Storage,
    ) -> Result<(Vec<Block>, FlightTally), FlightError> {
        self.begin(minute);
        within("the rows of a batch take", row_bytes(plan.fields.len()) * batch.rows, self.memory)?;
        let times = storage.accepted_times();
        let request = Request {
            storage,
            accepted: times.first..=times.last,
            minute,
            series: self.forgetting.limit(),
            room: self.forgetting.limit().saturating_sub(self.weight()),
            memory: self.memory,
        };
        let mut tally = FlightTally::default();
        let blocks = self.table(plan)?.map(plan, batch, &request, &mut tally)?;
        Ok((blocks, tally))
    }

    fn begin(&mut self, minute: u32) {
        let crowded = self.tables.len() >= MAX_TABLES && minute != self.forgetting.minute();
        let tables = &self.tables;
        let sent_since = |since| tables.values().map(|table| table.sent_since(since)).sum();
        let known = self.weight();
        if self.forgetting.turn(minute, known, sent_since) || crowded {
            self.tables = HashMap::new();
        }
    }

    fn check_room(&self, table: &str) -> Result<(), FlightError> {
        if self.tables.len() < MAX_TABLES || self.tables.contains_key(table) {
            return Ok(());
        }
        Err(FlightError::TooLarge(format!(
            "{MAX_TABLES} tables are known, which is the limit: use fewer names, or try in a minute"
        )))
    }

    /// The plan's table, which is made where nobody knows it.
    fn table(&mut self, plan: &Plan) -> Result<&mut FlightTable, FlightError> {
        self.check_room(&plan.table)?;
        let is_other = |table: &FlightTable| table.identity != plan.identity;
        if self.tables.get(&plan.table).is_some_and(|table| table.len() == 0 && is_other(table)) {
            self.tables.remove(&plan.table);
        }
        let known = self.tables.entry(plan.table.clone());
        let known = known.or_insert_with(|| FlightTable::new(plan));
        if known.identity != plan.identity {
            let (table, identity) = (&plan.table, &known.identity);
            return Err(malformed(format!(
                "table {table} has come to be identified by {identity:?}: begin a new stream"
            )));
        }
        Ok(known)
    }
}
