//! What producers send: rows whose values say which write they are.

use crate::machine::simulated::{below, chance};
use crate::model::{
    Batch, Block, BlockBuilder, Column, FieldType, Layout, ProducerId, Sequence, Series, Timestamp,
};
use crate::{Storage, StorageError};
use arrow::array::{
    ArrayRef, Decimal64Array, DictionaryArray, Int16Array, RecordBatch, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, SchemaRef};
use std::sync::Arc;

pub(super) const SECOND: i64 = 1_000_000;
pub(super) const DAY: i64 = 86_400 * SECOND;
/// Rows begin two hours before this midnight.
pub(super) const MIDNIGHT: Timestamp = 20_780 * DAY;
/// Of each table.
pub(super) const COLUMNS: usize = 6;
pub(super) const TABLES: [&str; 2] = ["gpu", "node"];

/// Rows of one series at a steady pace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) table: usize,
    gpu: u64,
    job: u64,
    /// Seconds.
    first: i64,
    rows: i64,
    step: i64,
    /// Unlike that of any other.
    value: i64,
    /// Every how many rows there is no temperature.
    absent: i64,
}

/// The rows of a batch.
pub(super) type Load = Vec<Pace>;

/// Job, temperature and energy of a row.
pub(super) type Cells = (Option<String>, Option<i64>, Option<i64>);

pub(super) fn producer(number: usize) -> ProducerId {
    ProducerId::new(format!("producer-{number}")).expect("a name")
}

/// All that some producers will send.
pub(super) fn drawn() -> Vec<Vec<Load>> {
    let mut value = 0;
    let mut load = |first: i64| -> Load {
        let paces = 1 + below(3);
        let pace = |_| {
            value += 1;
            let dense = chance(50);
            Pace {
                table: usize::from(chance(30)),
                gpu: below(3),
                job: below(3),
                first: if chance(20) { below(14_000) as i64 } else { first },
                rows: 1 + below(if dense { 150 } else { 6 }) as i64,
                step: 1 + below(2) as i64,
                value,
                absent: 2 + below(5) as i64,
            }
        };
        (0..paces).map(pace).collect()
    };
    let mut loads = Vec::new();
    for _ in 0..=below(3) {
        let (count, mut first) = (2 + below(14), below(2_000) as i64);
        let one = (0..count).map(|_| {
            first += below(1_200) as i64;
            load(first)
        });
        loads.push(one.collect());
    }
    loads
}

impl Pace {
    /// Of another program: one row in a second that no other has.
    pub(super) fn alone(number: i64) -> Self {
        let (table, gpu, job) = (0, below(3), below(3));
        Self { table, gpu, job, first: number, rows: 1, step: 1, value: -1 - number, absent: 2 }
    }

    pub(super) fn rows(self) -> impl Iterator<Item = ((String, Timestamp), Cells)> {
        (0..self.rows).map(move |row| {
            let temp = (row % self.absent != 1).then(|| (self.value + row) % 1_000);
            let job = (self.job > 0).then(|| format!("job-{}", self.job));
            ((self.gpu.to_string(), self.time(row)), (job, temp, Some(self.value * 1_000 + row)))
        })
    }

    fn time(self, row: i64) -> Timestamp {
        MIDNIGHT + (self.first + row * self.step - 7_200) * SECOND
    }

    fn layout(self) -> Layout {
        let series = Series {
            identity: vec!["n".into(), self.gpu.to_string().into()],
            attributes: vec![
                if self.job > 0 { format!("job-{}", self.job) } else { String::new() }.into(),
            ],
        };
        let energy = FieldType::decimal(15, 3).expect("a type");
        let columns = vec![
            Column { name: "temp".into(), field_type: FieldType::Int16 },
            Column { name: "energy".into(), field_type: energy },
        ];
        let identity = vec!["node".into(), "gpu".into()];
        Layout::new(TABLES[self.table], identity, vec!["job".into()], columns, vec![series])
            .expect("a layout")
    }

    fn block(self, storage: &Storage) -> Result<Block, StorageError> {
        let layout = storage.admit(&self.layout())?.layout;
        let mut builder = BlockBuilder::new(layout.clone());
        for ((_, time), (_, temp, energy)) in self.rows() {
            builder.row(0, time);
            for (column, value) in [temp, energy].into_iter().enumerate() {
                if let Some(value) = value {
                    builder.set_stored(column, value);
                }
            }
        }
        Ok(Block::parse(layout, builder.finish())?)
    }

    /// The rows as another program writes them.
    pub(super) fn batch(self, schema: SchemaRef) -> RecordBatch {
        let (keys, cells): (Vec<_>, Vec<_>) = self.rows().unzip();
        let tags = |tags: Vec<Option<&str>>| -> ArrayRef {
            Arc::new(tags.into_iter().collect::<DictionaryArray<Int32Type>>())
        };
        let times = keys.iter().map(|(_, time)| *time);
        let energy = cells.iter().map(|(.., energy)| *energy).collect::<Decimal64Array>();
        let temp = cells.iter().map(|(_, temp, _)| temp.map(|temp| temp as i16));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
            tags(keys.iter().map(|_| Some("n")).collect()),
            tags(keys.iter().map(|(gpu, _)| Some(gpu.as_str())).collect()),
            tags(cells.iter().map(|(job, ..)| job.as_deref()).collect()),
            Arc::new(temp.collect::<Int16Array>()),
            Arc::new(energy.with_precision_and_scale(15, 3).expect("a type")),
        ];
        RecordBatch::try_new(schema, columns).expect("the table's columns")
    }

    pub(super) fn date(self) -> chrono::NaiveDate {
        chrono::DateTime::from_timestamp_micros(self.time(0)).expect("a time").date_naive()
    }
}

/// Takes a batch to the store.
pub(super) async fn send(
    storage: &Storage,
    number: usize,
    sequence: Sequence,
    load: &Load,
) -> Result<(), StorageError> {
    let blocks = load.iter().map(|pace| pace.block(storage)).collect::<Result<_, _>>()?;
    storage.append(Batch { producer: producer(number), sequence, blocks }).await
}
