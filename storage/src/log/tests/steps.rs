//! What reaches the disk and in which order: `kill -9` cannot see this, power loss does.

use super::super::disk::Step::{
    Create, Cut, Delete, Preallocate, SyncData, SyncFile, SyncFolder, Write,
};
use super::super::disk::trace;
use super::*;

#[test]
fn a_commit_is_one_write_and_one_sync_and_a_write_of_what_is_new() {
    let home = Home::new(1 << 20);
    let mut log = home.log();
    log.stage(batch(1, 1)).expect("staged");
    log.stage(batch(2, 1)).expect("staged");
    trace::taken();
    log.commit().expect("committed");
    assert_eq!(trace::taken(), [Write, Write, SyncData]);
    log.stage(batch(1, 4)).expect("staged");
    log.commit().expect("committed");
    assert_eq!(trace::taken(), [Write, SyncData]);
    log.commit().expect("nothing to do");
    assert_eq!(trace::taken(), []);
}

#[test]
fn a_segment_and_its_name_are_durable_before_a_group_is_written_to_it() {
    let home = Home::new(0);
    let mut log = home.log();
    fill(&mut log, [1]);
    trace::taken();
    fill(&mut log, [2]);
    let steps = trace::taken();
    assert_eq!(steps, [Create, Preallocate, Write, SyncFile, SyncFolder, Write, Write, SyncData]);
}

#[test]
fn segments_are_deleted_one_by_one() {
    let home = Home::new(0);
    let mut log = home.log();
    fill(&mut log, 1..4);
    trace::taken();
    log.truncate(2).expect("truncated");
    assert_eq!(trace::taken(), [Delete, SyncFolder, Delete, SyncFolder]);
}

#[test]
fn the_last_group_is_written_and_synced_again_before_it_is_handed_out() {
    let home = Home::new(1 << 20);
    fill(&mut home.log(), 1..4);
    let mut recovery = home.recover().expect("a sound log");
    trace::taken();
    recovery.next();
    recovery.next();
    assert_eq!(trace::taken(), []);
    recovery.next();
    assert_eq!(trace::taken(), [Write, SyncFile, SyncFolder]);
    assert!(recovery.next().is_none());
    recovery.into_log().expect("a log");
    assert_eq!(trace::taken(), [Cut, Preallocate, SyncFile]);
}

#[test]
fn after_a_failure_nothing_is_taken_and_nothing_tried_again() {
    for step in [Write, SyncData] {
        let home = Home::new(1 << 20);
        let mut log = home.log();
        fill(&mut log, [1]);
        log.stage(batch(1, 2)).expect("staged");
        trace::fail(Some(step));
        let error = log.commit().expect_err("the disk fails");
        trace::fail(None);
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(error.to_string().contains("injected"), "{error}");
        trace::taken();
        assert_eq!(log.commit().expect_err("refused").kind(), ErrorKind::Closed);
        assert_eq!(log.stage(batch(1, 3)).expect_err("refused").kind(), ErrorKind::Closed);
        assert_eq!(trace::taken(), []);
        assert_eq!(log.producers().map(|(_, sequence)| sequence).collect::<Vec<_>>(), [1]);
    }
}

#[test]
fn a_new_segments_snapshot_does_not_tell_of_the_group_that_made_it() {
    let home = Home::new(0);
    let mut log = home.log();
    fill(&mut log, [1]);
    log.stage(batch(1, 2)).expect("staged");
    trace::fail(Some(SyncData));
    log.commit().expect_err("the disk fails");
    trace::fail(None);
    drop(log);
    // The power went before the group reached the disk: its bytes are zeros.
    let newest = home.newest();
    assert_eq!(name(&newest), segment_name(2));
    let mut bytes = std::fs::read(&newest).expect("a segment");
    let group = bytes.windows(5).rposition(|w| w == super::super::format::Mark::pattern());
    bytes[group.expect("a mark") - 4..].fill(0);
    std::fs::write(&newest, bytes).expect("written");

    let (groups, mut log) = home.open().expect("a sound log");
    assert_eq!(groups.len(), 1);
    assert_eq!(log.stage(batch(1, 2)).expect("staged"), Some(2));
}

#[test]
fn a_segment_that_cannot_be_made_closes_the_log_and_loses_nothing() {
    for step in [Create, Preallocate, SyncFile, SyncFolder] {
        let home = Home::new(0);
        let mut log = home.log();
        fill(&mut log, [1]);
        log.stage(batch(1, 2)).expect("staged");
        trace::fail(Some(step));
        assert_eq!(log.commit().expect_err("the disk fails").kind(), ErrorKind::Closed);
        trace::fail(None);
        drop(log);
        let (groups, mut log) = home.open().expect("a sound log");
        assert_eq!(groups.len(), 1);
        fill(&mut log, [2]);
        drop(log);
        assert_eq!(home.open().expect("a sound log").0.len(), 2);
    }
}

#[test]
fn a_full_disk_is_waited_out() {
    // A segment of no bytes makes every group roll; one of a MiB lets the write itself fail.
    let fillings = [(0, Create), (0, Preallocate), (0, Write), (1 << 20, Write)];
    for (segment_bytes, step) in fillings {
        let home = Home::new(segment_bytes);
        let mut log = home.log();
        fill(&mut log, [1]);
        log.stage(batch(2, 1)).expect("staged");
        trace::fill(step);
        for _ in 0..3 {
            let error = log.commit().expect_err("a full disk");
            assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
        }
        // What comes meanwhile waits with it; what is covered may be freed.
        log.stage(batch(1, 2)).expect("staged").expect("a new sequence");
        log.truncate(0).expect("nothing to free");
        trace::fail(None);
        let mut committed = log.commit().expect("committed").entries.len();
        committed += log.commit().expect("committed").entries.len();
        assert_eq!(committed, 2, "{step:?}");
        fill(&mut log, [4, 5]);
        drop(log);
        let entries: Vec<_> = home.open().expect("a sound log").0.into_iter().flatten().collect();
        let positions: Vec<_> = entries.iter().map(|entry| entry.position).collect();
        assert_eq!(positions, [1, 2, 3, 4, 5]);
        assert_is(&entries[1], 2, &batch(2, 1));
        assert_is(&entries[2], 3, &batch(1, 2));
    }
}

#[test]
fn a_full_disk_at_a_sync_is_a_failure() {
    for step in [SyncData, SyncFile, SyncFolder] {
        let home = Home::new(0);
        let mut log = home.log();
        fill(&mut log, [1]);
        log.stage(batch(1, 2)).expect("staged");
        trace::fill(step);
        assert_eq!(log.commit().expect_err("the disk fails").kind(), ErrorKind::Closed);
        trace::fail(None);
        assert_eq!(log.commit().expect_err("refused").kind(), ErrorKind::Closed);
    }
}

#[test]
fn a_log_that_died_on_a_full_disk_has_what_was_committed() {
    for (segment_bytes, step) in [(0, Write), (1 << 20, Write)] {
        let home = Home::new(segment_bytes);
        let mut log = home.log();
        fill(&mut log, [1, 2]);
        log.stage(batch(1, 3)).expect("staged");
        trace::fill(step);
        log.commit().expect_err("a full disk");
        trace::fail(None);
        drop(log);
        let (groups, mut log) = home.open().expect("a sound log");
        assert_eq!(groups.len(), 2);
        assert_eq!(log.stage(batch(1, 3)).expect("staged"), Some(3));
        log.commit().expect("committed");
    }
}
