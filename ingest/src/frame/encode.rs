//! Writes messages. A frame costs one allocation for its bytes and one copy of each block.

use super::generated as wire;
use super::{Hello, PROTOCOL_VERSION, Refusal, Welcome, kind_of};
use bytes::Bytes;
use flatbuffers::{FlatBufferBuilder, ForwardsUOffset, Vector, WIPOffset};
use hashbrown::HashMap;
use std::sync::Arc;
use warpline_storage::Acknowledged;
use warpline_storage::model::{Layout, Sequence, Series};

/// What a message needs beside its blocks, and what each block needs beside its data; both rounded
/// up, so that the builder never grows.
const MESSAGE_BYTES: usize = 128;
const BLOCK_BYTES: usize = 48;

type Strings<'a> = WIPOffset<Vector<'a, ForwardsUOffset<&'a str>>>;

pub fn hello(producer: &str, session: u64) -> Bytes {
    let hello = Hello { version: PROTOCOL_VERSION, producer: producer.to_owned(), session };
    hello.encode()
}

impl Hello {
    pub fn encode(&self) -> Bytes {
        let mut builder = FlatBufferBuilder::with_capacity(MESSAGE_BYTES + self.producer.len());
        let producer = Some(builder.create_string(&self.producer));
        let args = wire::HelloArgs { version: self.version, producer, session: self.session };
        let body = wire::Hello::create(&mut builder, &args).as_union_value();
        finish(builder, wire::Body::Hello, body)
    }
}

pub fn define(number: u32, layout: &Layout) -> Bytes {
    let mut builder = FlatBufferBuilder::with_capacity(4 << 10);
    let mut words = Words::default();
    let identity_tags = words.write(&mut builder, layout.identity_tags().iter());
    let attribute_tags = words.write(&mut builder, layout.attribute_tags().iter());
    let identity = |series: &'_ Series| series.identity.clone();
    let attributes = |series: &'_ Series| series.attributes.clone();
    let identities = words.write_all(&mut builder, layout.series(), identity);
    let attributes = words.write_all(&mut builder, layout.series(), attributes);
    let columns = write_columns(&mut builder, layout);
    let args = wire::DefineArgs {
        layout: number,
        table: Some(builder.create_string(layout.table())),
        identity_tags: Some(identity_tags),
        attribute_tags: Some(attribute_tags),
        columns: Some(columns),
        series: layout.series().len() as u32,
        identities: Some(identities),
        attributes: Some(attributes),
    };
    let body = wire::Define::create(&mut builder, &args).as_union_value();
    finish(builder, wire::Body::Define, body)
}

fn write_columns<'a>(
    builder: &mut FlatBufferBuilder<'a>,
    layout: &Layout,
) -> WIPOffset<Vector<'a, ForwardsUOffset<wire::Column<'a>>>> {
    let mut columns = Vec::with_capacity(layout.columns().len());
    for column in layout.columns() {
        let (kind, digits, decimals) = kind_of(column.field_type);
        let name = Some(builder.create_string(&column.name));
        let args = wire::ColumnArgs { name, kind, digits, decimals };
        columns.push(wire::Column::create(builder, &args));
    }
    builder.create_vector(&columns)
}

/// Writes each distinct string once: tag values repeat from series to series.
#[derive(Default)]
struct Words<'a> {
    written: HashMap<Arc<str>, WIPOffset<&'a str>>,
}

impl<'a> Words<'a> {
    fn write<'w>(
        &mut self,
        builder: &mut FlatBufferBuilder<'a>,
        words: impl Iterator<Item = &'w Arc<str>>,
    ) -> Strings<'a> {
        let offsets: Vec<_> = words.map(|word| self.offset(builder, word)).collect();
        builder.create_vector(&offsets)
    }

    fn write_all(
        &mut self,
        builder: &mut FlatBufferBuilder<'a>,
        series: &[Series],
        values: impl Fn(&Series) -> Vec<Arc<str>>,
    ) -> Strings<'a> {
        let words: Vec<_> = series.iter().flat_map(values).collect();
        self.write(builder, words.iter())
    }

    fn offset(
        &mut self,
        builder: &mut FlatBufferBuilder<'a>,
        word: &Arc<str>,
    ) -> WIPOffset<&'a str> {
        if let Some(offset) = self.written.get(word) {
            return *offset;
        }
        let offset = builder.create_string(word);
        self.written.insert(word.clone(), offset);
        offset
    }
}

/// A frame of blocks, each under the layout number that was defined for it.
pub fn frame(sequence: Sequence, blocks: &[(u32, Bytes)]) -> Bytes {
    let mut builder = FlatBufferBuilder::with_capacity(frame_bytes(blocks));
    let mut tables = Vec::with_capacity(blocks.len());
    for (layout, data) in blocks {
        // A byte string is a vector of bytes followed by a zero; it is written by one copy.
        let data = WIPOffset::new(builder.create_byte_string(data).value());
        let args = wire::BlockArgs { layout: *layout, data: Some(data) };
        tables.push(wire::Block::create(&mut builder, &args));
    }
    let blocks = Some(builder.create_vector(&tables));
    let body = wire::Frame::create(&mut builder, &wire::FrameArgs { sequence, blocks });
    finish(builder, wire::Body::Frame, body.as_union_value())
}

/// At least the size of the frame of these blocks.
pub(crate) fn frame_bytes(blocks: &[(u32, Bytes)]) -> usize {
    MESSAGE_BYTES + blocks.iter().map(|(_, data)| data.len() + BLOCK_BYTES).sum::<usize>()
}

pub fn welcome(welcome: &Welcome) -> Bytes {
    let mut builder = FlatBufferBuilder::with_capacity(MESSAGE_BYTES);
    let Welcome { version, durable, stored, max_message } = *welcome;
    let args = wire::WelcomeArgs { version, durable, stored, max_message };
    let body = wire::Welcome::create(&mut builder, &args).as_union_value();
    finish(builder, wire::Body::Welcome, body)
}

pub fn acknowledge(acknowledged: Acknowledged) -> Bytes {
    let mut builder = FlatBufferBuilder::with_capacity(MESSAGE_BYTES);
    let Acknowledged { durable, stored } = acknowledged;
    let args = wire::AcknowledgeArgs { durable, stored };
    let body = wire::Acknowledge::create(&mut builder, &args).as_union_value();
    finish(builder, wire::Body::Acknowledge, body)
}

pub fn refusal(refusal: &Refusal) -> Bytes {
    let mut builder = FlatBufferBuilder::with_capacity(MESSAGE_BYTES + refusal.message.len());
    let column = (!refusal.column.is_empty()).then(|| builder.create_string(&refusal.column));
    let args = wire::RefusalArgs {
        reason: refusal.reason.to_wire(),
        sequence: refusal.sequence,
        layout: refusal.layout,
        column,
        count: refusal.count,
        message: Some(builder.create_string(&refusal.message)),
    };
    let body = wire::Refusal::create(&mut builder, &args).as_union_value();
    finish(builder, wire::Body::Refusal, body)
}

fn finish(
    mut builder: FlatBufferBuilder<'_>,
    body_type: wire::Body,
    body: WIPOffset<flatbuffers::UnionWIPOffset>,
) -> Bytes {
    let args = wire::MessageArgs { body_type, body: Some(body) };
    let message = wire::Message::create(&mut builder, &args);
    builder.finish(message, Some(wire::MESSAGE_IDENTIFIER));
    let (bytes, start) = builder.collapse();
    Bytes::from(bytes).slice(start..)
}
