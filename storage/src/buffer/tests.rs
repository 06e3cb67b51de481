//! The scan against an oracle that keeps every write in a map.

use super::*;
use crate::latest::{Latest, LatestRows, Passing, Source};
use crate::model::{
    Block, BlockBuilder, Column, FieldType, Layout, Series, TableSchema, Timestamp, Value,
};
use crate::snapshot::TimeRange;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    Decimal32Type, Float64Type, Int16Type, Int32Type, TimestampMicrosecondType,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// (node, gpu, time) -> (attribute, temp, power in mW, load).
type Key = (String, String, Timestamp);
type Row = (Option<String>, Option<i16>, Option<i32>, Option<f64>);

/// One write: node, gpu, time and what it sets.
#[derive(Clone, Debug)]
struct Write {
    node: u8,
    gpu: u8,
    time: Timestamp,
    temp: Option<i16>,
    power: Option<i32>,
    load: Option<f64>,
}

fn schema() -> Arc<TableSchema> {
    Arc::new(TableSchema::of(&layout(0, "a", true)))
}

/// A node's layout with its two GPUs in reverse order; without `load` it has a column less.
fn layout(node: u8, job: &str, load: bool) -> Layout {
    let columns = [
        ("temp", FieldType::Int16),
        ("power", FieldType::decimal(9, 3).unwrap()),
        ("load", FieldType::Float64),
    ];
    let count = if load { 3 } else { 2 };
    let columns = columns[..count].iter();
    Layout::new(
        "gpu",
        vec!["node".into(), "gpu".into()],
        vec!["job".into()],
        columns
            .map(|(name, field_type)| Column { name: (*name).into(), field_type: *field_type })
            .collect(),
        [1, 0]
            .map(|gpu: u8| Series {
                identity: vec![format!("n{node}").into(), gpu.to_string().into()],
                attributes: vec![job.into()],
            })
            .to_vec(),
    )
    .unwrap()
}

struct Table {
    budget: Arc<Budget>,
    latest: Newest,
    generation: Generation,
    entries: Vec<(u8, String, bool, Arc<LayoutEntry>)>,
    oracle: BTreeMap<Key, Row>,
    position: u64,
}

impl Table {
    fn new() -> Self {
        let budget = Budget::new(usize::MAX);
        let latest = Newest::from(Timestamp::MIN);
        Self {
            generation: Generation::new(Arc::new(latest.clone()), &budget),
            budget,
            latest,
            entries: Vec::new(),
            oracle: BTreeMap::new(),
            position: 0,
        }
    }

    fn entry(&mut self, node: u8, job: &str, load: bool) -> Arc<LayoutEntry> {
        let known = self.entries.iter().find(|(n, j, l, _)| (*n, &**j, *l) == (node, job, load));
        if let Some((.., entry)) = known {
            return entry.clone();
        }
        let number = self.entries.len() as u32;
        let series = vec![u32::from(node) * 2 + 1, u32::from(node) * 2];
        let entry = Arc::new(LayoutEntry::new(number, Arc::new(layout(node, job, load)), series));
        self.entries.push((node, job.into(), load, entry.clone()));
        entry
    }

    /// Buffers one block of writes of one node.
    fn push(&mut self, node: u8, job: &str, load: bool, writes: &[Write]) {
        let entry = self.entry(node, job, load);
        let mut builder = BlockBuilder::new(entry.layout.clone());
        for write in writes {
            builder.row(u32::from(1 - write.gpu), write.time);
            if let Some(temp) = write.temp {
                builder.set(0, Value::Int(temp.into())).unwrap();
            }
            if let Some(power) = write.power {
                builder.set_stored(1, power.into());
            }
            if let Some(value) = write.load.filter(|_| load) {
                builder.set(2, Value::Float(value)).unwrap();
            }
            self.note(write, job, load);
        }
        let block = Block::parse(entry.layout.clone(), builder.finish()).unwrap();
        self.position += 1;
        let memory = self.budget.force(memory_of(&block));
        let buffered = Buffered { block, entry };
        self.generation.push(self.position, buffered, memory, &mut self.latest);
    }

    fn note(&mut self, write: &Write, job: &str, load: bool) {
        let key = (format!("n{}", write.node), write.gpu.to_string(), write.time);
        let row = self.oracle.entry(key).or_default();
        if !job.is_empty() {
            row.0 = Some(job.to_owned());
        }
        row.1 = write.temp.or(row.1);
        row.2 = write.power.or(row.2);
        row.3 = write.load.filter(|_| load).or(row.3);
    }

    fn scan(&self, times: TimeRange, keep: Keep) -> Vec<(Key, Row)> {
        self.scan_of(times, keep, &[])
    }

    /// In one go and in parts, which are the same.
    fn scan_of(&self, times: TimeRange, keep: Keep, tags: &[TagValues]) -> Vec<(Key, Row)> {
        let columns: Vec<usize> = (0..schema().arrow().fields().len()).collect();
        let generations = std::slice::from_ref(&self.generation);
        let order = Arc::new(RowOrder::new(generations, times, keep, tags));
        let part = |part, parts| -> Vec<_> {
            let scan = Scan::part(order.clone(), (part, parts), schema(), &columns);
            scan.flat_map(|batch| rows(&batch)).collect()
        };
        let whole = part(0, 1);
        for parts in 2..5 {
            let each: Vec<_> = (0..parts).map(|number| part(number, parts)).collect();
            assert_eq!(each.concat(), whole, "in {parts} parts");
        }
        whole
    }

    fn expected(&self, times: TimeRange) -> Vec<(Key, Row)> {
        let rows = self.oracle.iter().filter(|((.., time), _)| times.contains(*time));
        rows.map(|(key, row)| (key.clone(), row.clone())).collect()
    }
}

fn rows(batch: &RecordBatch) -> Vec<(Key, Row)> {
    let tag = |column: usize, row: usize| {
        let tags = batch.column(column).as_dictionary::<Int32Type>();
        let key = tags.is_valid(row).then(|| tags.keys().value(row) as usize)?;
        Some(tags.values().as_string::<i32>().value(key).to_owned())
    };
    let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
    let temp = batch.column(4).as_primitive::<Int16Type>();
    let power = batch.column(5).as_primitive::<Decimal32Type>();
    let load = batch.column(6).as_primitive::<Float64Type>();
    (0..batch.num_rows())
        .map(|row| {
            let key = (tag(1, row).unwrap(), tag(2, row).unwrap(), times.value(row));
            let values = (
                tag(3, row),
                temp.is_valid(row).then(|| temp.value(row)),
                power.is_valid(row).then(|| power.value(row)),
                load.is_valid(row).then(|| load.value(row)),
            );
            (key, values)
        })
        .collect()
}

fn write(node: u8, gpu: u8, time: Timestamp) -> Write {
    let temp = Some((time % 97) as i16);
    Write { node, gpu, time, temp, power: Some(time as i32), load: Some(0.5) }
}

fn tick(node: u8, time: Timestamp) -> [Write; 2] {
    [write(node, 1, time), write(node, 0, time)]
}

#[test]
fn regular_ticks_take_the_fast_way_and_agree() {
    let mut table = Table::new();
    for time in 0..50 {
        for node in [2, 0, 1] {
            let mut rows = tick(node, time);
            rows[1].temp = (time % 5 != 0).then_some(7);
            table.push(node, "a", node != 1, &rows);
        }
    }
    assert_eq!(table.scan(TimeRange::ALL, Keep::All), table.expected(TimeRange::ALL));
    let part = TimeRange { first: 10, last: 12 };
    assert_eq!(table.scan(part, Keep::All), table.expected(part));
}

#[test]
fn a_later_write_of_a_key_wins_field_by_field() {
    let mut table = Table::new();
    table.push(0, "a", true, &tick(0, 5));
    let second = Write { temp: None, power: Some(9), load: None, ..write(0, 0, 5) };
    table.push(0, "", false, &[second]);
    let rows = table.scan(TimeRange::ALL, Keep::All);
    assert_eq!(rows[0].1, (Some("a".into()), Some(5), Some(9), Some(0.5)));
    assert_eq!(rows, table.expected(TimeRange::ALL));
}

#[test]
fn late_rows_are_told_from_monotone_ones() {
    let mut table = Table::new();
    table.push(0, "a", true, &tick(0, 10));
    let newest = Arc::new(table.latest.clone());
    table.generation = Generation::new(newest.clone(), &table.budget);
    table.push(0, "a", true, &[write(0, 0, 9), write(0, 1, 11), write(0, 0, 10)]);
    assert_eq!(table.generation.late(), Some(TimeRange { first: 9, last: 11 }));
    let times = |keep| -> Vec<_> {
        let rows = table.scan(TimeRange::ALL, keep);
        rows.into_iter().map(|((_, gpu, time), _)| (gpu, time)).collect()
    };
    assert_eq!(times(Keep::Late(newest.clone())), [("0".into(), 9), ("0".into(), 10)]);
    assert_eq!(times(Keep::Monotone(newest)), [("1".into(), 11)]);
}

#[test]
fn memory_is_given_back_when_the_last_reader_has_gone() {
    let mut table = Table::new();
    table.push(0, "a", true, &tick(0, 10));
    let slice = BufferSlice::new(schema(), vec![table.generation.clone()], Arc::default());
    assert!(table.budget.used() > 0);
    table.generation = Generation::new(Arc::new(table.latest.clone()), &table.budget);
    assert!(table.budget.used() > 0);
    drop(slice);
    assert_eq!(table.budget.used(), 0);
}

/// The newest row of each series by the oracle.
fn newest(table: &Table) -> Vec<(Key, Row)> {
    let mut newest: BTreeMap<(String, String), (Key, Row)> = BTreeMap::new();
    for (key, row) in table.expected(TimeRange::ALL) {
        newest.insert((key.0.clone(), key.1.clone()), (key, row));
    }
    newest.into_values().collect()
}

fn latest(generation: &Generation) -> Vec<(Key, Row)> {
    let latest = GenerationLatest::new(generation.clone());
    let series: Vec<u32> = latest.series().map(|(series, ..)| series).collect();
    let columns: Vec<usize> = (0..schema().arrow().fields().len()).collect();
    let columns = latest.columns(&schema(), &columns, &series);
    let batch = RecordBatch::try_new(schema().arrow(), columns).unwrap();
    let mut rows = rows(&batch);
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

/// The newest rows as they are kept when sorted batches of so many rows pass by.
fn passed(generation: &Generation, batch_rows: usize) -> Vec<(Key, Row)> {
    let columns: Vec<usize> = (0..schema().arrow().fields().len()).collect();
    let slice = BufferSlice::new(schema(), vec![generation.clone()], Arc::default());
    let mut passing = Passing::new(&schema());
    for batch in slice.scan_all(&columns) {
        for first in (0..batch.num_rows()).step_by(batch_rows) {
            passing.look_at(&batch.slice(first, batch_rows.min(batch.num_rows() - first)));
        }
    }
    let newer = passing.finish().map(|rows| Source::Rows(Arc::new(rows)));
    let latest = Latest::over(schema(), &Arc::new(LatestRows::none(&schema())), newer);
    let mut rows: Vec<_> = latest.batches(columns).flat_map(|batch| rows(&batch)).collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

#[test]
fn an_older_reader_finds_its_own_newest_rows_after_a_newer_one() {
    let mut table = Table::new();
    let mut readers = Vec::new();
    for time in 0..2_500 {
        for node in 0..2 {
            table.push(node, "a", true, &tick(node, time * i64::from(node + 1)));
        }
        if [400, 511, 512, 1_100].contains(&time) {
            table.push(1, "b", false, &[write(1, 0, 2 * time), write(1, 1, 0)]);
            readers.push((table.generation.clone(), newest(&table)));
        }
    }
    assert_eq!(latest(&readers[2].0), readers[2].1);
    assert_eq!(latest(&table.generation), newest(&table));
    for (generation, expected) in readers {
        assert_eq!(latest(&generation), expected);
    }
}

fn writes() -> impl Strategy<Value = Vec<(u8, bool, bool, Vec<Write>)>> {
    let value = (0_u8..2, 0_i64..6, any::<Option<i16>>(), prop::option::of(0..999), any::<bool>());
    let block = (0_u8..3, any::<bool>(), any::<bool>(), prop::collection::vec(value, 0..6));
    let block = block.prop_map(|(node, job, load, values)| {
        let rows = values.into_iter().map(|(gpu, time, temp, power, some)| Write {
            node,
            gpu,
            time,
            temp: temp.filter(|temp| *temp != i16::MIN),
            power,
            load: some.then_some(1.5),
        });
        (node, job, load, rows.collect())
    });
    prop::collection::vec(block, 0..20)
}

proptest! {
    #[test]
    fn any_history_reads_as_the_oracle_says(blocks in writes(), first in 0_i64..6, span in 0_i64..6) {
        let mut table = Table::new();
        for (node, job, load, rows) in &blocks {
            table.push(*node, if *job { "a" } else { "" }, *load, rows);
        }
        let times = TimeRange { first, last: first + span };
        prop_assert_eq!(table.scan(times, Keep::All), table.expected(times));
        prop_assert_eq!(table.scan(TimeRange::ALL, Keep::All), table.expected(TimeRange::ALL));
        let nodes = ["n9", "n2", "n0", ""];
        for tags in [vec![(0, &["n1"][..])], vec![(0, &nodes)], vec![(1, &["1"]), (0, &nodes)]] {
            let has = |(node, gpu, _): &Key| {
                tags.iter().all(|(place, values)| values.contains(&[&**node, gpu][*place]))
            };
            let mut expected = table.expected(times);
            expected.retain(|(key, _)| has(key));
            let values = |values: &[&str]| values.iter().map(|value| (*value).into()).collect();
            let tags: Vec<_> =
                tags.iter().map(|(place, of)| TagValues::new(*place, values(of))).collect();
            prop_assert_eq!(table.scan_of(times, Keep::All, &tags), expected);
        }
        prop_assert_eq!(latest(&table.generation), newest(&table));
        for batch_rows in [1, 2, 5, 100] {
            prop_assert_eq!(passed(&table.generation, batch_rows), newest(&table));
        }
    }
}
