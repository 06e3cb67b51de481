//! Which rows a scan yields and in which order: by identity, then time, then log order.

use super::generation::{Chunk, Generation, LayoutEntry, Newest};
use super::{Buffered, Keep, TagValues};
use crate::model::{SeriesId, Timestamp};
use crate::snapshot::TimeRange;
use hashbrown::HashMap;
use std::sync::Arc;
use warpline_kernel::strictly_increasing;

/// A run of more rows is read series by series, so that a batch stays bounded.
const MAX_RUN_ROWS: usize = 32_768;

/// One buffered row: a block by its number in log order, and a row in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowAddress {
    pub(super) block: u32,
    pub(super) row: u32,
}

/// The blocks of one layout that a scan reads.
#[derive(Debug)]
struct Group {
    entry: Arc<LayoutEntry>,
    /// Blocks with one time whose row `i` is series `i`, in log order.
    ticks: Vec<u32>,
    /// Rows of all other blocks, by series of the layout, in log order within a series.
    rest: HashMap<u32, Vec<RowAddress>>,
}

/// Which rows a scan yields and in which order: looked up once for all who read a part of them.
#[derive(Debug)]
pub struct RowOrder {
    chunks: Vec<Arc<Chunk>>,
    /// Number of each chunk's first block.
    starts: Vec<u32>,
    groups: Vec<Group>,
    /// (group, series of its layout), by identity.
    series: Vec<(u32, u32)>,
    times: TimeRange,
    keep: Keep,
}

/// The rows of a part of an order, found series by series.
#[derive(Debug)]
pub(super) struct Walk {
    order: Arc<RowOrder>,
    next: usize,
    end: usize,
}

/// All rows of a layout whose blocks came one tick after the other: the usual case, which needs
/// no sort and no address per row.
#[derive(Debug)]
pub(super) struct TickRun {
    pub(super) entry: Arc<LayoutEntry>,
    /// One block per tick; times grow.
    pub(super) ticks: Vec<u32>,
}

impl TickRun {
    pub(super) fn rows(&self) -> usize {
        self.entry.by_identity.len() * self.ticks.len()
    }
}

/// All rows of one identity, sorted; equal times stand in log order.
#[derive(Debug, Default)]
pub(super) struct SeriesRows {
    pub(super) addresses: Vec<RowAddress>,
    pub(super) times: Vec<Timestamp>,
}

impl RowOrder {
    /// Of generations in log order. Series without one of the tags are left out.
    pub(super) fn new(
        generations: &[Generation],
        times: TimeRange,
        keep: Keep,
        tags: &[TagValues],
    ) -> Self {
        let chunks = generations.iter().flat_map(Generation::chunks);
        let chunks: Vec<_> = chunks.filter(|chunk| chunk.times.meets(times)).cloned().collect();
        let mut starts = Vec::with_capacity(chunks.len());
        let mut start = 0;
        for chunk in &chunks {
            starts.push(start);
            start += u32::try_from(chunk.blocks.len()).expect("chunks are small");
        }
        let groups = group_blocks(&chunks, times, tags);
        let series = series_by_identity(&groups, tags);
        Self { chunks, starts, groups, series, times, keep }
    }

    pub(super) fn block(&self, number: u32) -> &Buffered {
        let chunk = self.starts.partition_point(|start| *start <= number) - 1;
        &self.chunks[chunk].blocks[(number - self.starts[chunk]) as usize]
    }

    /// The place of the first series of one of several parts that have about as many each: series
    /// of one identity stay together.
    fn start_of(&self, part: usize, parts: usize) -> usize {
        let start = self.series.len() * part / parts;
        let Some(before) = start.checked_sub(1) else { return 0 };
        let same = |at: &&(u32, u32)| self.identity(**at) == self.identity(self.series[before]);
        start + self.series[start..].iter().take_while(same).count()
    }

    fn identity(&self, (group, series): (u32, u32)) -> &[Arc<str>] {
        &self.groups[group as usize].entry.layout.series()[series as usize].identity
    }

    fn collect(&self, group: &Group, series: u32, out: &mut SeriesRows) {
        let id = group.entry.series[series as usize];
        for block in &group.ticks {
            let time = self.block(*block).block.time(series as usize);
            self.push(id, time, RowAddress { block: *block, row: series }, out);
        }
        for address in group.rest.get(&series).into_iter().flatten() {
            let time = self.block(address.block).block.time(address.row as usize);
            self.push(id, time, *address, out);
        }
    }

    fn push(&self, id: SeriesId, time: Timestamp, address: RowAddress, out: &mut SeriesRows) {
        if self.times.contains(time) && self.keep.takes(id, time) {
            out.addresses.push(address);
            out.times.push(time);
        }
    }
}

impl Walk {
    pub(super) fn new(order: Arc<RowOrder>, (part, parts): (usize, usize)) -> Self {
        let [next, end] = [part, part + 1].map(|part| order.start_of(part, parts));
        Self { order, next, end }
    }

    pub(super) fn order(&self) -> &RowOrder {
        &self.order
    }

    /// The next identities together, where they are a whole layout that ticked regularly.
    pub(super) fn next_ticks(&mut self) -> Option<TickRun> {
        let RowOrder { groups, series, keep, .. } = &*self.order;
        let series = &series[..self.end];
        let (number, _) = *series.get(self.next)?;
        let group = &groups[number as usize];
        let order = &group.entry.by_identity;
        let end = self.next + order.len();
        let whole = series.get(self.next..end)?;
        let identity = |at| self.order.identity(at);
        let alone = whole.iter().zip(order).all(|(at, series)| *at == (number, *series))
            && series
                .get(end)
                .is_none_or(|next| identity(*next) != identity(whole[order.len() - 1]));
        let times = || group.ticks.iter().map(|block| self.order.block(*block).block.time(0));
        let regular = matches!(keep, Keep::All)
            && alone
            && group.rest.is_empty()
            && group.entry.distinct
            && order.len() * group.ticks.len() <= MAX_RUN_ROWS
            && strictly_increasing(&times().collect::<Vec<_>>());
        if !regular {
            return None;
        }
        let run = TickRun { entry: group.entry.clone(), ticks: group.ticks.clone() };
        self.next = end;
        Some(run)
    }

    /// Fills `out` with the rows of the next identity that has any; false at the end.
    pub(super) fn next_series(&mut self, out: &mut SeriesRows) -> bool {
        out.addresses.clear();
        out.times.clear();
        while out.addresses.is_empty() {
            let order = &*self.order;
            let left = &order.series[self.next..self.end];
            let Some(first) = left.first() else { return false };
            let same = |other: &&(u32, u32)| order.identity(**other) == order.identity(*first);
            let own = left.iter().take_while(same).count();
            for (group, series) in &left[..own] {
                order.collect(&order.groups[*group as usize], *series, out);
            }
            self.next += own;
            out.sort();
        }
        true
    }
}

impl SeriesRows {
    fn sort(&mut self) {
        if strictly_increasing(&self.times) {
            return;
        }
        let mut order: Vec<_> =
            self.times.iter().copied().zip(self.addresses.iter().copied()).collect();
        order.sort_by_key(|(time, address)| (*time, address.block, address.row));
        (self.times, self.addresses) = order.into_iter().unzip();
    }
}

impl Keep {
    fn takes(&self, id: SeriesId, time: Timestamp) -> bool {
        let late = |newest: &Newest| time <= newest.of(id);
        match self {
            Self::All => true,
            Self::Monotone(newest) => !late(newest),
            Self::Late(newest) => late(newest),
        }
    }
}

/// Whether layouts have a series with some tags. A fleet has tens of thousands of layouts and very
/// many more blocks: each layout is looked at once.
struct Layouts<'a> {
    tags: &'a [TagValues],
    /// By the layout's number.
    known: HashMap<u32, bool>,
}

impl Layouts<'_> {
    fn any(&mut self, entry: &LayoutEntry) -> bool {
        let mut series = entry.layout.series().iter();
        let mut any = || series.any(|series| TagValues::all_hold(self.tags, &series.identity));
        self.tags.is_empty() || *self.known.entry(entry.number).or_insert_with(&mut any)
    }
}

fn group_blocks(chunks: &[Arc<Chunk>], times: TimeRange, tags: &[TagValues]) -> Vec<Group> {
    let mut layouts = Layouts { tags, known: HashMap::new() };
    let mut numbers: HashMap<u32, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    let blocks = chunks.iter().flat_map(|chunk| &chunk.blocks);
    for (number, Buffered { block, entry }) in blocks.enumerate() {
        if !layouts.any(entry) {
            continue;
        }
        if block.has_one_time() && !times.contains(block.time(0)) {
            continue;
        }
        let at = *numbers.entry(entry.number).or_insert_with(|| {
            groups.push(Group { entry: entry.clone(), ticks: Vec::new(), rest: HashMap::new() });
            groups.len() - 1
        });
        let number = u32::try_from(number).expect("a generation has fewer than 2^32 blocks");
        if block.is_tick() {
            groups[at].ticks.push(number);
            continue;
        }
        for row in (0..block.rows() as u32).filter(|row| times.contains(block.time(*row as usize)))
        {
            let rows = groups[at].rest.entry(block.series_index(row as usize)).or_default();
            rows.push(RowAddress { block: number, row });
        }
    }
    groups
}

/// Every series with these tags of every group, by identity. Layouts of whole nodes do not
/// interleave, so putting them in order of their first series leaves the sort (which takes runs as
/// they come) no work.
fn series_by_identity(groups: &[Group], tags: &[TagValues]) -> Vec<(u32, u32)> {
    let identity = |group: u32, series: u32| {
        &groups[group as usize].entry.layout.series()[series as usize].identity
    };
    let mut order: Vec<u32> = (0..groups.len() as u32).collect();
    let first = |group: u32| identity(group, groups[group as usize].entry.by_identity[0]);
    order.sort_by(|a, b| first(*a).cmp(first(*b)));
    let mut all: Vec<(u32, u32)> = order
        .into_iter()
        .flat_map(|group| {
            groups[group as usize].entry.by_identity.iter().map(move |series| (group, *series))
        })
        .filter(|(group, series)| TagValues::all_hold(tags, identity(*group, *series)))
        .collect();
    all.sort_by(|a, b| identity(a.0, a.1).cmp(identity(b.0, b.1)));
    all
}
