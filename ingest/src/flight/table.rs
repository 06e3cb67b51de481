//! One table that streams write to: its series, and where their rows go.

use super::numbers::Numbers;
use super::plan::Plan;
use super::register::{FlightTally, Request, row_bytes};
use super::rows::{Tags, tag_arrays, times};
use super::{Batch, FlightError, within};
use crate::forgetting::too_many;
use crate::naming::GPU_TABLE;
use crate::pages::{Pages, ROWS_AT_ONCE, Row};
use crate::refused::Reason;
use std::collections::BTreeSet;
use std::sync::Arc;
use warpline_storage::model::{self, Block, Timestamp};

/// Fields of one table that are remembered.
const MAX_FIELDS: usize = 4_096;

#[derive(Debug)]
pub(super) struct FlightTable {
    pub(super) identity: Vec<Arc<str>>,
    /// DCGM's numbers for none are none there.
    is_gpu: bool,
    pages: Pages,
    /// By thing: the minute in which it was last sent.
    seen: Vec<u32>,
    tag_bytes: usize,
}

/// A row of a batch that can be taken: its number there, its thing and its time.
type Taken = (usize, u32, Timestamp);

impl FlightTable {
    pub(super) fn new(plan: &Plan) -> Self {
        let pages = Pages::new(plan.table.clone(), plan.identity.clone());
        let (identity, is_gpu) = (plan.identity.clone(), *plan.table == *GPU_TABLE);
        Self { identity, is_gpu, pages, seen: Vec::new(), tag_bytes: 0 }
    }

    /// Series that are known.
    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }

    /// The most fields that a row can have once those of a plan are known.
    pub(super) fn fields(&self, plan: &Plan) -> usize {
        self.pages.width_with(plan.fields.iter().map(|(_, field)| &*field.name))
    }

    /// Bytes of what its series are known by.
    pub(super) fn tag_bytes(&self) -> usize {
        self.tag_bytes
    }

    pub(super) fn sent_since(&self, minute: u32) -> usize {
        self.seen.iter().filter(|seen| **seen >= minute).count()
    }

    /// Maps a batch.
    pub(super) fn map(
        &mut self,
        plan: &Plan,
        batch: &Batch,
        request: &Request<'_>,
        tally: &mut FlightTally,
    ) -> Result<Vec<Block>, FlightError> {
        for (column, why) in &plan.refused {
            let present = batch.present.get(*column).copied().unwrap_or_default();
            tally.refused.add(Reason::Column, present, || why.clone());
        }
        let rows = self.rows(plan, batch, request, tally)?;
        let columns = self.columns(plan, batch, tally)?;
        let numbers = columns.iter().map(|(number, _)| *number).collect();
        let mut seen = BTreeSet::new();
        let things = rows.iter().map(|(_, thing, _)| *thing).filter(|thing| seen.insert(*thing));
        let things: Vec<u32> = things.collect();
        let unplaced = self.pages.place(&things, &numbers, request.storage)?.unwrap_or_default();
        self.check_memory(&rows, request.memory)?;
        let mut blocks = Vec::new();
        for rows in rows.chunks(ROWS_AT_ONCE) {
            let begun = self.begin(rows, &unplaced, tally);
            for (number, column) in &columns {
                let array = batch.array(*column)?;
                self.set(&begun, *number, array, &unplaced, tally);
            }
            blocks.extend(self.pages.take_blocks());
        }
        Ok(blocks)
    }

    /// A row is as wide as its page, however few of the fields its batch has.
    fn check_memory(&self, rows: &[Taken], limit: usize) -> Result<(), FlightError> {
        let bytes = |(_, thing, _): &Taken| row_bytes(self.pages.width(*thing));
        within("the rows of a batch take", rows.iter().map(bytes).sum(), limit)
    }

    /// The rows that have a time and a series, in their order.
    fn rows(
        &mut self,
        plan: &Plan,
        batch: &Batch,
        request: &Request<'_>,
        tally: &mut FlightTally,
    ) -> Result<Vec<Taken>, FlightError> {
        let (column, unit) = plan.time;
        let mut times = times(batch.array(column)?, unit);
        for time in &mut times {
            let refused = &mut tally.refused;
            match *time {
                Some(at) if request.accepted.contains(&at) => {}
                Some(at) => refused.add(Reason::Time, 1, || request.storage.why_refused(at)),
                None => refused.add(Reason::Time, 1, || "the time of a row is NULL".to_owned()),
            }
            *time = time.filter(|at| request.accepted.contains(at));
        }
        let arrays = tag_arrays(plan, batch)?;
        let tags = Tags::of(plan, &arrays)?;
        let codes = tags.codes(batch.rows);
        let things = self.things(&tags, &codes, &times, request, tally)?;
        let row = |(row, (code, time)): (usize, (&u32, &Option<Timestamp>))| {
            Some((row, things[*code as usize]?, (*time)?))
        };
        Ok(codes.iter().zip(&times).enumerate().filter_map(row).collect())
    }

    /// By code of a row's tags: its thing.
    fn things(
        &mut self,
        tags: &Tags<'_>,
        codes: &[u32],
        times: &[Option<Timestamp>],
        request: &Request<'_>,
        tally: &mut FlightTally,
    ) -> Result<Vec<Option<u32>>, FlightError> {
        let codes_used = codes.iter().max().map_or(0, |code| *code as usize + 1);
        // How many rows have the code, and one that does.
        let mut groups = vec![(0_u64, 0_usize); codes_used];
        for (row, code) in codes.iter().enumerate().filter(|(row, _)| times[*row].is_some()) {
            let group = &mut groups[*code as usize];
            *group = (group.0 + 1, row);
        }
        let most = self.seen.len().saturating_add(request.room);
        let mut bytes = 0;
        let mut things = vec![None; codes_used];
        for (code, (count, row)) in groups.into_iter().enumerate().filter(|(_, one)| one.0 > 0) {
            let mut own = 0;
            let thing = tags.series(row).and_then(|(identity, attributes)| {
                own = identity.iter().map(|tag| tag.len()).sum::<usize>();
                own += attributes.iter().map(|(_, tag)| tag.len()).sum::<usize>();
                let known = self.pages.thing_within(identity, attributes, most);
                known.ok_or_else(|| too_many(request.series, "of Arrow batches"))
            });
            bytes += own;
            within("the tags of a batch's series take", bytes, request.memory)?;
            match thing {
                Ok(thing) => {
                    if thing as usize >= self.seen.len() {
                        self.seen.resize(thing as usize + 1, request.minute);
                        self.tag_bytes += own;
                    }
                    self.seen[thing as usize] = request.minute;
                    things[code] = Some(thing);
                }
                Err(why) => tally.refused.add(Reason::Series, count, || why),
            }
        }
        Ok(things)
    }

    /// The numbers of the fields, and their columns in the stream.
    fn columns(
        &mut self,
        plan: &Plan,
        batch: &Batch,
        tally: &mut FlightTally,
    ) -> Result<Vec<(u32, usize)>, FlightError> {
        let mut numbers = Vec::with_capacity(plan.fields.len());
        let columns = self.pages.columns();
        for (at, field) in &plan.fields {
            let array = batch.array(*at)?;
            let present = (array.len() - array.null_count()) as u64;
            tally.values += present;
            let is_full = columns.all().len() >= MAX_FIELDS;
            if columns.find(&field.name).is_none() && is_full {
                tally.refused.add(Reason::Column, present, || {
                    let model::Column { name, .. } = field;
                    format!(
                        "column {name:?}: the table has {MAX_FIELDS} fields, which is the limit"
                    )
                });
                continue;
            }
            numbers.push((columns.number(field.clone()), *at));
        }
        Ok(numbers)
    }

    fn begin(
        &mut self,
        rows: &[Taken],
        unplaced: &str,
        tally: &mut FlightTally,
    ) -> Vec<(usize, Row)> {
        let mut begun = Vec::with_capacity(rows.len());
        for (row, thing, time) in rows {
            match self.pages.row(*thing, *time) {
                Some(place) => begun.push((*row, place)),
                None => tally.refused.add(Reason::Series, 1, || unplaced.to_owned()),
            }
        }
        tally.rows += begun.len() as u64;
        begun
    }

    fn set(
        &mut self,
        rows: &[(usize, Row)],
        column: u32,
        array: &arrow::array::ArrayRef,
        unplaced: &str,
        tally: &mut FlightTally,
    ) {
        let (Some((first, _)), Some((last, _))) = (rows.first(), rows.last()) else { return };
        let Some(numbers) = Numbers::of(&array.slice(*first, last - first + 1)) else { return };
        for (row, place) in rows {
            let at = row - first;
            if numbers.is_present(at) {
                let store = |field_type| {
                    let is_blank = self.is_gpu && numbers.is_blank(at, field_type);
                    if is_blank { Ok(None) } else { numbers.store(at, field_type) }
                };
                self.pages.set(*place, column, store, unplaced, &mut tally.refused);
            }
        }
    }
}
