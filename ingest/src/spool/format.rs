//! The bytes of a spool's segment: header and records. docs/formats/spool.md draws them.
//!
//! All integers are little-endian. Decoding trusts nothing: every length is checked against the
//! bytes at hand before it is used, and every checksum before a body is read.

use super::{LayoutId, Place};
use crate::frame::MAX_SEQUENCE;
use bytes::Bytes;
use warpline_storage::model::{Sequence, Timestamp};

pub(super) const VERSION: u32 = 1;
pub(super) const HEADER_BYTES: usize = 44;
/// Checksum, length and kind.
pub(super) const RECORD_BYTES: usize = 9;
/// A frame's body before its blocks, and each block before its data.
const FRAME_BYTES: usize = 20;
const BLOCK_BYTES: usize = 12;
/// Places, shifts and numbers of layouts go up to this: two of them can be added.
const MAX_NUMBER: u64 = MAX_SEQUENCE;
/// And those that a process finds, so that it can count on.
pub(super) const MAX_FOUND: u64 = MAX_NUMBER - (1 << 32);
pub(super) const MAGIC: [u8; 8] = *b"WARPSPL\n";

const LAYOUT: u8 = 1;
const FRAME: u8 = 2;
const CONTACT: u8 = 3;

/// Why bytes are not what a spool writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// A later Warpline wrote this format version.
    Newer(u32),
    Malformed,
}

/// What stands at the start of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// No frame of the segment has a lower place.
    pub(super) first: Place,
    /// A frame's sequence is its place and this.
    pub(super) shift: u64,
    /// The last sequence that may have been sent; the highest there is if any of this segment may.
    pub(super) claimed: Sequence,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for number in [self.first, self.shift, self.claimed] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let header = Self::read(&mut Bytes::copy_from_slice(bytes))?;
        let sum = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]);
        if bytes[HEADER_BYTES - 4..HEADER_BYTES] != sum.to_le_bytes() {
            return Err(HeaderError::Malformed);
        }
        Ok(header)
    }

    fn read(bytes: &mut Bytes) -> Result<Self, HeaderError> {
        let malformed = |_| HeaderError::Malformed;
        if take(bytes, 8).map_err(malformed)? != MAGIC[..] {
            return Err(HeaderError::Malformed);
        }
        match u32_of(bytes).map_err(malformed)? {
            VERSION => {}
            0 => return Err(HeaderError::Malformed),
            newer => return Err(HeaderError::Newer(newer)),
        }
        take(bytes, 4).map_err(malformed)?;
        let mut number = || number_of(bytes).map_err(malformed);
        let (first, shift) = (number()?, number()?);
        let claimed = u64_of(bytes).map_err(malformed)?;
        // The checksum's place is within the bytes.
        take(bytes, 4).map_err(malformed)?;
        Ok(Self { first, shift, claimed })
    }
}

/// What the checksums of a segment's records start from, so that a record of one segment is not
/// taken for one of another.
pub(super) fn seed(first: Place) -> u32 {
    crc32c::crc32c(&first.to_le_bytes())
}

/// What stands before a record's body.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordHeader {
    sum: u32,
    length: u32,
    pub(super) kind: u8,
}

impl RecordHeader {
    pub(super) fn decode(bytes: &[u8; RECORD_BYTES]) -> Self {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|n| bytes[at + n]));
        Self { sum: word(0), length: word(4), kind: bytes[8] }
    }

    /// Bytes of the body; `None` where the length is none that a record can have.
    pub(super) fn body_bytes(&self) -> Option<usize> {
        (self.length as usize).checked_sub(1)
    }

    /// Whether `body` is what was written behind this header.
    pub(super) fn matches(&self, seed: u32, body: &[u8]) -> bool {
        let sum = crc32c::crc32c_append(seed, &self.length.to_le_bytes());
        let sum = crc32c::crc32c_append(sum, &[self.kind]);
        self.sum == crc32c::crc32c_append(sum, body)
    }
}

/// A verified record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// The `Define` message of a layout, whose number in the message means nothing.
    Layout {
        id: LayoutId,
        define: Bytes,
    },
    Frame(Frame),
    /// From here on frames of this segment may have been sent, under this shift.
    Contact {
        shift: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) place: Place,
    /// When it was appended, in microseconds since 1970.
    pub(super) time: Timestamp,
    pub(super) blocks: Vec<(LayoutId, Bytes)>,
}

impl Record {
    pub(super) fn decode(kind: u8, body: &Bytes) -> Result<Self, Malformed> {
        let mut rest = body.clone();
        let record = match kind {
            LAYOUT => {
                let id = number_of(&mut rest)?;
                Self::Layout { id, define: std::mem::take(&mut rest) }
            }
            FRAME => Self::Frame(read_frame(&mut rest)?),
            CONTACT => Self::Contact { shift: number_of(&mut rest)? },
            _ => return Err(Malformed),
        };
        if rest.is_empty() { Ok(record) } else { Err(Malformed) }
    }
}

fn read_frame(rest: &mut Bytes) -> Result<Frame, Malformed> {
    let place = number_of(rest)?;
    let time = u64_of(rest)?.cast_signed();
    let count = u32_of(rest)? as usize;
    if count > rest.len() / BLOCK_BYTES {
        return Err(Malformed);
    }
    let mut blocks = Vec::with_capacity(count);
    for _ in 0..count {
        let id = u64_of(rest)?;
        let length = u32_of(rest)? as usize;
        blocks.push((id, take(rest, length)?));
    }
    Ok(Frame { place, time, blocks })
}

pub(super) fn put_layout(out: &mut Vec<u8>, seed: u32, id: LayoutId, define: &[u8]) {
    put(out, seed, LAYOUT, |out| {
        out.extend_from_slice(&id.to_le_bytes());
        out.extend_from_slice(define);
    });
}

pub(super) fn put_frame(out: &mut Vec<u8>, seed: u32, frame: &Frame) {
    put(out, seed, FRAME, |out| {
        out.extend_from_slice(&frame.place.to_le_bytes());
        out.extend_from_slice(&frame.time.to_le_bytes());
        out.extend_from_slice(&(frame.blocks.len() as u32).to_le_bytes());
        for (id, data) in &frame.blocks {
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(&(data.len() as u32).to_le_bytes());
            out.extend_from_slice(data);
        }
    });
}

pub(super) fn put_contact(out: &mut Vec<u8>, seed: u32, shift: u64) {
    put(out, seed, CONTACT, |out| out.extend_from_slice(&shift.to_le_bytes()));
}

/// Bytes of a frame's record.
pub(super) fn frame_bytes(blocks: impl Iterator<Item = usize>) -> usize {
    RECORD_BYTES + FRAME_BYTES + blocks.map(|bytes| BLOCK_BYTES + bytes).sum::<usize>()
}

fn put(out: &mut Vec<u8>, seed: u32, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; RECORD_BYTES - 1]);
    out.push(kind);
    body(out);
    let length = (out.len() - start - RECORD_BYTES + 1) as u32;
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    let sum = crc32c::crc32c_append(seed, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&sum.to_le_bytes());
}

/// A record of any kind and body.
#[cfg(test)]
pub(super) fn put_raw(out: &mut Vec<u8>, seed: u32, kind: u8, body: &[u8]) {
    put(out, seed, kind, |out| out.extend_from_slice(body));
}

fn take(bytes: &mut Bytes, count: usize) -> Result<Bytes, Malformed> {
    if count > bytes.len() { Err(Malformed) } else { Ok(bytes.split_to(count)) }
}

fn u32_of(bytes: &mut Bytes) -> Result<u32, Malformed> {
    let word = take(bytes, 4)?;
    Ok(u32::from_le_bytes([0, 1, 2, 3].map(|n| word[n])))
}

/// A number that is counted on from.
fn number_of(bytes: &mut Bytes) -> Result<u64, Malformed> {
    u64_of(bytes).and_then(|number| if number > MAX_NUMBER { Err(Malformed) } else { Ok(number) })
}

fn u64_of(bytes: &mut Bytes) -> Result<u64, Malformed> {
    Ok(u64::from(u32_of(bytes)?) | u64::from(u32_of(bytes)?) << 32)
}
