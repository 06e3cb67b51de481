//! The bytes of a segment: header, records, group marks. docs/formats/log.md draws them.
//!
//! All integers are little-endian. Decoding trusts nothing: every length is checked against the
//! bytes at hand before it is used.

use crate::model::Position;
use uuid::Uuid;

pub(super) const VERSION: u32 = 1;
pub(super) const HEADER_BYTES: usize = 44;
/// Checksum, length and kind.
pub(super) const RECORD_HEADER_BYTES: usize = 9;
/// Checksum and length come on top. What is larger is refused before it is staged.
pub(super) const MAX_RECORD_BYTES: usize = u32::MAX as usize - 64;
/// The highest position: tables keep positions in 63 bits.
pub(super) const MAX_POSITION: Position = Position::MAX / 2;
pub(super) const MARK_BYTES: usize = RECORD_HEADER_BYTES + 20;
pub(super) const MAGIC: [u8; 8] = *b"WARPLOG\n";

/// Why bytes are not what the log writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// What stands at the start of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) incarnation: Uuid,
    pub(super) first: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// A later Warpline wrote this format version.
    Newer(u32),
    Malformed(Malformed),
}

impl From<Malformed> for HeaderError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(self.incarnation.as_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        debug_assert_eq!(out.len(), HEADER_BYTES);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut cursor = Cursor::new(bytes);
        if cursor.take(8)? != MAGIC {
            return Err(Malformed("the header has not the log's magic bytes").into());
        }
        let version = cursor.u32()?;
        if version > VERSION {
            return Err(HeaderError::Newer(version));
        }
        cursor.take(4)?;
        let incarnation = Uuid::from_bytes(*cursor.array()?);
        let first = cursor.u64()?;
        let sum = cursor.u32()?;
        if version == 0 || sum != crc32c::crc32c(&bytes[..HEADER_BYTES - 4]) {
            return Err(Malformed("the header's checksum does not match").into());
        }
        if first > MAX_POSITION + 1 {
            return Err(Malformed("the first position is higher than positions go").into());
        }
        Ok(Self { incarnation, first })
    }
}

/// What the checksums of a segment's records start from, so that a record of one segment is not
/// taken for one of another.
pub(super) fn seed(first: Position) -> u32 {
    crc32c::crc32c(&first.to_le_bytes())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Producers = 1,
    Shape = 2,
    Layout = 3,
    Batch = 4,
    Mark = 5,
}

impl Kind {
    fn of(byte: u8) -> Result<Self, Malformed> {
        Ok(match byte {
            1 => Self::Producers,
            2 => Self::Shape,
            3 => Self::Layout,
            4 => Self::Batch,
            5 => Self::Mark,
            _ => return Err(Malformed("the record is of an unknown kind")),
        })
    }
}

/// Appends one record; `body` writes what follows the kind.
pub(super) fn append_record(
    out: &mut Vec<u8>,
    seed: u32,
    kind: Kind,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, kind as u8]);
    body(out);
    let length = u32::try_from(out.len() - start - 8).expect("stage refuses larger records");
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    let sum = crc32c::crc32c_append(seed, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&sum.to_le_bytes());
}

/// A record whose checksum has been verified.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    pub(super) body: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record at the start of `bytes`, which may go on behind it.
    pub(super) fn read(bytes: &'a [u8], seed: u32) -> Result<Self, Malformed> {
        let length = Self::length(bytes)?;
        if length > bytes.len() {
            return Err(Malformed("the record is longer than what holds it"));
        }
        let (sum, covered) = bytes[..length].split_at(4);
        if sum != crc32c::crc32c_append(seed, covered).to_le_bytes() {
            return Err(Malformed("the record's checksum does not match"));
        }
        Ok(Self { kind: Kind::of(covered[4])?, body: &covered[5..] })
    }

    /// The whole length of a record from its first bytes, unverified.
    pub(super) fn length(bytes: &[u8]) -> Result<usize, Malformed> {
        if bytes.len() < RECORD_HEADER_BYTES {
            return Err(Malformed("the record's header is cut short"));
        }
        match Cursor::new(&bytes[4..]).u32()? as usize {
            0 => Err(Malformed("the record has no length")),
            length => Ok(8 + length),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        RECORD_HEADER_BYTES + self.body.len()
    }
}

/// Opens a commit group. Everything before a mark was durable when the mark was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Where in the segment the mark stands.
    pub(super) offset: u64,
    /// Bytes of the whole group, the mark included.
    pub(super) length: u64,
    pub(super) batches: u32,
}

impl Mark {
    pub(super) fn append(&self, out: &mut Vec<u8>, seed: u32) {
        append_record(out, seed, Kind::Mark, |out| {
            out.extend_from_slice(&self.offset.to_le_bytes());
            out.extend_from_slice(&self.length.to_le_bytes());
            out.extend_from_slice(&self.batches.to_le_bytes());
        });
    }

    /// The mark that stands at `offset` of its segment, in the first bytes of `bytes`.
    pub(super) fn read(bytes: &[u8], offset: u64, seed: u32) -> Result<Self, Malformed> {
        let record = Record::read(bytes, seed)?;
        let mut cursor = Cursor::new(record.body);
        let mark = Self { offset: cursor.u64()?, length: cursor.u64()?, batches: cursor.u32()? };
        let sound = record.kind == Kind::Mark
            && cursor.is_empty()
            && mark.offset == offset
            && mark.length >= MARK_BYTES as u64;
        if sound { Ok(mark) } else { Err(Malformed("a group mark was expected")) }
    }

    /// What bytes 4 to 9 of every mark are.
    pub(super) fn pattern() -> [u8; 5] {
        let [a, b, c, d] = (MARK_BYTES as u32 - 8).to_le_bytes();
        [a, b, c, d, Kind::Mark as u8]
    }
}

/// Reads integers and slices off the front of bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CUT_SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(CUT_SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(|bytes| u16::from_le_bytes(*bytes))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(|bytes| u32::from_le_bytes(*bytes))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// A string of up to 255 bytes behind its length.
    pub(super) fn name(&mut self) -> Result<&'a str, Malformed> {
        let length = self.u8()?;
        self.text(usize::from(length))
    }

    pub(super) fn text(&mut self, length: usize) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed("a name is not UTF-8"))
    }
}

const CUT_SHORT: Malformed = Malformed("the record ends before what it tells");

/// Writes what [`Cursor::name`] reads.
pub(super) fn append_name(out: &mut Vec<u8>, name: &str) {
    out.push(u8::try_from(name.len()).expect("names are at most 128 bytes"));
    out.extend_from_slice(name.as_bytes());
}
