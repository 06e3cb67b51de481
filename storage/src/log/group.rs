//! Commit groups: batches on their way into the log and back.
//!
//! Promises: a group is written once; its entries' blocks are slices of its batches' buffer, without
//! what it defines. Of a group that is read back they are slices of all of it.

use super::format::{
    Cursor, Kind, MARK_BYTES, MAX_POSITION, Malformed, Mark, RECORD_HEADER_BYTES, append_name,
    append_record,
};
use super::layouts::LayoutTable;
use super::producers::Producers;
use crate::model::{Batch, Block, Position, ProducerId, Sequence};
use bytes::Bytes;
use std::ops::Range;

/// Batches that became durable together.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) entries: Vec<Entry>,
}

/// A batch in its place.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) position: Position,
    pub(crate) producer: ProducerId,
    pub(crate) sequence: Sequence,
    pub(crate) blocks: Vec<Block>,
}

/// A group as it is written.
#[derive(Debug)]
pub(super) struct Encoded {
    /// Its mark and what it defines; empty where it defines nothing.
    head: Vec<u8>,
    /// Its batches, behind the mark if the head is empty.
    rest: Bytes,
}

impl Encoded {
    /// What is written one after the other.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        [&self.head[..], &self.rest].into_iter().filter(|part| !part.is_empty())
    }
}

/// Bytes of the batch as a record.
pub(super) fn batch_bytes(batch: &Batch) -> usize {
    let blocks: usize = batch.blocks.iter().map(|block| 8 + block.bytes().len()).sum();
    RECORD_HEADER_BYTES + 8 + 8 + 1 + batch.producer.as_str().len() + 4 + blocks
}

/// A group before it has a place: what it defines, its layouts' numbers, its length.
#[derive(Debug)]
pub(super) struct Plan {
    definitions: Vec<u8>,
    /// One for each block, in order.
    numbers: Vec<u32>,
    length: usize,
}

impl Plan {
    pub(super) fn new(batches: &[Batch], layouts: &mut LayoutTable, seed: u32) -> Self {
        let mut definitions = Vec::new();
        let blocks = batches.iter().flat_map(|batch| &batch.blocks);
        let numbers =
            blocks.map(|block| layouts.number(block.layout(), &mut definitions, seed)).collect();
        let records: usize = batches.iter().map(batch_bytes).sum();
        let length = MARK_BYTES + definitions.len() + records;
        Self { definitions, numbers, length }
    }

    pub(super) fn length(&self) -> u64 {
        self.length as u64
    }

    /// The group at `offset` of the segment with that seed, and its entries over its bytes.
    pub(super) fn encode(
        self,
        batches: Vec<Batch>,
        first: Position,
        offset: u64,
        seed: u32,
    ) -> (Encoded, Group) {
        let mark = Mark { offset, length: self.length(), batches: batches.len() as u32 };
        let (mut head, mut out) = (Vec::new(), Vec::new());
        if !self.definitions.is_empty() {
            mark.append(&mut head, seed);
            head.extend(self.definitions);
        }
        out.reserve_exact(self.length - head.len());
        if head.is_empty() {
            mark.append(&mut out, seed);
        }
        let mut numbers = self.numbers.into_iter();
        let mut places = Vec::with_capacity(numbers.len());
        for (position, batch) in (first..).zip(&batches) {
            append_record(&mut out, seed, Kind::Batch, |out| {
                append_batch(out, position, batch, &mut numbers, &mut places);
            });
        }
        assert_eq!(head.len() + out.len(), self.length, "a group is as long as it was planned");
        let bytes = Bytes::from(out);
        let mut places = places.into_iter();
        let moved = batches.into_iter().map(|batch| moved_to(batch, &bytes, &mut places));
        let entries = (first..).zip(moved).map(|(position, batch)| Entry {
            position,
            producer: batch.producer,
            sequence: batch.sequence,
            blocks: batch.blocks,
        });
        let group = Group { entries: entries.collect() };
        (Encoded { head, rest: bytes }, group)
    }
}

fn append_batch(
    out: &mut Vec<u8>,
    position: Position,
    batch: &Batch,
    numbers: &mut impl Iterator<Item = u32>,
    places: &mut Vec<Range<usize>>,
) {
    out.extend_from_slice(&position.to_le_bytes());
    out.extend_from_slice(&batch.sequence.to_le_bytes());
    append_name(out, batch.producer.as_str());
    out.extend_from_slice(&(batch.blocks.len() as u32).to_le_bytes());
    for block in &batch.blocks {
        let number = numbers.next().expect("the plan numbered every block");
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&(block.bytes().len() as u32).to_le_bytes());
        places.push(out.len()..out.len() + block.bytes().len());
        out.extend_from_slice(block.bytes());
    }
}

fn moved_to(
    mut batch: Batch,
    bytes: &Bytes,
    places: &mut impl Iterator<Item = Range<usize>>,
) -> Batch {
    let blocks = batch.blocks.into_iter().zip(places);
    batch.blocks = blocks.map(|(block, place)| block.moved_to(bytes.slice(place))).collect();
    batch
}

/// What reading a log back has learnt so far.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) producers: Producers,
    pub(super) layouts: LayoutTable,
    /// The position that the next batch must have.
    pub(super) next: Position,
}

impl Replay {
    /// Takes the body of a batch record, a part of `bytes`.
    pub(super) fn batch(&mut self, body: &[u8], bytes: &Bytes) -> Result<Entry, Malformed> {
        let mut cursor = Cursor::new(body);
        let position = cursor.u64()?;
        if position != self.next {
            return Err(Malformed("the batch has not the next position"));
        }
        if position > MAX_POSITION {
            return Err(Malformed("the position is higher than positions go"));
        }
        self.next = position + 1;
        let sequence = cursor.u64()?;
        let producer = self.producers.replay(cursor.name()?, sequence)?;
        let blocks = (0..cursor.u32()?).map(|_| self.block(&mut cursor, bytes));
        let blocks = blocks.collect::<Result<_, _>>()?;
        if !cursor.is_empty() {
            return Err(Malformed("the batch has a rest"));
        }
        Ok(Entry { position, producer, sequence, blocks })
    }

    fn block(&self, cursor: &mut Cursor<'_>, bytes: &Bytes) -> Result<Block, Malformed> {
        let layout = self.layouts.get(cursor.u32()?);
        let layout = layout.ok_or(Malformed("the block's layout is not defined"))?.clone();
        let length = cursor.u32()? as usize;
        let block = bytes.slice_ref(cursor.take(length)?);
        Block::parse(layout, block).map_err(|_| Malformed("the block does not fit its layout"))
    }
}
