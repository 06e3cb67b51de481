//! Cuts sorted rows into runs: rows of one series, one bucket and one value of each attribute.
//!
//! A batch may end anywhere; the run that it ends in stays open until the next one.

use super::tags::{BatchTags, Entered, TagSets};
use crate::error::StorageError;
use crate::model::{TableSchema, Timestamp};
use std::ops::Range;
use std::sync::Arc;
use warpline_kernel::{Edges, Grid, strictly_increasing};

/// What is known of the rows of a batch, each of which may stand for many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    /// Which bucket each is in.
    pub times: &'a [Timestamp],
    pub first_times: &'a [Timestamp],
    pub last_times: &'a [Timestamp],
    /// How many raw rows each stands for; `None` for one.
    pub weights: Option<&'a [i32]>,
}

impl Rows<'_> {
    fn weight(&self, rows: Range<usize>) -> i64 {
        match self.weights {
            None => rows.len() as i64,
            Some(weights) => weights[rows].iter().map(|weight| i64::from(*weight)).sum(),
        }
    }
}

/// The runs of a batch.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    /// By run: the row after its last.
    pub ends: Vec<u32>,
    /// By bucket: the run after its last.
    pub buckets: Vec<u32>,
    /// Whether the first run goes on with the one that was open.
    pub run_continues: bool,
    /// Whether the first bucket does.
    pub bucket_continues: bool,
}

/// Keys of the runs that were cut, in the order of their series and times.
#[derive(Debug)]
pub(super) struct Keys {
    table: Arc<str>,
    grid: Grid,
    pub sets: TagSets,
    pub set: Vec<u32>,
    pub bucket: Vec<i64>,
    pub part: Vec<u32>,
    pub rows: Vec<i32>,
    pub first_time: Vec<Timestamp>,
    pub last_time: Vec<Timestamp>,
    /// By series: its first run.
    pub series: Vec<usize>,
    edges: Edges,
}

impl Keys {
    pub(super) fn new(raw: &TableSchema, grid: Grid) -> Self {
        Self {
            table: raw.table.clone(),
            grid,
            sets: TagSets::new(raw),
            set: Vec::new(),
            bucket: Vec::new(),
            part: Vec::new(),
            rows: Vec::new(),
            first_time: Vec::new(),
            last_time: Vec::new(),
            series: Vec::new(),
            edges: Edges::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.set.len()
    }

    /// How many runs are of series that have ended.
    pub(super) fn complete(&self) -> usize {
        self.series.last().copied().unwrap_or(0)
    }

    /// When the bucket of a run begins.
    pub(super) fn start(&self, run: usize) -> Timestamp {
        self.grid.start(self.bucket[run])
    }

    /// Adds the runs of a batch.
    pub(super) fn cut(&mut self, tags: &BatchTags, rows: Rows<'_>) -> Result<Cuts, StorageError> {
        let mut cuts = Cuts::default();
        let all = rows.times.len();
        if all == 0 {
            return Ok(cuts);
        }
        let starts = tags.series_changes();
        let changes = tags.attribute_changes();
        let mut start = 0;
        for end in starts.iter().map(|row| *row as usize).chain([all]) {
            let from = changes.partition_point(|row| *row as usize <= start);
            let to = changes.partition_point(|row| (*row as usize) < end);
            self.cut_series(tags, rows, start..end, &changes[from..to], &mut cuts)?;
            start = end;
        }
        Ok(cuts)
    }

    /// `changes` are the rows within the series at which attributes change.
    fn cut_series(
        &mut self,
        tags: &BatchTags,
        rows: Rows<'_>,
        series: Range<usize>,
        changes: &[u32],
        cuts: &mut Cuts,
    ) -> Result<(), StorageError> {
        let entered = self.sets.enter(tags, series.start, &self.table)?;
        if entered == Entered::NewSeries {
            self.series.push(self.len());
        }
        self.check_times(rows, &series, entered)?;
        let mut edges = std::mem::take(&mut self.edges);
        edges.find(&rows.times[series.clone()], self.grid);
        let mut changes = changes.iter().map(|row| *row as usize).peekable();
        let mut row = series.start;
        for (number, end) in edges.numbers().iter().zip(edges.ends()) {
            let end = series.start + *end as usize;
            let first = row == series.start;
            let known =
                first && entered != Entered::NewSeries && self.bucket.last() == Some(number);
            cuts.bucket_continues |= known;
            let mut continues = known && entered == Entered::Same;
            let mut part = if known { self.part[self.len() - 1] + 1 } else { 0 };
            while row < end {
                if changes.next_if_eq(&row).is_some() {
                    self.sets.push(tags, row);
                }
                let until = changes.peek().map_or(end, |change| end.min(*change));
                if continues {
                    cuts.run_continues = true;
                    self.extend(rows, row..until)?;
                } else {
                    self.push(rows, row..until, (*number, part))?;
                    part += 1;
                }
                cuts.ends.push(until as u32);
                (row, continues) = (until, false);
            }
            cuts.buckets.push(cuts.ends.len() as u32);
        }
        self.edges = edges;
        Ok(())
    }

    fn check_times(
        &self,
        rows: Rows<'_>,
        series: &Range<usize>,
        entered: Entered,
    ) -> Result<(), StorageError> {
        let times = &rows.first_times[series.clone()];
        let follows = entered == Entered::NewSeries
            || self.last_time.last().is_none_or(|before| *before < times[0]);
        if follows && strictly_increasing(times) {
            return Ok(());
        }
        Err(StorageError::internal(format!(
            "rows of a series of table {} are not in order of time at {}",
            self.table, times[0]
        )))
    }

    fn push(
        &mut self,
        rows: Rows<'_>,
        run: Range<usize>,
        (bucket, part): (i64, u32),
    ) -> Result<(), StorageError> {
        self.set.push(self.sets.last());
        self.bucket.push(bucket);
        self.part.push(part);
        self.rows.push(self.weighed(rows.weight(run.clone()))?);
        self.first_time.push(rows.first_times[run.start]);
        self.last_time.push(rows.last_times[run.end - 1]);
        Ok(())
    }

    /// Adds rows to the last run.
    fn extend(&mut self, rows: Rows<'_>, run: Range<usize>) -> Result<(), StorageError> {
        let last = self.len() - 1;
        self.rows[last] = self.weighed(i64::from(self.rows[last]) + rows.weight(run.clone()))?;
        self.last_time[last] = rows.last_times[run.end - 1];
        Ok(())
    }

    fn weighed(&self, rows: i64) -> Result<i32, StorageError> {
        i32::try_from(rows).map_err(|_| {
            StorageError::rejected(format!(
                "a series of table {} has {rows} rows in one bucket, more than a rollup counts",
                self.table
            ))
        })
    }

    /// Forgets the first runs, which are those of whole series.
    pub(super) fn forget(&mut self, runs: usize) {
        let before = self.set.get(runs).copied().unwrap_or(self.sets.last());
        self.sets.forget(before);
        self.set.drain(..runs);
        self.set.iter_mut().for_each(|set| *set -= before);
        self.bucket.drain(..runs);
        self.part.drain(..runs);
        self.rows.drain(..runs);
        self.first_time.drain(..runs);
        self.last_time.drain(..runs);
        self.series.retain(|first| *first >= runs);
        self.series.iter_mut().for_each(|first| *first -= runs);
    }
}
