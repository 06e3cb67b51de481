//! Merges sorted files into sorted rows with unique keys, last write per field.
//!
//! Promises: few batches of each file are in memory at a time, whatever the files' sizes; rows come
//! out by identity, then time. Where no two files have a key in common, whole runs are copied and
//! nothing is compared but the heads of runs.

mod gather;
mod source;

use crate::error::{ErrorKind, StorageError};
use crate::model::{TableSchema, Timestamp};
use crate::snapshot::{DataFile, FileKind, TimeRange};
use crate::table::row_bytes;
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use gather::{Part, gather};
use object_store::ObjectStore;
use source::Source;
pub(crate) use source::{Batches, batches_of};
use std::sync::Arc;

/// A batch that comes out has as many rows as take so many bytes, and no more than that.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_ROWS: usize = 32_768;
const LEAST_ROWS: usize = 1_024;

/// Batches of a file that may be held for the rows that are going out.
const HELD_BATCHES: usize = 4;

/// Bytes of decoded rows that a merge holds of a file at a time, where each takes so many.
pub(crate) fn held_bytes(row_bytes: usize) -> usize {
    HELD_BATCHES * source::read_rows(row_bytes) * row_bytes
}

/// Which keys come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Those that no file outside the merge can have.
    New,
    /// The others: late files alone have them, at times in which older files may have them too.
    Late,
}

/// The rows of files, in the order of their writes, as one.
pub(crate) struct Merge {
    schema: Arc<TableSchema>,
    /// Rows of a batch that comes out.
    batch_rows: usize,
    /// In the order of writes; those that have ended stay, without rows.
    sources: Vec<Source>,
    /// The sources that have the series being merged.
    current: Vec<usize>,
    /// Batches that rows taken so far lie in, and those that sources stand in.
    held: Vec<RecordBatch>,
    wanted: Wanted,
    /// Where keys of late files alone stay late. Disjoint and ascending.
    late_stays: Vec<TimeRange>,
    /// Rows at other times are left out. Disjoint and ascending.
    times: Arc<[TimeRange]>,
    repeat: Option<Repeat>,
    failed: bool,
}

/// A key that several sources have.
#[derive(Clone, Debug)]
pub(crate) struct Repeat {
    /// Their numbers, in the order of writes.
    pub(crate) sources: Vec<usize>,
    pub(crate) identity: Vec<String>,
    pub(crate) time: Timestamp,
}

impl Merge {
    /// The rows of `files`, which are in the order of their writes, at times in `times`: keys that
    /// late files alone have are late at times in `late_stays`. Both are disjoint and ascend. Reads
    /// happen on the runtime that this is called on; the merge itself must run where it may block.
    pub(crate) async fn of_files(
        store: &Arc<dyn ObjectStore>,
        schema: &Arc<TableSchema>,
        files: &[Arc<DataFile>],
        wanted: Wanted,
        late_stays: Vec<TimeRange>,
        times: &[TimeRange],
    ) -> Result<Self, StorageError> {
        let times: Arc<[TimeRange]> = times.into();
        let mut sources = Vec::with_capacity(files.len());
        for file in files {
            let late = file.kind == FileKind::Late;
            let batches =
                batches_of(store.clone(), file.clone(), schema.clone(), times.clone()).await?;
            sources.push(Source::new(schema, batches, late));
        }
        Ok(Self { wanted, late_stays, times, ..Self::over(schema, sources) })
    }

    /// All rows of several sources, earlier writes first.
    pub(crate) fn of(schema: &Arc<TableSchema>, sources: Vec<Batches>) -> Self {
        let source = |batches| Source::new(schema, batches, false);
        Self::over(schema, sources.into_iter().map(source).collect())
    }

    fn over(schema: &Arc<TableSchema>, sources: Vec<Source>) -> Self {
        let batch_rows = BATCH_BYTES / row_bytes(&schema.arrow());
        Self {
            schema: schema.clone(),
            batch_rows: batch_rows.clamp(LEAST_ROWS, BATCH_ROWS),
            sources,
            current: Vec::new(),
            held: Vec::new(),
            wanted: Wanted::New,
            late_stays: Vec::new(),
            times: [TimeRange::ALL].into(),
            repeat: None,
            failed: false,
        }
    }

    /// The first key that several sources had, if any had so far.
    pub(crate) fn repeat(&self) -> Option<&Repeat> {
        self.repeat.as_ref()
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>, StorageError> {
        if self.sources.is_empty() {
            return Ok(None);
        }
        loop {
            let (mut parts, mut rows, mut ended) = (Vec::new(), 0, false);
            while rows < self.batch_rows && self.held.len() < HELD_BATCHES * self.sources.len() {
                ended = self.current.is_empty() && !self.next_series()?;
                if ended {
                    break;
                }
                rows += self.step(self.batch_rows - rows, &mut parts)?;
            }
            let batch = (rows > 0).then(|| gather(&self.schema.arrow(), &self.held, &parts, rows));
            self.release();
            if ended || batch.is_some() {
                return Ok(batch);
            }
        }
    }

    /// Finds the least identity that is left and the sources that have it.
    fn next_series(&mut self) -> Result<bool, StorageError> {
        for source in &mut self.sources {
            source.load(&mut self.held)?;
        }
        for (number, source) in self.sources.iter().enumerate() {
            let Some(identity) = source.identity() else { continue };
            let least = self.current.first().and_then(|first| self.sources[*first].identity());
            match least.map(|least| identity.cmp(least)) {
                Some(std::cmp::Ordering::Greater) => {}
                Some(std::cmp::Ordering::Equal) => self.current.push(number),
                Some(std::cmp::Ordering::Less) | None => self.current = vec![number],
            }
        }
        for number in &self.current {
            self.sources[*number].begin();
        }
        Ok(!self.current.is_empty())
    }

    /// Takes the next key of the series, or a run of keys that one source alone has; answers how
    /// many rows that makes, at most `room`.
    fn step(&mut self, room: usize, parts: &mut Vec<Part>) -> Result<usize, StorageError> {
        let heads = || self.current.iter().map(|number| self.sources[*number].time());
        let first = heads().min().expect("a series has sources");
        let next = heads().filter(|time| *time > first).min();
        let holders: Vec<usize> =
            self.current.iter().copied().filter(|n| self.sources[*n].time() == first).collect();
        let rows = match holders[..] {
            [alone] => self.take_run(alone, next, room, parts),
            _ => self.take_key(&holders, first, parts),
        };
        for number in holders {
            self.sources[number].load(&mut self.held)?;
        }
        self.current.retain(|number| self.sources[*number].continues());
        Ok(rows)
    }

    fn take_run(
        &mut self,
        number: usize,
        before: Option<Timestamp>,
        room: usize,
        parts: &mut Vec<Part>,
    ) -> usize {
        let source = &self.sources[number];
        let (first, late) = (source.time(), source.is_late());
        // A run of one fate: each of its times comes out, or none does.
        let asked = next_edge(&self.times, first);
        let stays = late.then(|| next_edge(&self.late_stays, first)).flatten();
        let before = [before, asked, stays].into_iter().flatten().min();
        let (place, rows) = source.run(before, room);
        let wanted = self.is_wanted(!late, first);
        self.sources[number].advance(rows);
        if !wanted {
            return 0;
        }
        parts.push(Part::Run { place, rows });
        rows
    }

    fn take_key(&mut self, holders: &[usize], time: Timestamp, parts: &mut Vec<Part>) -> usize {
        if self.repeat.is_none() {
            let identity = self.sources[holders[0]].identity().unwrap_or_default().to_vec();
            self.repeat = Some(Repeat { sources: holders.to_vec(), identity, time });
        }
        let is_new = holders.iter().any(|number| !self.sources[*number].is_late());
        let wanted = self.is_wanted(is_new, time);
        let places = holders.iter().map(|number| self.sources[*number].place()).collect();
        for number in holders {
            self.sources[*number].advance(1);
        }
        if !wanted {
            return 0;
        }
        parts.push(Part::Key(places));
        1
    }

    /// Whether a key comes out that a monotone file has, or late ones alone.
    fn is_wanted(&self, monotone: bool, time: Timestamp) -> bool {
        let stays_late = !monotone && holds(&self.late_stays, time);
        stays_late == (self.wanted == Wanted::Late) && holds(&self.times, time)
    }

    /// Lets go of batches that no source stands in.
    fn release(&mut self) {
        let mut kept = Vec::new();
        for source in &mut self.sources {
            source.keep(&self.held, &mut kept);
        }
        self.held = kept;
    }
}

/// The first of the ranges, which ascend, that does not end before a time.
fn next_range(ranges: &[TimeRange], time: Timestamp) -> Option<&TimeRange> {
    ranges.get(ranges.partition_point(|range| range.last < time))
}

fn holds(ranges: &[TimeRange], time: Timestamp) -> bool {
    next_range(ranges, time).is_some_and(|range| range.first <= time)
}

/// A time after this one before which the ranges hold every time from this one on, or none of them;
/// `None` where that does not end.
fn next_edge(ranges: &[TimeRange], time: Timestamp) -> Option<Timestamp> {
    let range = next_range(ranges, time)?;
    if range.first <= time { range.last.checked_add(1) } else { Some(range.first) }
}

/// The rows whose times do not lie in the ranges, which ascend.
pub(crate) fn outside(rows: Batches, ranges: Vec<TimeRange>) -> Batches {
    let wanted = move |batch: RecordBatch| {
        let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
        let wanted: BooleanArray = times.iter().map(|time| Some(!holds(&ranges, *time))).collect();
        if wanted.true_count() == batch.num_rows() {
            return Ok(batch);
        }
        filter_record_batch(&batch, &wanted)
            .map_err(|e| StorageError::because(ErrorKind::Internal, "rows not chosen", e))
    };
    Box::new(rows.map(move |batch| batch.and_then(&wanted)))
}

impl Iterator for Merge {
    type Item = Result<RecordBatch, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let batch = self.batch();
        self.failed = batch.is_err();
        batch.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Field;
    use arrow::array::{DictionaryArray, Int32Array, TimestampMicrosecondArray};
    use arrow::datatypes::Int32Type;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Values by node and time.
    type Rows = BTreeMap<(String, Timestamp), i32>;

    fn table() -> Arc<TableSchema> {
        let value = Field { name: "v".into(), field_type: "int32".parse().unwrap() };
        Arc::new(TableSchema {
            table: "t".into(),
            identity: vec!["node".into()],
            attributes: Vec::new(),
            fields: vec![value],
        })
    }

    /// In batches of so many rows.
    fn source(rows: &Rows, batch_rows: usize) -> Batches {
        let batch = |rows: &[(&(String, Timestamp), &i32)]| {
            let times = rows.iter().map(|((_, time), _)| *time);
            let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
            let nodes: DictionaryArray<Int32Type> =
                rows.iter().map(|((node, _), _)| node.as_str()).collect();
            let values = Int32Array::from_iter_values(rows.iter().map(|(_, value)| **value));
            let columns = vec![Arc::new(times) as _, Arc::new(nodes) as _, Arc::new(values) as _];
            Ok(RecordBatch::try_new(table().arrow(), columns).unwrap())
        };
        let rows: Vec<_> = rows.iter().collect();
        Box::new(rows.chunks(batch_rows).map(batch).collect::<Vec<_>>().into_iter())
    }

    fn rows_of(merge: Merge) -> Vec<((String, Timestamp), i32)> {
        let rows = |batch: RecordBatch| {
            let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().clone();
            let nodes = crate::table::Tag::of(batch.column(1));
            let values = batch.column(2).as_primitive::<Int32Type>();
            let row = |at: usize| ((nodes.value(at).to_owned(), times.value(at)), values.value(at));
            (0..batch.num_rows()).map(row).collect::<Vec<_>>()
        };
        merge.flat_map(|batch| rows(batch.unwrap())).collect()
    }

    fn some_rows() -> impl Strategy<Value = Rows> {
        let key = ("[ab]", 0..60_i64);
        prop::collection::btree_map(key, any::<i32>(), 0..60)
    }

    proptest! {
        /// The last write of each key comes out, at the times that were asked for.
        #[test]
        fn other_times_are_left_out(
            writes in prop::collection::vec((some_rows(), 1..40_usize), 1..4),
            edges in prop::collection::btree_set(-2..62_i64, 0..7),
        ) {
            let edges: Vec<_> = edges.into_iter().collect();
            let range = |pair: &[i64]| TimeRange { first: pair[0], last: pair[1] - 1 };
            let times: Arc<[TimeRange]> = edges.chunks_exact(2).map(range).collect();
            let sources = writes.iter().map(|(rows, batch)| source(rows, *batch)).collect();
            let merge = Merge { times: times.clone(), ..Merge::of(&table(), sources) };
            let mut wanted = Rows::new();
            for (rows, _) in writes {
                wanted.extend(rows);
            }
            wanted.retain(|(_, time), _| times.iter().any(|range| range.contains(*time)));
            prop_assert_eq!(rows_of(merge), wanted.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn times_are_alike_up_to_an_edge() {
        let ranges = [(2, 4), (5, 5), (9, Timestamp::MAX)];
        let ranges = ranges.map(|(first, last)| TimeRange { first, last });
        for (time, inside, edge) in [
            (-3, false, Some(2)),
            (2, true, Some(5)),
            (4, true, Some(5)),
            (5, true, Some(6)),
            (6, false, Some(9)),
            (9, true, None),
        ] {
            assert_eq!((holds(&ranges, time), next_edge(&ranges, time)), (inside, edge), "{time}");
        }
        assert_eq!((holds(&ranges[..1], 7), next_edge(&ranges[..1], 7)), (false, None));
    }

    #[test]
    fn a_merge_of_nothing_ends() {
        let schema = TableSchema {
            table: "t".into(),
            identity: vec!["node".into()],
            attributes: Vec::new(),
            fields: Vec::new(),
        };
        assert!(Merge::of(&Arc::new(schema), Vec::new()).next().is_none());
    }
}
