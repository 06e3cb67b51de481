//! Reads messages: the whole message is verified first, then its parts are views into it.

use super::generated as wire;
use super::{FrameError, Hello, MAX_SEQUENCE, Reason, Refusal, Welcome, field_type_of};
use bytes::Bytes;
use flatbuffers::{ForwardsUOffset, Vector, VerifierOptions};
use hashbrown::HashSet;
use std::sync::Arc;
use warpline_storage::Acknowledged;
use warpline_storage::model::{Column, Layout, Sequence, Series};

/// A frame's blocks and a layout's columns are tables.
const MAX_TABLES: usize = 1 << 18;
/// Offsets may share strings; this bounds the message with all of them written out.
const MAX_EXPANDED_BYTES: usize = 256 << 20;

type Strings<'a> = Vector<'a, ForwardsUOffset<&'a str>>;

/// One verified message.
#[derive(Debug)]
pub enum Message<'a> {
    Hello(Hello),
    Define(Define<'a>),
    Frame(Frame<'a>),
    Welcome(Welcome),
    Acknowledge(Acknowledged),
    Refusal(Refusal),
}

/// A layout on its way to the server.
#[derive(Clone, Copy, Debug)]
pub struct Define<'a>(wire::Define<'a>);

/// Blocks on their way to the server.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    message: &'a Bytes,
    frame: wire::Frame<'a>,
}

/// Verifies `bytes` as one message and tells what it is.
pub fn decode(bytes: &Bytes) -> Result<Message<'_>, FrameError> {
    let options = VerifierOptions {
        max_depth: 8,
        max_tables: MAX_TABLES,
        max_apparent_size: MAX_EXPANDED_BYTES,
        ignore_missing_null_terminator: true,
    };
    if bytes.get(4..8) != Some(wire::MESSAGE_IDENTIFIER.as_bytes()) {
        return Err(FrameError::Identifier);
    }
    let message = wire::root_as_message_with_opts(&options, bytes)
        .map_err(|error| FrameError::Malformed(one_line(&error.to_string())))?;
    let message = read_body(bytes, &message).ok_or(FrameError::Kind(message.body_type().0))?;
    check_standing(message)
}

/// What a server says to have are sequences that frames can have.
fn check_standing(message: Message<'_>) -> Result<Message<'_>, FrameError> {
    let (Message::Welcome(Welcome { durable, stored, .. })
    | Message::Acknowledge(Acknowledged { durable, stored })) = message
    else {
        return Ok(message);
    };
    let highest = durable.max(stored);
    if highest > MAX_SEQUENCE { Err(FrameError::Standing(highest)) } else { Ok(message) }
}

fn read_body<'a>(bytes: &'a Bytes, message: &wire::Message<'a>) -> Option<Message<'a>> {
    match message.body_type() {
        wire::Body::Hello => message.body_as_hello().map(|hello| Message::Hello(read_hello(hello))),
        wire::Body::Define => message.body_as_define().map(|d| Message::Define(Define(d))),
        wire::Body::Frame => {
            message.body_as_frame().map(|frame| Message::Frame(Frame { message: bytes, frame }))
        }
        wire::Body::Welcome => message.body_as_welcome().map(|w| Message::Welcome(read_welcome(w))),
        wire::Body::Acknowledge => message.body_as_acknowledge().map(|a| {
            Message::Acknowledge(Acknowledged { durable: a.durable(), stored: a.stored() })
        }),
        wire::Body::Refusal => message.body_as_refusal().map(|r| Message::Refusal(read_refusal(r))),
        _ => None,
    }
}

fn read_hello(hello: wire::Hello<'_>) -> Hello {
    Hello {
        version: hello.version(),
        producer: hello.producer().to_owned(),
        session: hello.session(),
    }
}

fn read_welcome(welcome: wire::Welcome<'_>) -> Welcome {
    Welcome {
        version: welcome.version(),
        durable: welcome.durable(),
        stored: welcome.stored(),
        max_message: welcome.max_message(),
    }
}

fn read_refusal(refusal: wire::Refusal<'_>) -> Refusal {
    Refusal {
        reason: Reason::of_wire(refusal.reason()),
        sequence: refusal.sequence(),
        layout: refusal.layout(),
        column: refusal.column().unwrap_or_default().to_owned(),
        count: refusal.count(),
        message: refusal.message().to_owned(),
    }
}

impl<'a> Frame<'a> {
    pub fn sequence(&self) -> Sequence {
        self.frame.sequence()
    }

    /// Each block's layout number and bytes, which share the message's buffer.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = (u32, Bytes)> + use<'a> {
        let message = self.message;
        self.frame
            .blocks()
            .iter()
            .map(move |block| (block.layout(), message.slice_ref(block.data().bytes())))
    }
}

impl Define<'_> {
    pub fn number(&self) -> u32 {
        self.0.layout()
    }

    /// How many series the layout has, known before they are read.
    pub fn series(&self) -> usize {
        self.0.series() as usize
    }

    /// The layout, checked by the rules of the model.
    pub fn layout(&self) -> Result<Layout, FrameError> {
        let mut words = Words::default();
        let identity_tags = words.read(self.0.identity_tags());
        let attribute_tags = self.0.attribute_tags().map_or_else(Vec::new, |t| words.read(t));
        let series = self.read_series(&mut words, identity_tags.len(), attribute_tags.len())?;
        let columns = self.0.columns().iter().map(|column| read_column(&column, &mut words));
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(Layout::new(self.0.table(), identity_tags, attribute_tags, columns, series)?)
    }

    fn read_series(
        &self,
        words: &mut Words,
        identity_tags: usize,
        attribute_tags: usize,
    ) -> Result<Vec<Series>, FrameError> {
        let identities = self.0.identities();
        self.check_values("identity", identities.len(), identity_tags)?;
        let attributes = self.0.attributes();
        self.check_values("attribute", attributes.map_or(0, |a| a.len()), attribute_tags)?;
        let mut identities = identities.iter();
        let mut attributes = attributes.into_iter().flat_map(|values| values.iter());
        let read = |_| Series {
            identity: identities.by_ref().take(identity_tags).map(|w| words.word(w)).collect(),
            attributes: attributes.by_ref().take(attribute_tags).map(|w| words.word(w)).collect(),
        };
        // Without identity tags the count would rest on nothing; the model refuses it below.
        let series = if identity_tags == 0 { 0 } else { self.0.series() };
        Ok((0..series).map(read).collect())
    }

    fn check_values(&self, what: &'static str, got: usize, tags: usize) -> Result<(), FrameError> {
        let series = self.0.series();
        let expected = u64::from(series) * tags as u64;
        if got as u64 == expected {
            return Ok(());
        }
        Err(FrameError::TagValues { what, got, series, tags, expected })
    }
}

fn read_column(column: &wire::Column<'_>, words: &mut Words) -> Result<Column, FrameError> {
    let (kind, digits, decimals) = (column.kind(), column.digits(), column.decimals());
    let field_type =
        field_type_of(kind, digits, decimals).ok_or_else(|| FrameError::FieldKind {
            column: column.name().chars().take(200).collect(),
            kind: kind.0,
            digits,
            decimals,
        })?;
    Ok(Column { name: words.word(column.name()), field_type })
}

/// Equal strings of one layout share one allocation.
#[derive(Default)]
struct Words {
    seen: HashSet<Arc<str>>,
}

impl Words {
    fn word(&mut self, word: &str) -> Arc<str> {
        self.seen.get_or_insert_with(word, |word| Arc::from(word)).clone()
    }

    fn read(&mut self, words: Strings<'_>) -> Vec<Arc<str>> {
        words.iter().map(|word| self.word(word)).collect()
    }
}

fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().take(300).collect()
}
