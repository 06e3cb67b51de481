//! Damage to what was acknowledged is told, with segment and offset; it is never taken for a torn
//! write and never read past.

use super::*;

/// Flips a bit of the byte at `offset`.
fn flip(path: &Path, offset: u64) {
    let mut bytes = std::fs::read(path).expect("a segment");
    bytes[offset as usize] ^= 0x10;
    std::fs::write(path, bytes).expect("written");
}

/// Writes groups of one batch and tells where each begins in the newest segment.
fn write(home: &Home, sequences: std::ops::Range<Sequence>) -> Vec<u64> {
    let mut log = home.log();
    let mut starts = Vec::new();
    for sequence in sequences {
        starts.push(log.open.end());
        fill(&mut log, [sequence]);
    }
    starts.push(log.open.end());
    starts
}

fn assert_corrupt(error: &StorageError, segment: &Path) {
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains(name(segment)), "{error}");
}

/// The offset that the message names.
fn named_offset(error: &StorageError) -> u64 {
    let text = error.to_string();
    let (_, rest) = text.split_once("at offset ").expect("an offset");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

#[test]
fn any_byte_of_an_acknowledged_group_that_changes_is_told_with_its_record() {
    let home = Home::new(1 << 14);
    let starts = write(&home, 1..4);
    let bytes = std::fs::read(home.newest()).expect("a segment");
    for offset in starts[0]..starts[2] {
        std::fs::write(home.newest(), &bytes).expect("written");
        flip(&home.newest(), offset);
        let error = home.error();
        assert_corrupt(&error, &home.newest());
        let group = starts.iter().rfind(|start| **start <= offset).expect("a group");
        assert!((*group..=offset).contains(&named_offset(&error)), "{offset}: {error}");
    }
    // The last group's loss cannot be told from a write that never finished.
    for offset in (starts[2]..starts[3]).step_by(5) {
        std::fs::write(home.newest(), &bytes).expect("written");
        flip(&home.newest(), offset);
        let (groups, log) = home.open().expect("a torn tail");
        assert_eq!((groups.len(), log.end()), (2, 2), "{offset}");
    }
}

#[test]
fn zeros_in_place_of_acknowledged_groups_are_told() {
    let home = Home::new(1 << 14);
    let starts = write(&home, 1..5);
    let mut bytes = std::fs::read(home.newest()).expect("a segment");
    bytes[starts[1] as usize..starts[2] as usize].fill(0);
    std::fs::write(home.newest(), bytes).expect("written");
    let error = home.error();
    assert_corrupt(&error, &home.newest());
    assert_eq!(named_offset(&error), starts[1]);
}

#[test]
fn damage_to_the_start_of_a_segment_with_groups_is_told() {
    let home = Home::new(1 << 14);
    let starts = write(&home, 1..3);
    let bytes = std::fs::read(home.newest()).expect("a segment");
    for offset in (0..8).chain(16..starts[0]) {
        std::fs::write(home.newest(), &bytes).expect("written");
        flip(&home.newest(), offset);
        assert_corrupt(&home.error(), &home.newest());
    }
}

#[test]
fn any_fault_in_an_older_segment_is_told() {
    let home = Home::new(2_048);
    write(&home, 1..60);
    let older = home.segments().swap_remove(1);
    let bytes = std::fs::read(&older).expect("a segment");
    for offset in (0..bytes.len() as u64).filter(|offset| !(8..16).contains(offset)) {
        if bytes[offset as usize] == 0 {
            continue;
        }
        flip(&older, offset);
        assert_corrupt(&home.error(), &older);
        std::fs::write(&older, &bytes).expect("written");
    }
    std::fs::write(&older, &bytes[..bytes.len() / 2]).expect("written");
    assert_corrupt(&home.error(), &older);
}

#[test]
fn a_missing_segment_is_told() {
    let home = Home::new(2_048);
    write(&home, 1..60);
    let segments = home.segments();
    std::fs::remove_file(&segments[1]).expect("deleted");
    let error = home.error();
    assert_corrupt(&error, &segments[0]);
    assert!(error.to_string().contains(name(&segments[2])), "{error}");
}

#[test]
fn a_segment_of_another_log_is_told() {
    let (home, other) = (Home::new(0), Home::new(0));
    write(&home, 1..4);
    write(&other, 1..4);
    let segment = home.segments().swap_remove(1);
    std::fs::copy(&other.segments()[1], &segment).expect("copied");
    assert_corrupt(&home.error(), &segment);
}

#[test]
fn a_producers_snapshot_that_contradicts_the_groups_before_is_told() {
    let (home, other) = (Home::new(0), Home::new(0));
    write(&home, 1..3);
    write(&other, 5..7);
    let mut bytes = std::fs::read(&other.segments()[1]).expect("a segment");
    let header = std::fs::read(&home.segments()[1]).expect("a segment");
    bytes[..44].copy_from_slice(&header[..44]);
    std::fs::write(&home.segments()[1], bytes).expect("written");
    assert_corrupt(&home.error(), &home.segments()[1]);
}

#[test]
fn a_newer_format_version_is_refused_by_its_number() {
    for sequences in [1..1, 1..3] {
        let home = Home::new(1 << 14);
        write(&home, sequences);
        let mut bytes = std::fs::read(home.newest()).expect("a segment");
        bytes[8] = 2;
        std::fs::write(home.newest(), &bytes).expect("written");
        let error = home.error();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.to_string().contains("format version 2"), "{error}");
        assert_eq!(std::fs::read(home.newest()).expect("a segment"), bytes, "left alone");
    }
}

#[test]
fn the_only_segment_left_is_not_made_anew_when_its_start_is_damaged() {
    let home = Home::new(0);
    let mut log = home.log();
    fill(&mut log, 1..3);
    log.truncate(2).expect("truncated");
    drop(log);
    let newest = home.newest();
    let bytes = std::fs::read(&newest).expect("a segment");
    std::fs::write(&newest, &bytes[..30]).expect("written");
    assert_corrupt(&home.error(), &newest);
}

#[test]
fn other_files_in_the_folder_are_left_alone() {
    let home = Home::new(1 << 14);
    write(&home, 1..3);
    for name in ["1.log", "0000000000000000000x.log", "00000000000000000000.log", "notes"] {
        std::fs::write(home.folder.path().join(name), "not a segment").expect("written");
    }
    assert_eq!(home.open().expect("a sound log").0.len(), 2);
}
