//! The spool by its promises: what it keeps over deaths, what it drops, what it says of servers.

mod damage;
mod fixture;
mod servers;

use super::*;
use warpline_storage::model::{Block, BlockBuilder, Column, FieldType, Series};

const NOW: Timestamp = 1_780_000_000_000_000;

fn options(folder: &Path) -> SpoolOptions {
    SpoolOptions { folder: Some(folder.to_owned()), bytes: 1 << 20, keep: Keep::Stored }
}

fn open(folder: &Path) -> Spool {
    Spool::open(&options(folder)).unwrap()
}

/// A layout of one series and one field; `pod` tells layouts apart.
fn layout(pod: &str) -> Arc<Layout> {
    let series = Series { identity: vec!["n1".into()], attributes: vec![pod.into()] };
    let column = Column { name: "value".into(), field_type: FieldType::Int64 };
    let tags = (vec!["node".into()], vec!["pod".into()]);
    Arc::new(Layout::new("t", tags.0, tags.1, vec![column], vec![series]).unwrap())
}

fn block(layout: &Arc<Layout>, value: i64) -> (Arc<Layout>, Bytes) {
    let mut builder = BlockBuilder::new(layout.clone());
    builder.row(0, NOW + value * 1_000_000);
    builder.set_stored(0, value);
    (layout.clone(), builder.finish())
}

fn append(spool: &mut Spool, value: i64) {
    // Some ticks share a layout, some do not.
    spool.append(vec![block(&layout(&format!("p{}", value / 3)), value)], NOW + value * 1_000_000);
}

/// What a server would get that stands at `standing`: sequences and values.
fn sent(spool: &mut Spool, standing: Acknowledged) -> Vec<(Sequence, i64)> {
    let (mut cursor, _) = spool.meet(standing);
    rest(spool, &mut cursor)
}

fn rest(spool: &mut Spool, cursor: &mut Cursor) -> Vec<(Sequence, i64)> {
    let mut all = Vec::new();
    while let Some(found) = spool.read(cursor) {
        for (at, (_, data)) in found.blocks.iter().enumerate() {
            let layout = Spool::layout(cursor, &found, at).unwrap();
            let block = Block::parse(layout, data.clone()).unwrap();
            all.push((found.sequence, block.raw(0, 0)));
        }
    }
    all
}

fn at(durable: Sequence, stored: Sequence) -> Acknowledged {
    Acknowledged { durable, stored }
}

fn pairs(sequences: std::ops::RangeInclusive<u64>, first: i64) -> Vec<(Sequence, i64)> {
    sequences.zip(first..).collect()
}

#[test]
fn frames_outlive_the_process_and_are_sent_in_order() {
    let folder = tempfile::tempdir().unwrap();
    for run in 0..3 {
        let mut spool = open(folder.path());
        (run * 10..run * 10 + 10).for_each(|value| append(&mut spool, value));
        assert_eq!(spool.counts().memory_bytes, 0, "each append is written");
    }
    let mut spool = open(folder.path());
    assert_eq!(spool.counts().frames, 30);
    assert_eq!(sent(&mut spool, at(0, 0)), pairs(1..=30, 0));
    assert_eq!(sent(&mut spool, at(25, 10)), pairs(26..=30, 25));
    append(&mut spool, 30);
    let (mut cursor, _) = spool.meet(at(30, 30));
    assert_eq!(rest(&mut spool, &mut cursor), [(31, 30)]);
    append(&mut spool, 31);
    assert_eq!(rest(&mut spool, &mut cursor), [(32, 31)], "the cursor goes on");
}

#[test]
fn what_is_kept_ends_at_durable_or_at_stored() {
    for (keep, left) in [(Keep::Durable, 0), (Keep::Stored, 12)] {
        for in_memory in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().to_owned();
            let options = SpoolOptions { folder: (!in_memory).then_some(path), bytes: 8_000, keep };
            let mut spool = Spool::open(&options).unwrap();
            (0..20).for_each(|value| append(&mut spool, value));
            assert_eq!(sent(&mut spool, at(0, 0)).len(), 20);
            assert!(!spool.is_settled());
            spool.acknowledge(at(20, 8));
            assert!(spool.is_settled());
            let kept = spool.counts().frames;
            // Segments go as a whole: what the one written to holds stays.
            let spare = if in_memory { 0 } else { 4 };
            assert!((left..=left + spare).contains(&kept), "{keep:?}: {kept} frames");
        }
    }
}

#[test]
fn at_the_bound_the_oldest_goes_and_is_counted() {
    for in_memory in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let bytes = 20_000;
        let path = folder.path().to_owned();
        let options =
            SpoolOptions { folder: (!in_memory).then_some(path), bytes, keep: Keep::Stored };
        let mut spool = Spool::open(&options).unwrap();
        (0..1_000).for_each(|value| append(&mut spool, value));
        let counts = spool.counts();
        assert!(counts.disk_bytes + counts.memory_bytes <= bytes, "{counts:?}");
        assert!(counts.disk_bytes + counts.memory_bytes > bytes / 2, "{counts:?}");
        assert_eq!(counts.dropped + counts.frames, 1_000);
        assert_eq!((counts.appended, counts.forgotten), (1_000, 0));
        let dropped = counts.dropped;
        assert_eq!(sent(&mut spool, at(0, 0)), pairs(dropped + 1..=1_000, dropped.cast_signed()));
        // What a server has on its disk is forgotten, not lost.
        spool.acknowledge(at(1_000, 0));
        (1_000..1_100).for_each(|value| append(&mut spool, value));
        let counts = spool.counts();
        assert_eq!(counts.dropped, dropped);
        assert!(counts.forgotten > 0);
        assert_eq!(counts.dropped + counts.forgotten + counts.frames, 1_100);
    }
}

#[test]
fn a_frame_larger_than_the_spool_is_dropped_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(&SpoolOptions { bytes: 4_096, ..options(folder.path()) }).unwrap();
    append(&mut spool, 0);
    let mut builder = BlockBuilder::new(layout("p"));
    (0..1_000).for_each(|row| builder.row(0, NOW + row));
    spool.append(vec![(layout("p"), builder.finish())], NOW);
    append(&mut spool, 2);
    assert_eq!(sent(&mut spool, at(0, 0)), [(1, 0), (3, 2)]);
    assert_eq!(spool.counts().dropped, 1);
}

#[test]
fn a_large_tick_becomes_several_frames() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool =
        Spool::open(&SpoolOptions { bytes: 16 << 20, ..options(folder.path()) }).unwrap();
    let mut builder = BlockBuilder::new(layout("p"));
    (0..40_000).for_each(|row| builder.row(0, NOW + row));
    let large = builder.finish();
    assert!(large.len() < FRAME_BYTES && 2 * large.len() > FRAME_BYTES / 2);
    let ticks = (0..8).map(|n| (layout(&format!("p{n}")), large.clone())).collect();
    spool.append(ticks, NOW);
    let (mut cursor, _) = spool.meet(at(0, 0));
    let frames: Vec<_> = std::iter::from_fn(|| spool.read(&mut cursor)).collect();
    assert!(frames.len() > 1);
    assert_eq!(frames.iter().map(|frame| frame.blocks.len()).sum::<usize>(), 8);
}

#[test]
fn layouts_are_in_every_segment_that_uses_them() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = 32_000;
    let mut spool = Spool::open(&SpoolOptions { bytes, ..options(folder.path()) }).unwrap();
    for value in 0..200 {
        // Two blocks under one layout, and one that all ticks share.
        let blocks = vec![block(&layout("x"), value), block(&layout("x"), value)];
        spool.append(blocks.into_iter().chain([block(&layout("all"), value)]).collect(), NOW);
    }
    drop(spool);
    assert!(std::fs::read_dir(folder.path()).unwrap().count() > 5, "several segments");
    let mut spool = open(folder.path());
    let frames = spool.counts().frames;
    assert_eq!(sent(&mut spool, at(0, 0)).len() as u64, 3 * frames);
}

#[test]
fn a_disk_that_takes_nothing_is_waited_out_in_memory() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("spool");
    let mut spool = Spool::open(&SpoolOptions { bytes: 16_000, ..options(&folder) }).unwrap();
    append(&mut spool, 0);
    // Segments cannot be made in a folder that is not there.
    std::fs::rename(&folder, parent.path().join("away")).unwrap();
    (1..30).for_each(|value| append(&mut spool, value));
    let counts = spool.counts();
    assert!(counts.memory_bytes > 0 && counts.dropped == 0, "{counts:?}");
    std::fs::rename(parent.path().join("away"), &folder).unwrap();
    append(&mut spool, 30);
    assert_eq!(spool.counts().memory_bytes, 0);
    assert_eq!(sent(&mut spool, at(0, 0)), pairs(1..=31, 0));
    std::fs::rename(&folder, parent.path().join("away")).unwrap();
    (31..2_000).for_each(|value| append(&mut spool, value));
    let counts = spool.counts();
    assert!(counts.memory_bytes <= 16_000 && counts.dropped > 0, "memory is bounded: {counts:?}");
    assert_eq!(counts.dropped + counts.frames, 2_000);
}

#[test]
fn a_folder_has_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let refused = Spool::open(&options(folder.path())).unwrap_err();
    assert!(matches!(refused, SpoolError::Locked { .. }), "{refused}");
    drop(first);
    open(folder.path());
}
