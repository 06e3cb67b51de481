//! The messages of the native stream: FlatBuffers of `schema/frame.fbs`, drawn in
//! docs/formats/frame.md.
//!
//! Promises: [`decode`] verifies every offset and length before a value is read, never panics,
//! never allocates by a length that the bytes do not carry, and copies no block.

mod codec;
mod decode;
mod encode;
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    deprecated,
    missing_debug_implementations,
    unreachable_pub,
    unsafe_code,
    unused
)]
#[rustfmt::skip]
mod generated;
#[cfg(test)]
mod tests;

pub(crate) use codec::BytesCodec;
pub(crate) use encode::frame_bytes;

pub use decode::{Define, Frame, Message, decode};
pub use encode::{acknowledge, define, frame, hello, refusal, welcome};

use warpline_storage::model::{FieldType, LayoutError, Sequence};

/// The version of the protocol that this build speaks.
pub const PROTOCOL_VERSION: u16 = 1;

/// The highest sequence that a frame may have: leaves room to count on.
pub const MAX_SEQUENCE: Sequence = i64::MAX as Sequence;

/// The gRPC service's name and the path of its one method.
pub const SERVICE_NAME: &str = "warpline.v1.Ingest";
pub const STREAM_PATH: &str = "/warpline.v1.Ingest/Stream";

/// The first message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub version: u16,
    pub producer: String,
    /// Random at each start of the producer: tells a reconnect from a twin.
    pub session: u64,
}

/// The server's answer to [`Hello`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    pub version: u16,
    pub durable: Sequence,
    pub stored: Sequence,
    /// The largest message the server takes, in bytes.
    pub max_message: u32,
}

/// What the server did not take. The stream goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    /// The last frame concerned; 0 where a layout is.
    pub sequence: Sequence,
    pub layout: u32,
    /// The field concerned; empty if none is.
    pub column: String,
    /// How many, in the reason's own unit, since the last refusal of this kind.
    pub count: u64,
    /// One example in words.
    pub message: String,
}

/// Why something was not taken, and what a refusal of this kind counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// A layout; blocks under it are dropped. Counts layouts.
    Layout,
    /// A column of a layout. Counts columns.
    Column,
    /// A block under a layout that is not defined, or was refused. Counts blocks.
    UnknownLayout,
    /// A block that does not fit its layout. Counts blocks.
    Block,
    /// Rows too far in the future, or before 1970. Counts rows.
    Time,
    /// Values that do not fit their field and became NULL. Counts values.
    Value,
    /// A frame that the store refused. Counts frames.
    Frame,
    /// A reason that this build does not know.
    Other,
}

impl Reason {
    pub const ALL: [Self; 8] = [
        Self::Layout,
        Self::Column,
        Self::UnknownLayout,
        Self::Block,
        Self::Time,
        Self::Value,
        Self::Frame,
        Self::Other,
    ];

    /// The word used in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Layout => "layout",
            Self::Column => "column",
            Self::UnknownLayout => "unknown_layout",
            Self::Block => "block",
            Self::Time => "time",
            Self::Value => "value",
            Self::Frame => "frame",
            Self::Other => "other",
        }
    }

    /// What a refusal of this kind counts, in the plural.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Layout => "layouts",
            Self::Column => "columns",
            Self::UnknownLayout | Self::Block => "blocks",
            Self::Time => "rows",
            Self::Value => "values",
            Self::Frame => "frames",
            Self::Other => "others",
        }
    }

    fn of_wire(code: generated::Reason) -> Self {
        *Self::ALL.get(usize::from(code.0)).unwrap_or(&Self::Other)
    }

    fn to_wire(self) -> generated::Reason {
        generated::Reason(self as u8)
    }
}

/// Why a message, or the layout in it, cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("not a Warpline message: bytes 4 to 8 are not \"WPL1\"")]
    Identifier,
    #[error("a malformed message: {0}")]
    Malformed(String),
    #[error("a message of kind {0}, which protocol version {PROTOCOL_VERSION} does not know")]
    Kind(u8),
    #[error("the server says that it has frame {0}; frames go up to {MAX_SEQUENCE}")]
    Standing(Sequence),
    #[error("column {column:?} has type code {kind} with {digits} digits and {decimals} decimals")]
    FieldKind { column: String, kind: u8, digits: u8, decimals: u8 },
    #[error(
        "{got} {what} tag values where {series} series with {tags} {what} tags need {expected}"
    )]
    TagValues { what: &'static str, got: usize, series: u32, tags: usize, expected: u64 },
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

fn kind_of(field_type: FieldType) -> (generated::FieldKind, u8, u8) {
    use generated::FieldKind;
    match field_type {
        FieldType::Int8 => (FieldKind::Int8, 0, 0),
        FieldType::Int16 => (FieldKind::Int16, 0, 0),
        FieldType::Int32 => (FieldKind::Int32, 0, 0),
        FieldType::Int64 => (FieldKind::Int64, 0, 0),
        FieldType::Decimal { digits, decimals } => (FieldKind::Decimal, digits, decimals),
        FieldType::Float64 => (FieldKind::Float64, 0, 0),
    }
}

fn field_type_of(kind: generated::FieldKind, digits: u8, decimals: u8) -> Option<FieldType> {
    use generated::FieldKind;
    match kind {
        FieldKind::Int8 => Some(FieldType::Int8),
        FieldKind::Int16 => Some(FieldType::Int16),
        FieldKind::Int32 => Some(FieldType::Int32),
        FieldKind::Int64 => Some(FieldType::Int64),
        FieldKind::Decimal => FieldType::decimal(digits, decimals),
        FieldKind::Float64 => Some(FieldType::Float64),
        _ => None,
    }
}
