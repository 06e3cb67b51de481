//! Batches come back as they were staged, once, under positions that only rise.

use super::*;

#[test]
fn a_group_is_handed_back_over_its_own_bytes_and_read_back_after_a_restart() {
    let home = Home::new(1 << 20);
    let mut log = home.log();
    let incarnation = log.incarnation();
    let batches = [batch(1, 1), batch(2, 5), batch(1, 2), batch(3, 8)];
    for (position, batch) in (1..).zip(&batches) {
        assert_eq!(log.stage(batch.clone()).expect("staged"), Some(position));
    }
    assert!(log.staged_bytes() > 0);
    let group = log.commit().expect("committed").entries;
    assert_eq!(log.staged_bytes(), 0);
    assert_eq!(log.end(), 4);
    (1..)
        .zip(group.iter().zip(&batches))
        .for_each(|(p, (entry, batch))| assert_is(entry, p, batch));
    drop(log);

    let (groups, log) = home.open().expect("a sound log");
    assert_eq!(groups.len(), 1);
    (1..).zip(groups[0].iter().zip(&batches)).for_each(|(p, (e, batch))| assert_is(e, p, batch));
    assert_eq!(log.incarnation(), incarnation);
    assert_eq!(log.end(), 4);
    let mut producers: Vec<_> = log.producers().map(|(id, s)| (id.as_str(), s)).collect();
    producers.sort_unstable();
    assert_eq!(producers, [("agent-1", 2), ("agent-2", 5), ("agent-3", 8)]);
}

#[test]
fn blocks_are_slices_of_one_buffer_in_which_nothing_is_wasted() {
    let home = Home::new(1 << 20);
    let mut log = home.log();
    log.stage(batch(1, 2)).expect("staged");
    log.stage(batch(2, 2)).expect("staged");
    let group = log.commit().expect("committed").entries;
    let addresses: Vec<_> = group
        .iter()
        .flat_map(|entry| &entry.blocks)
        .map(|block| block.bytes().as_ptr().addr())
        .collect();
    let span = addresses[addresses.len() - 1] - addresses[0];
    assert!(addresses.is_sorted() && span < 4_096, "{addresses:?}");
}

#[test]
fn what_was_taken_is_dropped_in_the_group_after_it_and_after_a_restart() {
    let home = Home::new(1 << 20);
    let mut log = home.log();
    assert_eq!(log.stage(batch(1, 3)).expect("staged"), Some(1));
    assert_eq!(log.stage(batch(1, 3)).expect("dropped"), None);
    assert_eq!(log.stage(batch(1, 2)).expect("dropped"), None);
    assert_eq!(log.stage(batch(2, 0)).expect("dropped"), None);
    assert_eq!(log.commit().expect("committed").entries.len(), 1);
    assert_eq!(log.stage(batch(1, 3)).expect("dropped"), None);
    drop(log);
    let mut log = home.log();
    assert_eq!(log.stage(batch(1, 3)).expect("dropped"), None);
    assert_eq!(log.stage(batch(1, 4)).expect("staged"), Some(2));
}

#[test]
fn a_staged_batch_that_was_never_committed_is_taken_when_it_is_sent_again() {
    let home = Home::new(1 << 20);
    let mut log = home.log();
    fill(&mut log, 1..3);
    log.stage(batch(1, 3)).expect("staged");
    assert_eq!(log.producers().map(|(_, sequence)| sequence).collect::<Vec<_>>(), [2]);
    drop(log);
    let (groups, mut log) = home.open().expect("a sound log");
    assert_eq!(groups.len(), 2);
    assert_eq!(log.stage(batch(1, 3)).expect("staged"), Some(3));
}

#[test]
fn segments_roll_and_each_can_be_read_alone() {
    let home = Home::new(4_096);
    fill(&mut home.log(), 1..200);
    let segments = home.segments();
    assert!(segments.len() > 5);
    for segment in &segments[..segments.len() - 1] {
        std::fs::remove_file(segment).expect("deleted");
    }
    let (groups, log) = home.open().expect("a sound log");
    let first = groups[0][0].position;
    assert_eq!(name(&segments[segments.len() - 1]), segment_name(first));
    for (position, group) in (first..).zip(&groups) {
        assert_is(&group[0], position, &batch(1, position));
    }
    assert_eq!(log.end(), 199);
}

#[test]
fn a_producer_read_back_many_times_has_its_name_once() {
    let home = Home::new(4_096);
    fill(&mut home.log(), 1..100);
    let (groups, _) = home.open().expect("a sound log");
    let names: std::collections::HashSet<_> =
        groups.iter().flatten().map(|entry| entry.producer.as_str().as_ptr()).collect();
    assert_eq!(names.len(), 1);
}

#[test]
fn equal_layouts_read_back_from_several_segments_are_one() {
    let home = Home::new(4_096);
    fill(&mut home.log(), 1..100);
    let (groups, _) = home.open().expect("a sound log");
    let layouts: Vec<_> =
        groups.iter().flatten().flat_map(|e| &e.blocks).map(|b| Arc::as_ptr(b.layout())).collect();
    let distinct: std::collections::HashSet<_> = layouts.iter().collect();
    assert_eq!(distinct.len(), 2);
}

#[test]
fn a_layout_is_defined_once_in_a_segment_whatever_arc_it_comes_in() {
    let home = Home::new(1 << 20);
    let mut log = home.log();
    let before = log.bytes();
    fill(&mut log, (1..50).map(|n| n * 3 + 1));
    assert_eq!(log.bytes(), before);
    let bytes = std::fs::read(home.newest()).expect("a segment");
    let definitions = bytes.windows(8).filter(|window| *window == b"GPU-1-0\x04").count();
    assert_eq!(definitions, 1);
}

#[test]
fn a_group_larger_than_a_segment_gets_one_of_its_own() {
    let home = Home::new(2_048);
    let mut log = home.log();
    fill(&mut log, 1..3);
    for sequence in 3..300 {
        log.stage(batch(1, sequence)).expect("staged");
    }
    log.commit().expect("committed");
    fill(&mut log, 300..303);
    drop(log);
    let (groups, _) = home.open().expect("a sound log");
    let sizes: Vec<_> = groups.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 1, 297, 1, 1, 1]);
}

#[test]
fn covered_segments_go_and_positions_and_sequences_stay() {
    let home = Home::new(4_096);
    let mut log = home.log();
    fill(&mut log, 1..100);
    let (before, bytes) = (home.segments().len(), log.bytes());
    assert_eq!(log.truncate(0).expect("nothing to do"), 0);
    let freed = log.truncate(log.end()).expect("truncated");
    assert_eq!(home.segments().len(), 1);
    assert_eq!(freed, bytes - log.bytes());
    assert_eq!(freed, (before as u64 - 1) * 4_096);
    drop(log);

    let mut log = home.log();
    assert_eq!(log.end(), 99);
    assert_eq!(log.stage(batch(1, 99)).expect("dropped"), None);
    assert_eq!(log.stage(batch(1, 100)).expect("staged"), Some(100));
}

#[test]
fn only_whole_segments_below_the_covered_position_go() {
    let home = Home::new(4_096);
    let mut log = home.log();
    fill(&mut log, 1..100);
    let names: Vec<_> = home.segments().iter().map(|path| name(path).to_owned()).collect();
    let third: Position = names[2][..20].parse().expect("a position");
    log.truncate(third - 2).expect("truncated");
    assert_eq!(home.segments().len(), names.len() - 1);
    log.truncate(third - 1).expect("truncated");
    assert_eq!(name(&home.segments()[0]), names[2]);
    drop(log);
    let (groups, _) = home.open().expect("a sound log");
    assert_eq!(groups[0][0].position, third);
}

#[test]
fn a_log_that_is_open_is_refused_to_others() {
    let home = Home::new(4_096);
    let log = home.log();
    let error = home.recover().map(|_| ()).expect_err("locked");
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.to_string().contains("in use by another process"), "{error}");
    drop(log);
    home.log();
}

#[test]
fn a_log_that_was_not_read_to_its_end_is_not_written() {
    let home = Home::new(4_096);
    fill(&mut home.log(), 1..4);
    let mut recovery = home.recover().expect("a sound log");
    recovery.next();
    let error = recovery.into_log().map(|_| ()).expect_err("groups are left");
    assert_eq!(error.kind(), ErrorKind::Internal);
}
