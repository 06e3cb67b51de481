//! Streams as Arrow's own writer makes them, and the rows that they become.

mod decoding;
mod hostile;
mod mapping;

use super::{Decoder, FlightError, FlightRegister, FlightTally, Plan, Read};
use crate::dictionary::Dictionary;
use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use arrow::ipc::writer::{
    DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteContext, IpcWriteOptions,
};
use bytes::Bytes;
use std::fmt::Write;
use std::sync::Arc;
use tempfile::TempDir;
use warpline_storage::model::{Block, FieldType, Timestamp};
use warpline_storage::{Storage, StorageOptions};

pub(crate) const TIME: Timestamp = 1_700_000_000_000_000;
const LIMIT: usize = 4 << 20;

/// A message of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) header: Bytes,
    pub(crate) body: Bytes,
}

impl From<EncodedData> for Message {
    fn from(encoded: EncodedData) -> Self {
        Self { header: encoded.ipc_message.into(), body: encoded.arrow_data.into() }
    }
}

/// The schema, and each batch after the dictionaries that it needs.
pub(crate) fn encode(batches: &[RecordBatch], options: &IpcWriteOptions) -> Vec<Message> {
    let generator = IpcDataGenerator::default();
    let mut tracker = DictionaryTracker::new(false);
    let mut context = IpcWriteContext::default();
    let schema = batches[0].schema();
    let schema = generator.schema_to_bytes_with_dictionary_tracker(&schema, &mut tracker, options);
    let mut messages = vec![schema.into()];
    for batch in batches {
        let encoded = generator.encode(batch, &mut tracker, options, &mut context).unwrap();
        messages.extend(encoded.0.into_iter().map(Message::from));
        messages.push(encoded.1.into());
    }
    messages
}

pub(crate) fn times(rows: usize) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values((0..rows as i64).map(|row| TIME + row)))
}

/// A batch of these columns and `time`.
pub(crate) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let rows = columns[0].1.len();
    let time = std::iter::once(("time", times(rows)));
    RecordBatch::try_from_iter_with_nullable(
        time.chain(columns).map(|(name, array)| (name, array, true)),
    )
    .unwrap()
}

/// The batch with a role told for some of its columns.
pub(crate) fn with_roles(batch: &RecordBatch, roles: &[(&str, &str)]) -> RecordBatch {
    let told = |field: &Arc<Field>| {
        let role = roles.iter().find(|(name, _)| name == field.name());
        let metadata = role.map(|(_, role)| ("warpline.role".to_owned(), (*role).to_owned()));
        field.as_ref().clone().with_metadata(metadata.into_iter().collect())
    };
    let fields: Vec<Field> = batch.schema().fields().iter().map(told).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), batch.columns().to_vec()).unwrap()
}

struct Fixture {
    register: FlightRegister,
    storage: Storage,
    minute: u32,
    _dir: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(1_000).await
    }

    async fn with(series: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let mut options = StorageOptions::new(dir.path());
        options.maintenance.retention.raw = None;
        let storage = Storage::open(options).await.unwrap();
        let dictionary = Arc::new(Dictionary::builtin());
        let register = FlightRegister::new(dictionary, series, LIMIT);
        Self { register, storage, minute: 0, _dir: dir }
    }

    /// The rows that batches become, sorted, and what became of each batch.
    fn write(
        &mut self,
        table: &str,
        batches: &[RecordBatch],
    ) -> Result<(Vec<String>, Vec<FlightTally>), FlightError> {
        self.send(table, &encode(batches, &IpcWriteOptions::default()))
    }

    fn send(
        &mut self,
        table: &str,
        messages: &[Message],
    ) -> Result<(Vec<String>, Vec<FlightTally>), FlightError> {
        let mut decoder = Decoder::new(&messages[0].header, LIMIT)?;
        let plan = self.register.plan(table, decoder.columns(), self.minute, &self.storage)?;
        let (mut rows, mut tallies) = (Vec::new(), Vec::new());
        for message in &messages[1..] {
            if let Some((blocks, tally)) = self.one(&mut decoder, &plan, message)? {
                rows.extend(blocks.iter().flat_map(shown));
                tallies.push(tally);
            }
        }
        rows.sort();
        Ok((rows, tallies))
    }

    fn one(
        &mut self,
        decoder: &mut Decoder,
        plan: &Plan,
        Message { header, body }: &Message,
    ) -> Result<Option<(Vec<Block>, FlightTally)>, FlightError> {
        decoder.cost(header, body, plan.wanted())?;
        match decoder.read(header, body, plan.wanted())? {
            Read::Batch(batch) => {
                self.register.map(plan, &batch, self.minute, &self.storage).map(Some)
            }
            Read::Dictionary { .. } | Read::Nothing => Ok(None),
        }
    }

    /// The rows of one batch, all of which is taken.
    fn all(&mut self, table: &str, batch: &RecordBatch) -> Vec<String> {
        let (rows, tallies) = self.write(table, std::slice::from_ref(batch)).unwrap();
        assert_eq!(
            (tallies[0].rows, tallies[0].refused.examples()),
            (batch.num_rows() as u64, &[][..])
        );
        rows
    }

    /// The rows of one batch, and what was refused, in words.
    fn some(&mut self, table: &str, batch: &RecordBatch) -> (Vec<String>, Vec<String>) {
        let (rows, tallies) = self.write(table, std::slice::from_ref(batch)).unwrap();
        (rows, tallies[0].refused.examples().to_vec())
    }

    fn error(&mut self, table: &str, batch: &RecordBatch) -> String {
        self.write(table, std::slice::from_ref(batch)).unwrap_err().to_string()
    }
}

fn shown(block: &Block) -> Vec<String> {
    (0..block.rows()).map(|row| show(block, row)).collect()
}

/// Tags with a value, then fields: `@1` is a microsecond after [`TIME`].
fn show(block: &Block, row: usize) -> String {
    let layout = block.layout();
    let mut text = format!("@{}", block.time(row) - TIME);
    let series = &layout.series()[block.series_index(row) as usize];
    let identity = layout.identity_tags().iter().zip(&series.identity);
    let attributes = layout.attribute_tags().iter().zip(&series.attributes);
    for (name, value) in identity.chain(attributes).filter(|(_, value)| !value.is_empty()) {
        write!(text, " {name}={value}").unwrap();
    }
    for (column, spec) in layout.columns().iter().enumerate() {
        if block.is_present(column, row) {
            let raw = block.raw(column, row);
            match spec.field_type {
                FieldType::Float64 => {
                    let value = f64::from_bits(raw.cast_unsigned());
                    write!(text, " {}={value:?}", spec.name).unwrap();
                }
                other => write!(text, " {}={raw}:{other}", spec.name).unwrap(),
            }
        }
    }
    text
}
