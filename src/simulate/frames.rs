//! Makes the frames of some nodes: live from the fleet, or ahead of time to be replayed.

use crate::fleet::{Fleet, Node};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use warpline_storage::model::{Layout, Timestamp};

/// What one frame carries.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    bytes: Vec<u8>,
    blocks: Vec<Place>,
    pub(super) content: Content,
}

/// What of a frame is counted and audited. Times are those of its first and last row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) rows: u64,
    /// Present values only.
    pub(super) values: u64,
    pub(super) times: Option<(Timestamp, Timestamp)>,
}

/// One block of a frame.
#[derive(Clone, Debug)]
struct Place {
    /// The node's place in its stream.
    node: usize,
    layout: Arc<Layout>,
    time: Timestamp,
    bytes: Range<usize>,
}

impl Content {
    fn add(&mut self, rows: u64, values: u64, time: Timestamp) {
        self.rows += rows;
        self.values += values;
        let (first, last) = self.times.unwrap_or((time, time));
        self.times = Some((first.min(time), last.max(time)));
    }
}

impl Frame {
    /// The frame's blocks: the node's place in its stream, the layout, the bytes.
    pub(super) fn into_blocks(self) -> impl Iterator<Item = (usize, Arc<Layout>, Bytes)> {
        let bytes = Bytes::from(self.bytes);
        self.blocks.into_iter().map(move |p| (p.node, p.layout, bytes.slice(p.bytes)))
    }

    /// The frame as if it had been made `later` microseconds afterwards.
    fn moved(&self, later: i64) -> Self {
        let mut moved = self.clone();
        for place in &mut moved.blocks {
            place.time += later;
            moved.bytes[place.bytes.start + 8..place.bytes.start + 16]
                .copy_from_slice(&place.time.to_le_bytes());
        }
        moved.content.times = self.content.times.map(|(a, b)| (a + later, b + later));
        moved
    }
}

/// The frames of one stream: frame `n` carries the ticks from `n * ticks_per_frame` on.
#[derive(Debug)]
pub(super) struct Frames {
    start: Timestamp,
    interval: i64,
    ticks: u64,
    ticks_per_frame: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Live(Vec<Node>),
    /// A ring of frames; the one before the first follows the last, moved in time.
    Prepared(Vec<Frame>),
}

impl Frames {
    /// Frames of the fleet's nodes in `nodes`, for `ticks` ticks from `start`.
    pub(super) fn new(
        fleet: &Fleet,
        nodes: Range<u64>,
        start: Timestamp,
        ticks: u64,
        ticks_per_frame: u64,
    ) -> Self {
        let interval = fleet.spec().interval_us;
        let source = Source::Live(nodes.map(|index| fleet.node(index)).collect());
        Self { start, interval, ticks, ticks_per_frame, source }
    }

    /// Makes the first `ring` frames now and replays them from then on: sending costs no more than
    /// a copy, but counters fall back and jobs begin again each time the ring is through.
    pub(super) fn prepare(&mut self, ring: u64) {
        let ring = ring.clamp(1, self.count().max(1));
        let frames = (0..ring).map(|number| self.make(number));
        let mut frames: Vec<Frame> = frames.collect();
        keep_first_layouts(&mut frames);
        self.source = Source::Prepared(frames);
    }

    /// How many frames there are.
    pub(super) fn count(&self) -> u64 {
        self.ticks.div_ceil(self.ticks_per_frame)
    }

    /// When all of the frame's scrapes have been made.
    pub(super) fn due(&self, number: u64) -> Timestamp {
        self.tick_time((number + 1) * self.ticks_per_frame)
    }

    fn tick_time(&self, tick: u64) -> Timestamp {
        self.start + self.interval * tick.min(self.ticks).cast_signed()
    }

    /// Frame `number`, counted from 0. Numbers asked for should rise.
    pub(super) fn make(&mut self, number: u64) -> Frame {
        let first = number * self.ticks_per_frame;
        let last = (first + self.ticks_per_frame).min(self.ticks);
        let time = self.start + self.interval * first.cast_signed();
        match &mut self.source {
            Source::Live(nodes) => fill(nodes, time, self.interval, last - first),
            Source::Prepared(ring) => {
                let (round, place) = (number / ring.len() as u64, number % ring.len() as u64);
                let ticks = round * ring.len() as u64 * self.ticks_per_frame;
                ring[place as usize].moved(self.interval * ticks.cast_signed())
            }
        }
    }
}

fn fill(nodes: &mut [Node], first: Timestamp, interval: i64, ticks: u64) -> Frame {
    let mut frame = Frame::default();
    for (at, node) in nodes.iter_mut().enumerate() {
        for tick in 0..ticks.cast_signed() {
            let time = first + interval * tick;
            let from = frame.bytes.len();
            let Some(scrape) = node.tick(time, &mut frame.bytes) else { continue };
            let bytes = from..frame.bytes.len();
            let layout = node.layout(time);
            frame.blocks.push(Place { node: at, layout, time: scrape.time, bytes });
            frame.content.add(scrape.rows, scrape.values, scrape.time);
        }
    }
    frame
}

/// A replayed job keeps its name: layouts that alternate would be defined anew in every round.
fn keep_first_layouts(frames: &mut [Frame]) {
    let mut first: Vec<Option<Arc<Layout>>> = Vec::new();
    for place in frames.iter_mut().flat_map(|frame| &mut frame.blocks) {
        if place.node >= first.len() {
            first.resize(place.node + 1, None);
        }
        place.layout = first[place.node].get_or_insert_with(|| place.layout.clone()).clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::FleetSpec;
    use warpline_storage::model::Block;

    const START: Timestamp = 1_795_132_800_000_000;
    const SECOND: i64 = 1_000_000;

    fn frames(ticks: u64, ticks_per_frame: u64) -> Frames {
        let fleet = Fleet::new(FleetSpec::new(1, 40, SECOND));
        Frames::new(&fleet, 1..4, START, ticks, ticks_per_frame)
    }

    fn blocks(frame: Frame) -> Vec<Block> {
        let blocks = frame.into_blocks();
        blocks.map(|(_, layout, bytes)| Block::parse(layout, bytes).expect("a block")).collect()
    }

    #[test]
    fn frames_carry_every_tick_once() {
        let mut frames = frames(10, 4);
        assert_eq!(frames.count(), 3);
        let contents: Vec<Content> = (0..3).map(|number| frames.make(number).content).collect();
        assert_eq!(contents.iter().map(|c| c.rows).sum::<u64>(), 10 * 3 * 8);
        assert_eq!(contents[2].values, 2 * 3 * 8 * 60);
        let (first, last) = contents[1].times.expect("rows");
        assert!(first > START + 4 * SECOND && last < START + 8 * SECOND);
        assert_eq!(frames.due(2), START + 10 * SECOND, "the last frame is short");
    }

    #[test]
    fn a_ring_is_replayed_at_later_times() {
        let mut live = frames(100, 2);
        let mut ring = frames(100, 2);
        ring.prepare(5);
        for number in 0..5 {
            let (a, b) = (live.make(number), ring.make(number));
            assert_eq!((a.bytes, a.content), (b.bytes, b.content));
        }
        let (early, late) = (blocks(ring.make(1)), blocks(ring.make(11)));
        assert_eq!(early.len(), late.len());
        for (early, late) in early.iter().zip(&late) {
            assert_eq!(late.time(0) - early.time(0), 20 * SECOND);
            assert_eq!(early.bytes()[16..], late.bytes()[16..]);
        }
    }
}
