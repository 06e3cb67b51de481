//! A message's buffers: each lies within the message's body, and becomes as long as it says when
//! it is decompressed, or is refused.
//!
//! Arrow's own reader trusts both: a buffer outside the body panics there, and a compressed one
//! may say that it is petabytes, or become more than it says.

use super::{FlightError, malformed};
use arrow::buffer::Buffer;
use arrow::ipc;
use std::io::Read;

/// A compressed buffer begins with its length; -1 says that it is not compressed after all.
const LENGTH_BYTES: usize = 8;
const NOT_COMPRESSED: i64 = -1;
/// What a frame of LZ4 begins with, and how far its blocks may refer back.
const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const LZ4_WINDOW: usize = 64 << 10;
/// A decompressor of Zstandard, beside what it reads and writes.
const ZSTD_SCRATCH: usize = 256 << 10;

#[derive(Clone, Copy, Debug)]
enum Codec {
    Lz4,
    Zstd,
}

/// What comes with a message's header.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Buffer,
    codec: Option<Codec>,
}

impl Body {
    pub(super) fn new(bytes: Buffer, batch: ipc::RecordBatch<'_>) -> Result<Self, FlightError> {
        check_lengths(bytes.len(), batch)?;
        let codec = match batch.compression() {
            None => None,
            Some(compression) => {
                if compression.method() != ipc::BodyCompressionMethod::BUFFER {
                    return Err(malformed("it is compressed by a method that is not known here"));
                }
                match compression.codec() {
                    ipc::CompressionType::LZ4_FRAME => Some(Codec::Lz4),
                    ipc::CompressionType::ZSTD => Some(Codec::Zstd),
                    _ => return Err(malformed("its compression is neither LZ4 nor Zstandard")),
                }
            }
        };
        Ok(Self { bytes, codec })
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What it takes to read a buffer.
    pub(super) fn cost(&self, place: &ipc::Buffer) -> Result<Unpacking, FlightError> {
        match self.stored(place)? {
            Stored::Plain(_) => Ok(Unpacking::default()),
            Stored::Packed { codec, bytes, length } => {
                Ok(Unpacking { bytes: length, scratch: codec.scratch(&bytes)? })
            }
        }
    }

    /// The buffer as it was before compression.
    pub(super) fn buffer(&self, place: &ipc::Buffer) -> Result<Buffer, FlightError> {
        match self.stored(place)? {
            Stored::Plain(bytes) => Ok(bytes),
            Stored::Packed { codec, bytes, length } => {
                let unpacked = codec.unpack(&bytes, length).filter(|all| all.len() == length);
                let unpacked = unpacked.ok_or_else(|| {
                    malformed(format!("a compressed buffer is not the {length} bytes that it says"))
                })?;
                Ok(Buffer::from_vec(unpacked))
            }
        }
    }

    fn stored(&self, place: &ipc::Buffer) -> Result<Stored, FlightError> {
        let bytes = self.slice(place)?;
        let Some(codec) = self.codec.filter(|_| !bytes.is_empty()) else {
            return Ok(Stored::Plain(bytes));
        };
        let said = bytes.first_chunk::<LENGTH_BYTES>().map(|length| i64::from_le_bytes(*length));
        let length =
            said.ok_or_else(|| malformed("a compressed buffer does not say its length"))?;
        let bytes = bytes.slice(LENGTH_BYTES);
        if length == NOT_COMPRESSED {
            return Ok(Stored::Plain(bytes));
        }
        let length = usize::try_from(length).map_err(|_| {
            malformed(format!("a compressed buffer says that it is {length} bytes"))
        })?;
        Ok(Stored::Packed { codec, bytes, length })
    }

    fn slice(&self, place: &ipc::Buffer) -> Result<Buffer, FlightError> {
        let (start, length) = (usize::try_from(place.offset()), usize::try_from(place.length()));
        if let (Ok(start), Ok(length)) = (start, length)
            && start.checked_add(length).is_some_and(|end| end <= self.bytes.len())
        {
            return Ok(self.bytes.slice_with_length(start, length));
        }
        let (start, length, all) = (place.offset(), place.length(), self.bytes.len());
        Err(malformed(format!(
            "a buffer of {length} bytes at {start} is not within the body of {all} bytes"
        )))
    }
}

/// Buffers that overlap would make a short message long to read.
fn check_lengths(bytes: usize, batch: ipc::RecordBatch<'_>) -> Result<(), FlightError> {
    let lengths = batch.buffers().into_iter().flatten().map(ipc::Buffer::length);
    let lengths = lengths.map(|length| u64::try_from(length).unwrap_or(u64::MAX));
    let all = lengths.fold(0, u64::saturating_add);
    if all <= bytes as u64 {
        return Ok(());
    }
    Err(malformed(format!("its buffers have {all} bytes together, in a body of {bytes} bytes")))
}

/// A buffer as it came.
#[derive(Debug)]
enum Stored {
    Plain(Buffer),
    Packed { codec: Codec, bytes: Buffer, length: usize },
}

/// Memory that a buffer takes once it is read, and while it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unpacking {
    pub(super) bytes: usize,
    pub(super) scratch: usize,
}

impl Codec {
    /// LZ4 has a block in memory as it came, and two as they become with what those refer to.
    fn scratch(self, bytes: &[u8]) -> Result<usize, FlightError> {
        if matches!(self, Self::Zstd) {
            return Ok(ZSTD_SCRATCH);
        }
        let block =
            bytes.strip_prefix(&LZ4_MAGIC).and_then(|frame| frame.get(1)).and_then(|byte| {
                Some(match (byte >> 4) & 7 {
                    4 => 64 << 10,
                    5 => 256 << 10,
                    6 => 1 << 20,
                    7 => 4 << 20,
                    _ => return None,
                })
            });
        let block: usize = block.ok_or_else(|| malformed("a buffer is not a frame of LZ4"))?;
        Ok(3 * block + LZ4_WINDOW)
    }

    /// What the bytes become, up to one byte more than `length`; `None` where they are not of the
    /// codec.
    fn unpack(self, bytes: &[u8], length: usize) -> Option<Vec<u8>> {
        let mut unpacked = Vec::with_capacity(length);
        match self {
            Self::Lz4 => {
                let mut frames = lz4_flex::frame::FrameDecoder::new(bytes).take(length as u64 + 1);
                frames.read_to_end(&mut unpacked).ok()?;
            }
            Self::Zstd => {
                zstd::bulk::Decompressor::new()
                    .and_then(|mut zstd| zstd.decompress_to_buffer(bytes, &mut unpacked))
                    .ok()?;
            }
        }
        Some(unpacked)
    }
}
