//! Sorted rows in memory, cut into stretches of one series.

use super::groups::Groups;
use super::question::Question;
use crate::scan::{Chunk, TagRuns, chunk};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::compute::{filter, prep_null_mask_filter};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use warpline_storage::TimeRange;

/// The columns that a statement reads, as numbers in the table's schema, and what becomes of them.
#[derive(Debug)]
pub(super) struct Reading {
    /// The identity first: where it changes, times begin anew.
    pub tags: Vec<usize>,
    pub identity: usize,
    /// Places in `tags` of those grouped by.
    pub group: Vec<usize>,
    pub fields: Vec<usize>,
    /// Over `tags` alone.
    pub tag_filter: Option<Arc<dyn PhysicalExpr>>,
    pub tag_schema: SchemaRef,
    pub row_filter: Option<RowFilter>,
    /// Whether the series of a stretch matters beyond its group.
    pub by_series: bool,
}

/// A filter over rows.
#[derive(Debug)]
pub(super) struct RowFilter {
    pub expr: Arc<dyn PhysicalExpr>,
    /// In SQL types.
    pub schema: SchemaRef,
    pub columns: Vec<RowColumn>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum RowColumn {
    Time,
    /// A place in `Reading::tags`.
    Tag(usize),
    /// A place in `Reading::fields`.
    Field(usize),
}

/// Rows of one series with one value of each tag, ascending in time.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    pub rows: Range<u32>,
    pub group: u32,
    /// Zero where the series does not matter.
    pub series: u32,
}

/// Where rows of one combination of tag values end, and its codes, tag by tag.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    pub ends: Vec<u32>,
    codes: Vec<u32>,
}

impl Cuts {
    pub(super) fn of(tags: &[Arc<TagRuns>], rows: u32) -> Self {
        let mut cuts = Self::default();
        let mut runs = vec![0; tags.len()];
        let mut start = 0;
        while start < rows {
            let ends = tags.iter().zip(&runs).map(|(tag, run): (_, &usize)| tag.ends()[*run]);
            let end = ends.min().unwrap_or(rows);
            cuts.codes.extend(tags.iter().zip(&runs).map(|(tag, run)| tag.codes()[*run]));
            cuts.ends.push(end);
            for (tag, run) in tags.iter().zip(&mut runs) {
                *run += usize::from(tag.ends()[*run] == end);
            }
            start = end;
        }
        cuts
    }

    fn codes(&self, cut: usize) -> &[u32] {
        let tags = self.codes.len() / self.ends.len();
        &self.codes[cut * tags..][..tags]
    }

    fn start(&self, cut: usize) -> u32 {
        if cut == 0 { 0 } else { self.ends[cut - 1] }
    }

    /// Which of some cuts pass the filter over tags.
    pub(super) fn passing(
        &self,
        tags: &[Arc<TagRuns>],
        reading: &Reading,
        cuts: Range<usize>,
    ) -> Result<Vec<usize>> {
        let Some(predicate) = &reading.tag_filter else {
            return Ok(cuts.collect());
        };
        let columns = tags
            .iter()
            .enumerate()
            .map(|(place, tag)| tag.column(cuts.clone().map(|cut| self.codes(cut)[place])));
        let options = RecordBatchOptions::new().with_row_count(Some(cuts.len()));
        let schema = Arc::clone(&reading.tag_schema);
        let batch = RecordBatch::try_new_with_options(schema, columns.collect(), &options)?;
        let mask = mask(predicate, &batch)?;
        Ok(mask.set_indices().map(|index| cuts.start + index).collect())
    }
}

/// The rows where a predicate is true.
fn mask(predicate: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<BooleanBuffer> {
    let mask = predicate.evaluate(batch)?.into_array(batch.num_rows())?;
    let mask = mask.as_boolean();
    let mask = if mask.null_count() == 0 { mask.clone() } else { prep_null_mask_filter(mask) };
    Ok(mask.values().clone())
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
        let series = match reading.by_series {
            true => numbers.series.number((0..reading.identity).map(value)),
            false => 0,
        };
        let rows = cuts.start(*cut)..cuts.ends[*cut];
        let pieces = ranges.iter().map(|range| within(times, &rows, *range));
        let pieces = pieces.filter(|rows| !rows.is_empty());
        found.extend(pieces.map(|rows| Stretch { rows, group, series }));
    }
    found
}

/// The rows of a sorted stretch whose times lie in `range`.
fn within(times: &[i64], rows: &Range<u32>, range: TimeRange) -> Range<u32> {
    let own = &times[rows.start as usize..rows.end as usize];
    let place = |found: usize| rows.start + found as u32;
    match own {
        [] => rows.start..rows.start,
        [first, .., last] if range.first <= *first && *last <= range.last => rows.clone(),
        _ => {
            let start = own.partition_point(|time| *time < range.first);
            let end = own.partition_point(|time| *time <= range.last);
            place(start)..place(end.max(start))
        }
    }
}

/// Columns of sorted rows, and the stretches of them that count.
#[derive(Debug)]
pub(super) struct Piece {
    pub times: ScalarBuffer<i64>,
    /// As `Reading::fields`.
    pub fields: Vec<ArrayRef>,
    pub stretches: Vec<Stretch>,
}

impl Piece {
    /// A batch in stored types with the columns time, tags and fields of a reading.
    pub(super) fn of_batch(
        batch: &RecordBatch,
        reading: &Reading,
        numbers: &Numbers,
    ) -> Result<Self> {
        let tags = batch.columns()[1..=reading.tags.len()].iter().map(|column| {
            match chunk(Arc::clone(column))? {
                Chunk::Tag(runs) => Ok(runs),
                Chunk::Values(_) => internal_err!("a tag is a dictionary"),
            }
        });
        let tags: Vec<_> = tags.collect::<Result<_>>()?;
        let times = times(batch.column(0));
        let cuts = Cuts::of(&tags, batch.num_rows() as u32);
        let chosen = cuts.passing(&tags, reading, 0..cuts.ends.len())?;
        let all = (&*times, [TimeRange::ALL].as_slice());
        let stretches = stretches(&tags, &cuts, &chosen, all, (reading, numbers));
        let fields = batch.columns()[1 + reading.tags.len()..].iter();
        let fields = fields.map(|column| match chunk(Arc::clone(column))? {
            Chunk::Values(values) => Ok(values),
            Chunk::Tag(_) => internal_err!("a field is not a dictionary"),
        });
        let fields = fields.collect::<Result<_>>()?;
        Self { times, fields, stretches }.filtered(&tags, reading)
    }

    /// The rows that pass the filter over rows, moved together.
    pub(super) fn filtered(self, tags: &[Arc<TagRuns>], reading: &Reading) -> Result<Self> {
        let Some(predicate) = &reading.row_filter else {
            return Ok(self);
        };
        let (Some(first), Some(last)) = (self.stretches.first(), self.stretches.last()) else {
            return Ok(self);
        };
        let span = first.rows.start..last.rows.end;
        let (start, rows) = (span.start as usize, span.len());
        let columns =
            predicate.columns.iter().zip(predicate.schema.fields()).map(|(column, field)| {
                let stored: ArrayRef = match column {
                    RowColumn::Time => {
                        let times = self.times.slice(start, rows);
                        let times = arrow::array::TimestampMicrosecondArray::new(times, None);
                        Arc::new(times.with_timezone("UTC"))
                    }
                    RowColumn::Tag(place) => tags[*place].rows(span.clone()),
                    RowColumn::Field(place) => self.fields[*place].slice(start, rows),
                };
                Ok(arrow::compute::cast(&stored, field.data_type())?)
            });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let batch = RecordBatch::try_new(Arc::clone(&predicate.schema), columns)?;
        let mask = mask(&predicate.expr, &batch)?;
        self.kept(&mask, start)
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
        let fields = self.fields.iter();
        let fields = fields.map(|field| filter(&field.slice(start, mask.len()), &predicate));
        let fields = fields.collect::<Result<_, _>>()?;
        Ok(Self { times, fields, stretches })
    }
}

/// The microseconds of a time column.
pub(super) fn times(column: &ArrayRef) -> ScalarBuffer<i64> {
    column.as_primitive::<TimestampMicrosecondType>().values().clone()
}

impl Question {
    /// Whether some ask takes steps from row to row of a series.
    pub(super) fn by_series(&self) -> bool {
        use super::aggregates::Ask;
        self.asks.iter().any(|ask| matches!(ask, Ask::Increase(_) | Ask::Delta(_)))
    }
}
