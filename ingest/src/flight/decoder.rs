//! The messages of one stream, read in their order.

use super::body::Body;
use super::pieces::{self, Piece};
use super::schema::{self, Column, Kind};
use super::{Batch, FlightError, arrays, malformed, within};
use arrow::array::{Array, ArrayRef, AsArray, new_empty_array};
use arrow::buffer::Buffer;
use arrow::compute::{cast, concat};
use arrow::datatypes::DataType;
use arrow::ipc::{self, MessageHeader, MetadataVersion};
use bytes::Bytes;
use hashbrown::HashMap;

/// The header of a message that is verified while others wait.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// Memory that a key of a dictionary takes while its row's series is looked for, and a whole number.
const KEY_BYTES: usize = 8;
const NUMBER_BYTES: usize = 32;

/// A stream's schema, and the dictionaries that have come.
#[derive(Debug)]
pub(crate) struct Decoder {
    columns: Vec<Column>,
    dictionaries: HashMap<i64, Dictionary>,
    /// What one batch's arrays and all dictionaries may each take.
    limit: usize,
}

#[derive(Debug)]
struct Dictionary {
    text: ArrayRef,
    bytes: usize,
}

/// What a message is going to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Bytes of memory, beside the message's own.
    pub(crate) bytes: usize,
    /// Rows of a batch, still to be mapped.
    pub(crate) rows: usize,
}

/// What a message was.
#[derive(Debug)]
pub(crate) enum Read {
    Batch(Batch),
    /// It is kept, and takes so many bytes with what it grew from.
    Dictionary {
        number: i64,
        bytes: usize,
    },
    /// Of a column that is not taken.
    Nothing,
}

impl Decoder {
    /// Begins with the schema's message. `limit` is of bytes.
    pub(crate) fn new(header: &[u8], limit: usize) -> Result<Self, FlightError> {
        let message = message(header)?;
        let schema = message.header_as_schema().ok_or_else(|| {
            let what = message.header_type().variant_name().unwrap_or("unknown");
            malformed(format!("the first message is of type {what}: begin with the schema"))
        })?;
        let columns = schema::columns(schema)?;
        Ok(Self { columns, dictionaries: HashMap::new(), limit })
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// What [`Decoder::read`] of a message takes. `wanted` says which columns are read.
    pub(crate) fn cost(
        &self,
        header: &[u8],
        body: &Bytes,
        wanted: &[bool],
    ) -> Result<Cost, FlightError> {
        let body = body.clone().into();
        match part(header)? {
            Part::Dictionary(dictionary, batch) => {
                let body = Body::new(body, batch)?;
                let bytes = self.dictionary_cost(dictionary, batch, &body)?;
                Ok(Cost { bytes, rows: 0 })
            }
            Part::Batch(batch) => {
                let body = Body::new(body, batch)?;
                let bytes = self.arrays_cost(batch, &body, wanted)?;
                Ok(Cost { bytes, rows: pieces::rows(batch)? })
            }
        }
    }

    /// As it comes and as it is kept, and what it grows from.
    fn dictionary_cost(
        &self,
        dictionary: ipc::DictionaryBatch<'_>,
        batch: ipc::RecordBatch<'_>,
        body: &Body,
    ) -> Result<usize, FlightError> {
        let known = self.dictionaries.get(&dictionary.id());
        let grows = known.filter(|_| dictionary.isDelta()).map_or(0, |known| known.bytes);
        let (unpacked, scratch) = unpacking(body, batch.buffers().into_iter().flatten())?;
        // A text of views may be any number of times as long as what they show.
        let is_view = self.coded(dictionary.id()).any(|(_, text)| *text == DataType::Utf8View);
        let copy = if is_view { self.limit } else { body.len() + unpacked };
        self.within("a dictionary takes", body.len().saturating_add(unpacked))?;
        Ok(unpacked + scratch + copy + grows)
    }

    /// The columns of a dictionary, by place, and what type its text has there.
    fn coded(&self, number: i64) -> impl Iterator<Item = (usize, &DataType)> {
        self.columns.iter().enumerate().filter_map(move |(at, column)| match &column.kind {
            Kind::Coded { text, dictionary, .. } if *dictionary == number => Some((at, text)),
            _ => None,
        })
    }

    fn arrays_cost(
        &self,
        batch: ipc::RecordBatch<'_>,
        body: &Body,
        wanted: &[bool],
    ) -> Result<usize, FlightError> {
        let rows = pieces::rows(batch)?;
        let (mut bytes, mut most) = (0_usize, 0);
        for (column, piece) in self.wanted(batch, wanted)? {
            let first = match &column.kind {
                // Whole numbers may be tags, which are read as text.
                Kind::Plain(data_type) if data_type.is_integer() => rows * NUMBER_BYTES,
                Kind::Plain(data_type) => arrays::first_bytes(data_type, rows),
                Kind::Coded { key, .. } => arrays::first_bytes(key, rows) + rows * KEY_BYTES,
                Kind::Other(_) => 0,
            };
            let (unpacked, scratch) = unpacking(body, places(batch, &piece))?;
            bytes = bytes.saturating_add(first).saturating_add(unpacked);
            most = most.max(scratch);
        }
        Ok(self.within("a batch takes", bytes)? + most)
    }

    fn within(&self, what: &str, bytes: usize) -> Result<usize, FlightError> {
        within(what, bytes, self.limit).map(|()| bytes)
    }

    /// Reads a message after the schema.
    pub(crate) fn read(
        &mut self,
        header: &[u8],
        body: &Bytes,
        wanted: &[bool],
    ) -> Result<Read, FlightError> {
        match part(header)? {
            Part::Dictionary(dictionary, batch) => self.keep(dictionary, batch, body, wanted),
            Part::Batch(batch) => self.batch(batch, body, wanted).map(Read::Batch),
        }
    }

    fn keep(
        &mut self,
        dictionary: ipc::DictionaryBatch<'_>,
        batch: ipc::RecordBatch<'_>,
        body: &Bytes,
        wanted: &[bool],
    ) -> Result<Read, FlightError> {
        let number = dictionary.id();
        let taken = self.coded(number).find(|(at, _)| wanted.get(*at) == Some(&true));
        let Some((_, text_type)) = taken else { return Ok(Read::Nothing) };
        let shape = schema::text_shape(text_type);
        let piece = pieces::pieces(batch, std::iter::once(shape))?.remove(0);
        let rows = pieces::rows(batch)?;
        let parts = Body::new(body.clone().into(), batch)?;
        let text = of_buffers(&parts, batch, &piece, rows, |nulls, buffers| {
            arrays::plain(text_type, rows, nulls, buffers)
        })?;
        let text = self.plain_text(text)?;
        let known = if dictionary.isDelta() {
            let known = self.dictionaries.get(&number);
            let known = known.ok_or_else(|| {
                malformed(format!("dictionary {number} is to grow, but has not come"))
            })?;
            known.text.clone()
        } else {
            new_empty_array(text.data_type())
        };
        // A copy: it stays, and would hold on to the whole message that it came in.
        let text = concat(&[&known, &text]).map_err(|error| malformed(error.to_string()))?;
        let bytes = text.get_array_memory_size();
        self.dictionaries.insert(number, Dictionary { text, bytes });
        let all = self.dictionaries.values().map(|dictionary| dictionary.bytes).sum();
        self.within("the dictionaries of a stream take", all)?;
        Ok(Read::Dictionary { number, bytes })
    }

    /// Views as the text that they show.
    fn plain_text(&self, text: ArrayRef) -> Result<ArrayRef, FlightError> {
        let Some(views) = text.as_string_view_opt() else { return Ok(text) };
        let shown = views.iter().flatten().map(str::len).sum();
        self.within("a dictionary takes", shown)?;
        cast(&text, &DataType::Utf8).map_err(|error| malformed(error.to_string()))
    }

    fn batch(
        &self,
        batch: ipc::RecordBatch<'_>,
        body: &Bytes,
        wanted: &[bool],
    ) -> Result<Batch, FlightError> {
        let rows = pieces::rows(batch)?;
        let body = Body::new(body.clone().into(), batch)?;
        let pieces = self.pieces(batch)?;
        let mut arrays = Vec::with_capacity(pieces.len());
        for (at, (column, piece)) in self.columns.iter().zip(&pieces).enumerate() {
            let wanted = wanted.get(at).copied().unwrap_or(false);
            let array = wanted.then(|| self.array(column, batch, &body, piece, rows));
            arrays.push(array.transpose().map_err(|error| about(&column.name, error))?);
        }
        let present = |piece: &Piece| {
            (rows as u64).saturating_sub(u64::try_from(piece.nulls).unwrap_or_default())
        };
        Ok(Batch { rows, arrays, present: pieces.iter().map(present).collect() })
    }

    fn array(
        &self,
        column: &Column,
        batch: ipc::RecordBatch<'_>,
        body: &Body,
        piece: &Piece,
        rows: usize,
    ) -> Result<ArrayRef, FlightError> {
        of_buffers(body, batch, piece, rows, |nulls, buffers| match &column.kind {
            Kind::Plain(data_type) => arrays::plain(data_type, rows, nulls, buffers),
            Kind::Coded { key, text, dictionary } => {
                // One that has not come is of a column that is all NULL.
                let none = || new_empty_array(text);
                let known = self.dictionaries.get(dictionary);
                let text = known.map_or_else(none, |known| known.text.clone());
                arrays::coded(key, &text, rows, nulls, buffers)
            }
            Kind::Other(name) => Err(malformed(format!("{name} is not taken"))),
        })
    }

    fn pieces(&self, batch: ipc::RecordBatch<'_>) -> Result<Vec<Piece>, FlightError> {
        pieces::pieces(batch, self.columns.iter().map(|column| column.shape))
    }

    fn wanted<'a>(
        &'a self,
        batch: ipc::RecordBatch<'_>,
        wanted: &'a [bool],
    ) -> Result<impl Iterator<Item = (&'a Column, Piece)>, FlightError> {
        let all = self.columns.iter().zip(self.pieces(batch)?).zip(wanted);
        Ok(all.filter(|(_, wanted)| **wanted).map(|(both, _)| both))
    }
}

/// A message after the schema.
enum Part<'a> {
    Batch(ipc::RecordBatch<'a>),
    Dictionary(ipc::DictionaryBatch<'a>, ipc::RecordBatch<'a>),
}

fn part(header: &[u8]) -> Result<Part<'_>, FlightError> {
    let message = message(header)?;
    if let Some(batch) = message.header_as_record_batch() {
        return Ok(Part::Batch(batch));
    }
    if let Some(dictionary) = message.header_as_dictionary_batch() {
        let data = dictionary.data();
        let data = data.ok_or_else(|| malformed("a dictionary's message has no values"))?;
        return Ok(Part::Dictionary(dictionary, data));
    }
    Err(malformed(match message.header_type() {
        MessageHeader::Schema => "a stream has one schema: begin another for another schema",
        _ => "a message is neither a batch nor a dictionary",
    }))
}

fn message(header: &[u8]) -> Result<ipc::Message<'_>, FlightError> {
    if header.len() > MAX_HEADER_BYTES {
        let bytes = header.len();
        return Err(FlightError::TooLarge(format!(
            "a message's header has {bytes} bytes; the limit is {MAX_HEADER_BYTES}: send fewer \
             columns, or less of their metadata"
        )));
    }
    let message = ipc::root_as_message(header)
        .map_err(|error| malformed(format!("a message's header is not Arrow's: {error}")))?;
    if message.version() < MetadataVersion::V5 {
        return Err(malformed("the message is of a version before V5: send that of Arrow 1.0"));
    }
    Ok(message)
}

/// A column's array of its buffers.
fn of_buffers(
    body: &Body,
    batch: ipc::RecordBatch<'_>,
    piece: &Piece,
    rows: usize,
    build: impl FnOnce(bool, &[Buffer]) -> Result<ArrayRef, FlightError>,
) -> Result<ArrayRef, FlightError> {
    if usize::try_from(piece.length) != Ok(rows) {
        let length = piece.length;
        return Err(malformed(format!("a column has {length} values in a batch of {rows} rows")));
    }
    let buffers = places(batch, piece).map(|place| body.buffer(place));
    build(piece.nulls > 0, &buffers.collect::<Result<Vec<_>, _>>()?)
}

/// What buffers become together, and the most that one takes meanwhile.
fn unpacking<'a>(
    body: &Body,
    places: impl Iterator<Item = &'a ipc::Buffer>,
) -> Result<(usize, usize), FlightError> {
    places.map(|place| body.cost(place)).try_fold((0_usize, 0), |(bytes, scratch), one| {
        let one = one?;
        Ok((bytes.saturating_add(one.bytes), one.scratch.max(scratch)))
    })
}

fn places<'a>(batch: ipc::RecordBatch<'a>, piece: &Piece) -> impl Iterator<Item = &'a ipc::Buffer> {
    let all = batch.buffers().into_iter().flatten();
    all.skip(piece.buffers.start).take(piece.buffers.len())
}

fn about(column: &str, error: FlightError) -> FlightError {
    match error {
        FlightError::Malformed(why) => malformed(format!("column {column:?}: {why}")),
        other => other,
    }
}
