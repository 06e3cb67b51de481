//! Bytes that no log wrote: an error or an empty log, never a panic.

use super::super::format::{
    HEADER_BYTES, Header, Kind, MARK_BYTES, Mark, Record, append_record, seed,
};
use super::*;
use proptest::prelude::*;
use uuid::Uuid;

const KINDS: [Kind; 5] = [Kind::Producers, Kind::Shape, Kind::Layout, Kind::Batch, Kind::Mark];

/// Opens a log of this one segment and writes to it if it opens.
fn open(segment: &[u8]) {
    let home = Home::new(1 << 12);
    std::fs::write(home.folder.path().join(segment_name(1)), segment).expect("written");
    match home.open() {
        Ok((_, mut log)) => {
            log.stage(batch(9, u64::MAX)).expect("staged");
            log.commit().expect("committed");
            drop(log);
            home.open().expect("a sound log");
        }
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Rejected), "{error}");
        }
    }
}

/// A segment's header and snapshot, and one group of these records, all sealed.
fn sealed(producers: &[u8], records: &[(Kind, Vec<u8>)]) -> Vec<u8> {
    let seed = seed(1);
    let mut out = Header { incarnation: Uuid::nil(), first: 1 }.encode();
    append_record(&mut out, seed, Kind::Producers, |out| out.extend_from_slice(producers));
    let mut group = Vec::new();
    for (kind, body) in records {
        append_record(&mut group, seed, *kind, |out| out.extend_from_slice(body));
    }
    let length = (MARK_BYTES + group.len()) as u64;
    let batches = records.iter().filter(|(kind, _)| *kind == Kind::Batch).count() as u32;
    Mark { offset: out.len() as u64, length, batches }.append(&mut out, seed);
    out.extend(group);
    out
}

/// The records of a real segment: its snapshot's body, and all that stands in its groups.
fn real() -> (Vec<u8>, Vec<(Kind, Vec<u8>)>) {
    let home = Home::new(0);
    let mut log = home.log();
    for number in 1..4 {
        log.stage(batch(number, 2)).expect("staged");
    }
    log.commit().expect("committed");
    let bytes = std::fs::read(home.newest()).expect("a segment");
    let mut records = Vec::new();
    let mut at = HEADER_BYTES;
    while at < bytes.len() {
        let record = Record::read(&bytes[at..], seed(1)).expect("a sound record");
        records.push((record.kind, record.body.to_vec()));
        at += record.bytes();
    }
    let snapshot = records.remove(0).1;
    records.retain(|(kind, _)| *kind != Kind::Mark);
    (snapshot, records)
}

fn any_bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let small = prop_oneof![3 => Just(0_u8), 2 => 0..4_u8, 2 => any::<u8>()];
    prop::collection::vec(small, 0..most)
}

#[test]
fn real_records_sealed_anew_are_a_log() {
    let (snapshot, records) = real();
    let home = Home::new(1 << 12);
    let bytes = sealed(&snapshot, &records);
    std::fs::write(home.folder.path().join(segment_name(1)), bytes).expect("written");
    let (groups, _) = home.open().expect("a sound log");
    assert_eq!(groups[0].len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_bytes_as_a_segment(bytes in any_bytes(600)) {
        open(&bytes);
    }

    #[test]
    fn any_bytes_behind_a_sound_start(bytes in any_bytes(600)) {
        let mut segment = sealed(&[0; 4], &[]);
        segment.extend(bytes);
        open(&segment);
    }

    #[test]
    fn any_bodies_in_sealed_records(
        producers in any_bytes(40),
        records in prop::collection::vec((prop::sample::select(&KINDS[..]), any_bytes(80)), 0..8),
    ) {
        open(&sealed(&producers, &records));
        open(&sealed(&[0; 4], &records));
    }

    #[test]
    fn changed_bodies_in_sealed_records(
        record in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        byte in prop_oneof![Just(0_u8), Just(255), any::<u8>()],
        cut in any::<bool>(),
    ) {
        let (snapshot, mut records) = real();
        let body = &mut records[record.index(7)].1;
        let place = place.index(body.len());
        body[place] = byte;
        if cut {
            body.truncate(place);
        }
        open(&sealed(&snapshot, &records));
    }
}
