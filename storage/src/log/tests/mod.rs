//! What the log promises, tried out. Here: batches whose bytes follow from producer and sequence,
//! and a log in a folder of its own.

mod bytes;
mod crash;
mod damage;
mod fixture;
mod round_trip;
mod steps;

use super::folder::segment_name;
use super::{Entry, Log, LogOptions, Recovery};
use crate::error::{ErrorKind, StorageError};
use crate::model::{
    Batch, Block, BlockBuilder, Column, FieldType, Layout, Position, ProducerId, Sequence, Series,
    Value,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// A folder for one log.
struct Home {
    folder: TempDir,
    segment_bytes: u64,
}

impl Home {
    fn new(segment_bytes: u64) -> Self {
        Self { folder: TempDir::new().expect("a folder"), segment_bytes }
    }

    fn recover(&self) -> Result<Recovery, StorageError> {
        let dir = self.folder.path().to_owned();
        Log::recover(&LogOptions { dir, segment_bytes: self.segment_bytes })
    }

    /// Everything in the log, group by group, and the log to go on with.
    fn open(&self) -> Result<(Vec<Vec<Entry>>, Log), StorageError> {
        let mut recovery = self.recover()?;
        let groups = recovery.by_ref().map(|group| group.map(|group| group.entries));
        let groups = groups.collect::<Result<_, _>>()?;
        Ok((groups, recovery.into_log()?))
    }

    fn log(&self) -> Log {
        self.open().expect("a sound log").1
    }

    fn error(&self) -> StorageError {
        self.open().expect_err("a damaged log")
    }

    /// The segment files, oldest first.
    fn segments(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path()).expect("a folder");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        paths.sort();
        paths
    }

    fn newest(&self) -> PathBuf {
        self.segments().pop().expect("a segment")
    }
}

fn layout(node: u64, columns: usize) -> Arc<Layout> {
    let series = (0..4).map(|gpu: u64| Series {
        identity: vec![format!("node-{node}").into(), gpu.to_string().into()],
        attributes: vec![format!("GPU-{node}-{gpu}").into(), "H100".into()],
    });
    let types = [
        FieldType::Decimal { digits: 9, decimals: 3 },
        FieldType::Int8,
        FieldType::Int64,
        FieldType::Float64,
        FieldType::Int16,
        FieldType::Decimal { digits: 12, decimals: 6 },
        FieldType::Int32,
    ];
    let column = |(index, field_type)| Column { name: format!("field_{index}").into(), field_type };
    let columns = types.into_iter().cycle().take(columns).enumerate().map(column);
    let names = |names: [&str; 2]| names.map(Arc::from).to_vec();
    let (identity, attributes) = (names(["node", "gpu"]), names(["uuid", "model"]));
    Arc::new(
        Layout::new("gpu", identity, attributes, columns.collect(), series.collect())
            .expect("a layout"),
    )
}

fn block(layout: &Arc<Layout>, seed: u64) -> Block {
    let mut builder = BlockBuilder::new(layout.clone());
    for row in 0..4_u32 {
        builder.row(row, seed.cast_signed() * 1_000_000);
        for column in
            (0..layout.columns().len()).filter(|column| !(seed + *column as u64).is_multiple_of(5))
        {
            let value = Value::Int((seed.cast_signed() + i64::from(row)) % 100);
            builder.set(column, value).expect("a small value");
        }
    }
    Block::parse(layout.clone(), builder.finish()).expect("a sound block")
}

fn producer(number: u64) -> ProducerId {
    ProducerId::new(format!("agent-{number}")).expect("a name")
}

/// The batch that this producer has under this sequence.
fn batch(number: u64, sequence: Sequence) -> Batch {
    let blocks = (0..sequence % 3).map(|index| {
        let layout = layout(number, if index == 0 { 3 } else { 8 });
        block(&layout, number * 1_000 + sequence)
    });
    Batch { producer: producer(number), sequence, blocks: blocks.collect() }
}

fn assert_is(entry: &Entry, position: Position, batch: &Batch) {
    assert_eq!(entry.position, position);
    assert_eq!(entry.producer, batch.producer);
    assert_eq!(entry.sequence, batch.sequence);
    assert_eq!(entry.blocks.len(), batch.blocks.len());
    for (back, block) in entry.blocks.iter().zip(&batch.blocks) {
        assert_eq!(back.layout(), block.layout());
        assert_eq!(back.bytes(), block.bytes());
    }
}

/// Commits these batches of producer 1, each as a group.
fn fill(log: &mut Log, sequences: impl IntoIterator<Item = Sequence>) {
    for sequence in sequences {
        log.stage(batch(1, sequence)).expect("staged").expect("a new sequence");
        log.commit().expect("committed");
    }
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a name")
}
