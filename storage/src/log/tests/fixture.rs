//! Segments of format version 1, kept as they were written: they must stay readable, and what is
//! written today must not differ from them by accident.

use super::*;
use uuid::Uuid;

const INCARNATION: Uuid = Uuid::from_bytes(*b"warpline-fixture");
const SEGMENT_BYTES: u64 = 2_560;

fn stored() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/log/testdata/version-1")
}

/// The history in the fixture: 3 producers, 2 shapes, several segments.
fn write(home: &Home) {
    let mut recovery = home.recover().expect("an empty log");
    assert!(recovery.next().is_none());
    recovery.incarnation = Some(INCARNATION);
    let mut log = recovery.into_log().expect("a log");
    for sequence in 1..6 {
        for number in 1..4 {
            log.stage(batch(number, sequence)).expect("staged");
        }
        log.commit().expect("committed");
    }
}

#[test]
fn version_1_is_read() {
    let home = Home::new(SEGMENT_BYTES);
    for entry in std::fs::read_dir(stored()).expect("the fixture") {
        let path = entry.expect("an entry").path();
        std::fs::copy(&path, home.folder.path().join(name(&path))).expect("copied");
    }
    let (groups, log) = home.open().expect("a sound log");
    assert_eq!(log.incarnation(), INCARNATION);
    assert_eq!(groups.len(), 5);
    for (index, entry) in groups.iter().flatten().enumerate() {
        let (group, number) = (index as u64 / 3, index as u64 % 3);
        assert_is(entry, index as u64 + 1, &batch(number + 1, group + 1));
    }
}

/// Where this fails, the format has changed: then it has a new version, and these bytes stay.
#[test]
fn what_is_written_today_is_version_1() {
    let home = Home::new(SEGMENT_BYTES);
    write(&home);
    if std::env::var_os("WARPLINE_WRITE_FIXTURES").is_some() {
        std::fs::create_dir_all(stored()).expect("a folder");
        for path in home.segments() {
            std::fs::copy(&path, stored().join(name(&path))).expect("copied");
        }
    }
    let names: Vec<_> = home.segments().iter().map(|path| name(path).to_owned()).collect();
    assert_eq!(std::fs::read_dir(stored()).expect("the fixture").count(), names.len());
    for name in names {
        let written = std::fs::read(home.folder.path().join(&name)).expect("a segment");
        let kept = std::fs::read(stored().join(&name)).expect("the fixture");
        assert!(written == kept, "{name} differs");
    }
}
