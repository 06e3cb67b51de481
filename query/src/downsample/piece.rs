//! Sorted rows in memory, cut into stretches of one series.

use super::groups::Groups;
use crate::scan::{Choice, Chunk, Cuts, FieldChunk, TagRuns, chunk, within};
use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::compute::filter;
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::common::internal_err;
use datafusion::error::Result;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use warpline_storage::TimeRange;

/// Which columns and rows a statement reads, and what becomes of them.
#[derive(Debug)]
pub(super) struct Reading {
    pub choice: Choice,
    pub identity: usize,
    /// Places in the choice's tags of those grouped by.
    pub group: Vec<usize>,
    /// Whether the series of a stretch matters beyond its group.
    pub by_series: bool,
}

/// Rows of one series with one value of each tag, ascending in time.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    pub rows: Range<u32>,
    pub group: u32,
    /// Zero where the series does not matter.
    pub series: u32,
}

/// Where stretches of a statement get their numbers.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    pub groups: Groups,
    pub series: Groups,
}

/// Stretches of some cuts, within ranges of time.
pub(super) fn stretches(
    tags: &[Arc<TagRuns>],
    cuts: &Cuts,
    chosen: &[usize],
    (times, ranges): (&[i64], &[TimeRange]),
    (reading, numbers): (&Reading, &Numbers),
) -> Vec<Stretch> {
    let mut known: HashMap<Vec<u32>, u32> = HashMap::new();
    let mut found = Vec::with_capacity(chosen.len());
    for cut in chosen {
        let codes = cuts.codes(*cut);
        let value = |place: usize| tags[place].value(codes[place]);
        let own: Vec<u32> = reading.group.iter().map(|place| codes[*place]).collect();
        let group = *known
            .entry(own)
            .or_insert_with(|| numbers.groups.number(reading.group.iter().map(|p| value(*p))));
        let series = if reading.by_series {
            numbers.series.number((0..reading.identity).map(value))
        } else {
            0
        };
        let rows = cuts.rows(*cut);
        let pieces = ranges.iter().map(|range| within(times, &rows, *range));
        let pieces = pieces.filter(|rows| !rows.is_empty());
        found.extend(pieces.map(|rows| Stretch { rows, group, series }));
    }
    found
}

/// Columns of sorted rows, and the stretches of them that count.
#[derive(Debug)]
pub(super) struct Piece {
    pub times: ScalarBuffer<i64>,
    /// As `Choice::fields`.
    pub fields: Vec<FieldChunk>,
    pub stretches: Vec<Stretch>,
}

impl Piece {
    /// The rows within `ranges` of a batch in stored types with the columns time, tags and fields
    /// of a reading.
    pub(super) fn of_batch(
        batch: &RecordBatch,
        ranges: &[TimeRange],
        reading: &Reading,
        numbers: &Numbers,
    ) -> Result<Self> {
        let tags =
            batch.columns()[1..=reading.choice.tags.len()].iter().map(|column| {
                match chunk(Arc::clone(column))? {
                    Chunk::Tag(runs) => Ok(runs),
                    Chunk::Values(_) => internal_err!("a tag is a dictionary"),
                }
            });
        let tags: Vec<_> = tags.collect::<Result<_>>()?;
        let times = times(batch.column(0));
        let cuts = Cuts::of(&tags, batch.num_rows() as u32);
        let chosen = reading.choice.passing(&tags, &cuts)?;
        let within = (&*times, ranges);
        let stretches = stretches(&tags, &cuts, &chosen, within, (reading, numbers));
        let fields = batch.columns()[1 + reading.choice.tags.len()..].iter();
        let fields = fields.map(|column| match chunk(Arc::clone(column))? {
            Chunk::Values(values) => Ok(values),
            Chunk::Tag(_) => internal_err!("a field is not a dictionary"),
        });
        let fields = fields.collect::<Result<_>>()?;
        Self { times, fields, stretches }.filtered(&tags, reading)
    }

    /// The rows that pass the filter over rows, moved together.
    pub(super) fn filtered(self, tags: &[Arc<TagRuns>], reading: &Reading) -> Result<Self> {
        let (Some(first), Some(last)) = (self.stretches.first(), self.stretches.last()) else {
            return Ok(self);
        };
        let span = first.rows.start..last.rows.end;
        let start = span.start as usize;
        match reading.choice.mask(tags, &self.times, &self.fields, span)? {
            Some(mask) => self.kept(&mask, start),
            None => Ok(self),
        }
    }

    /// The rows set in `mask`, which begins at row `start`.
    fn kept(self, mask: &BooleanBuffer, start: usize) -> Result<Self> {
        if mask.count_set_bits() == mask.len() {
            return Ok(self);
        }
        let mut stretches = Vec::with_capacity(self.stretches.len());
        let (mut seen, mut kept) = (0, 0);
        for stretch in self.stretches {
            let [from, to] = [stretch.rows.start, stretch.rows.end].map(|row| row as usize - start);
            kept += mask.slice(seen, from - seen).count_set_bits();
            let own = mask.slice(from, to - from).count_set_bits();
            if own > 0 {
                let rows = kept as u32..(kept + own) as u32;
                stretches.push(Stretch { rows, ..stretch });
            }
            (seen, kept) = (to, kept + own);
        }
        let predicate = BooleanArray::new(mask.clone(), None);
        let times = arrow::array::Int64Array::new(self.times.slice(start, mask.len()), None);
        let times = filter(&times, &predicate)?;
        let times = times.as_primitive::<arrow::datatypes::Int64Type>().values().clone();
        let span = start as u32..(start + mask.len()) as u32;
        let fields = self.fields.iter().map(|field| {
            let rows = filter(&field.rows(span.clone())?, &predicate)?;
            Ok(FieldChunk::Rows(rows))
        });
        let fields = fields.collect::<Result<_>>()?;
        Ok(Self { times, fields, stretches })
    }
}

/// The microseconds of a time column.
pub(super) fn times(column: &ArrayRef) -> ScalarBuffer<i64> {
    column.as_primitive::<TimestampMicrosecondType>().values().clone()
}
