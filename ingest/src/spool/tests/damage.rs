//! Segments cut short, mutated or made up: what is whole is kept, nothing panics.

use super::*;
use proptest::prelude::*;

/// The one segment of a spool of ten frames.
fn ten() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    (0..10).for_each(|value| append(&mut spool, value));
    drop(spool);
    let path = folder.path().join(format!("{:020}.spool", 1));
    let bytes = std::fs::read(&path).unwrap();
    (folder, path, bytes)
}

#[test]
fn a_write_cut_short_anywhere_leaves_what_was_whole() {
    let (folder, path, bytes) = ten();
    let mut before = 0;
    for length in 0..=bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let mut spool = open(folder.path());
        let kept = spool.counts().frames;
        assert!(kept == before || kept == before + 1, "{length} bytes");
        before = kept;
        append(&mut spool, 100);
        let mut wanted = pairs(1..=kept, 0);
        wanted.push((kept + 1, 100));
        assert_eq!(sent(&mut spool, at(0, 0)), wanted, "{length} bytes");
        drop(spool);
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
    assert_eq!(before, 10);
}

#[test]
fn damage_met_while_sending_costs_the_rest_of_its_segment() {
    let (folder, path, mut bytes) = ten();
    let mut spool = open(folder.path());
    append(&mut spool, 10);
    let (mut cursor, _) = spool.meet(at(0, 0));
    spool.read(&mut cursor).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let rest = rest(&mut spool, &mut cursor);
    assert_eq!(rest.last(), Some(&(11, 10)), "later segments are sent");
    assert_eq!(spool.counts().unreadable + rest.len() as u64 + 1, 11);
}

/// A folder in a segment's place stands for any error that says nothing of the bytes.
#[test]
fn what_cannot_be_read_for_a_while_is_sent_later() {
    let (folder, path, _) = ten();
    let mut spool = open(folder.path());
    append(&mut spool, 10);
    let (mut cursor, _) = spool.meet(at(0, 0));
    let aside = folder.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(spool.read(&mut cursor).is_none(), "later frames wait for earlier ones");
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    assert_eq!(rest(&mut spool, &mut cursor), pairs(1..=11, 0));
    assert_eq!(spool.counts().unreadable, 0);
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let (folder, path, mut bytes) = ten();
    bytes[8] = 2;
    std::fs::write(&path, &bytes).unwrap();
    let refused = Spool::open(&options(folder.path())).unwrap_err();
    assert!(refused.to_string().contains("is of spool format 2"), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn other_files_are_left_alone() {
    let (folder, ..) = ten();
    let note = folder.path().join("note.spool");
    std::fs::write(&note, "mine").unwrap();
    assert_eq!(open(folder.path()).counts().frames, 10);
    assert!(note.exists());
}

/// Opens whatever the file is and reads all of it.
fn survives(bytes: &[u8]) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(format!("{:020}.spool", 1)), bytes).unwrap();
    let Ok(mut spool) = Spool::open(&options(folder.path())) else { return Ok(()) };
    append(&mut spool, 7);
    let (mut cursor, _) = spool.meet(at(3, 2));
    let mut last = 0;
    while let Some(found) = spool.read(&mut cursor) {
        prop_assert!(found.sequence > last, "sequences rise");
        last = found.sequence;
        for at in 0..found.blocks.len() {
            drop(Spool::layout(&cursor, &found, at));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        survives(&bytes)?;
    }

    /// Records with true checksums and any body: a hostile writer, or one of our own faults.
    #[test]
    fn any_records_are_survived(
        bodies in proptest::collection::vec(
            (0_u8..5, proptest::collection::vec(any::<u8>(), 0..200)), 0..10),
    ) {
        let header = Header { first: 1, shift: 0, claimed: 0 };
        let mut bytes = header.encode();
        for (kind, body) in &bodies {
            format::put_raw(&mut bytes, format::seed(1), *kind, body);
        }
        survives(&bytes)?;
    }

    #[test]
    fn mutated_bytes_are_survived(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        length in any::<prop::sample::Index>(),
    ) {
        let (_folder, _, mut bytes) = ten();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(length.index(bytes.len()) + 1);
        survives(&bytes)?;
    }
}
