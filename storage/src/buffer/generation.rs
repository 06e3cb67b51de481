//! The blocks of one table between two flushes, in log order.

use super::latest::ChunkHeads;
use super::{Budget, Reservation};
use crate::model::{Block, Layout, Position, SeriesId, Timestamp};
use crate::snapshot::TimeRange;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use warpline_kernel::extremes;

pub(crate) const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;
pub(super) const CHUNK_BLOCKS: usize = 1_024;

/// A layout as one table knows it.
#[derive(Debug)]
pub(crate) struct LayoutEntry {
    /// The table's count of its layouts.
    pub(crate) number: u32,
    pub(crate) layout: Arc<Layout>,
    /// The table's number of each of the layout's series.
    pub(crate) series: Vec<SeriesId>,
    /// The layout's series by identity.
    pub(crate) by_identity: Vec<u32>,
    /// Whether no two of the layout's series have the same identity.
    pub(crate) distinct: bool,
}

impl LayoutEntry {
    pub(crate) fn new(number: u32, layout: Arc<Layout>, series: Vec<SeriesId>) -> Self {
        let identity = |at: u32| &layout.series()[at as usize].identity;
        let mut by_identity: Vec<u32> = (0..series.len() as u32).collect();
        by_identity.sort_by(|a, b| identity(*a).cmp(identity(*b)));
        let distinct = by_identity.windows(2).all(|pair| identity(pair[0]) != identity(pair[1]));
        Self { number, layout, series, by_identity, distinct }
    }
}

/// A block with its layout.
#[derive(Clone, Debug)]
pub(crate) struct Buffered {
    pub(crate) block: Block,
    pub(crate) entry: Arc<LayoutEntry>,
}

/// About what a block's record in the log has beside it: a block stays in memory with its group.
/// Definitions of layouts, which stand there once a segment in a group that a log was read back for,
/// are not counted.
const RECORD_HEAD: usize = 64;
/// The allocator's sizes are a quarter of a power of two apart: of a group's buffer, an eighth is
/// not used, on average.
const UNUSED: usize = 8;

/// What it costs to keep a block: its bytes in the group's buffer and what describes them.
pub(crate) fn memory_of(block: &Block) -> usize {
    let in_group = RECORD_HEAD + block.bytes().len();
    size_of::<Buffered>() + in_group + in_group / UNUSED + block.index_bytes()
}

/// Blocks that lie together, with the times they span.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) blocks: Vec<Buffered>,
    pub(crate) times: TimeRange,
}

#[derive(Clone, Debug)]
pub(crate) struct Generation {
    /// All but the last are full and never change; the last is copied when a reader holds it.
    chunks: Vec<Arc<Chunk>>,
    rows: usize,
    times: Option<TimeRange>,
    /// Where rows lie that are at or before `newest` of their series.
    late: Option<TimeRange>,
    /// Days since the epoch that have rows.
    days: BTreeSet<i64>,
    positions: Option<(Position, Position)>,
    /// By series number: the newest time in older generations and files.
    newest: Arc<Newest>,
    /// What readers found in full chunks, for the next one.
    chunk_heads: Arc<Mutex<ChunkHeads>>,
    /// Shared with every slice, so that memory counts until the last reader has gone.
    reservation: Arc<Mutex<Reservation>>,
}

/// The newest time of each series when a generation began; later series have `floor`.
#[derive(Clone, Debug)]
pub(crate) struct Newest {
    pub(crate) times: Vec<Timestamp>,
    pub(crate) floor: Timestamp,
}

impl Newest {
    pub(crate) fn from(floor: Timestamp) -> Self {
        Self { times: Vec::new(), floor }
    }

    fn raise(&mut self, series: SeriesId, time: Timestamp) {
        let id = series as usize;
        if self.times.len() <= id {
            self.times.resize(id + 1, self.floor);
        }
        self.times[id] = self.times[id].max(time);
    }

    pub(crate) fn of(&self, series: SeriesId) -> Timestamp {
        self.times.get(series as usize).copied().unwrap_or(self.floor)
    }
}

impl Generation {
    pub(crate) fn new(newest: Arc<Newest>, budget: &Arc<Budget>) -> Self {
        Self {
            chunks: Vec::new(),
            rows: 0,
            times: None,
            late: None,
            days: BTreeSet::new(),
            positions: None,
            newest,
            chunk_heads: Arc::default(),
            reservation: Arc::new(Mutex::new(budget.force(0))),
        }
    }

    /// Takes a block; `latest` is brought forward to the block's times.
    pub(crate) fn push(
        &mut self,
        position: Position,
        buffered: Buffered,
        memory: Reservation,
        latest: &mut Newest,
    ) {
        let block = &buffered.block;
        if block.rows() == 0 {
            return;
        }
        let times = block_times(block);
        self.rows += block.rows();
        self.times = Some(self.times.map_or(times, |all| all.span(times)));
        self.note_late(&buffered, times, latest);
        self.note_days(block, times);
        let first = self.positions.map_or(position, |(first, _)| first);
        self.positions = Some((first, position));
        self.reservation.lock().absorb(memory);
        self.append(buffered, times);
    }

    fn append(&mut self, buffered: Buffered, times: TimeRange) {
        match self.chunks.last_mut().filter(|chunk| chunk.blocks.len() < CHUNK_BLOCKS) {
            Some(last) => {
                let last = Arc::make_mut(last);
                last.times = last.times.span(times);
                last.blocks.push(buffered);
            }
            None => self.chunks.push(Arc::new(Chunk { blocks: vec![buffered], times })),
        }
    }

    fn note_late(&mut self, buffered: &Buffered, times: TimeRange, latest: &mut Newest) {
        let (block, series) = (&buffered.block, &buffered.entry.series);
        let mut any = false;
        for row in 0..block.rows() {
            let (id, time) = (series[block.series_index(row) as usize], block.time(row));
            any |= time <= self.newest.of(id);
            latest.raise(id, time);
        }
        if any {
            self.late = Some(self.late.map_or(times, |late| late.span(times)));
        }
    }

    fn note_days(&mut self, block: &Block, times: TimeRange) {
        let day = |time: Timestamp| time.div_euclid(MICROSECONDS_PER_DAY);
        if day(times.first) == day(times.last) {
            self.days.insert(day(times.first));
        } else {
            self.days.extend((0..block.rows()).map(|row| day(block.time(row))));
        }
    }

    pub(crate) fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub(crate) fn times(&self) -> Option<TimeRange> {
        self.times
    }

    pub(crate) fn late(&self) -> Option<TimeRange> {
        self.late
    }

    pub(crate) fn days(&self) -> &BTreeSet<i64> {
        &self.days
    }

    /// The first and the last log position with rows here.
    pub(crate) fn positions(&self) -> Option<(Position, Position)> {
        self.positions
    }

    pub(crate) fn newest(&self) -> &Arc<Newest> {
        &self.newest
    }

    pub(super) fn chunk_heads(&self) -> &Mutex<ChunkHeads> {
        &self.chunk_heads
    }
}

fn block_times(block: &Block) -> TimeRange {
    if block.has_one_time() {
        return TimeRange { first: block.time(0), last: block.time(0) };
    }
    let times: Vec<Timestamp> = (0..block.rows()).map(|row| block.time(row)).collect();
    let (first, last) = extremes(&times).expect("the block has rows");
    TimeRange { first, last }
}
