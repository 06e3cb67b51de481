//! Any bytes as segments of a spool: opened, sent to a server, and written on.

use super::format::{self, HEADER_BYTES, MAGIC, MAX_FOUND, RECORD_BYTES};
use super::{Keep, Spool, SpoolError, SpoolOptions};
use crate::fuzzing::Verdict;
use bytes::Bytes;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use warpline_storage::Acknowledged;
use warpline_storage::model::{BlockBuilder, Column, FieldType, Layout, Sequence, Series};

/// The input is split into segments where one begins, and tried as it stands and once more with true
/// checksums.
///
/// Sequences rise; what is appended is sent last, and sent again by the next process. `home` is a
/// folder to do it in.
pub fn spool(input: &[u8], home: &Path) -> Verdict {
    let mut sealed = input.to_vec();
    for segment in segments(input) {
        seal(&mut sealed[segment]);
    }
    let verdict = attempt(input, home);
    if sealed == input {
        return verdict;
    }
    let sealed = attempt(&sealed, home);
    verdict.and(sealed)
}

fn attempt(input: &[u8], home: &Path) -> Verdict {
    put(input, home);
    let mut spool = match open(home) {
        Ok(spool) => spool,
        Err(error @ SpoolError::Newer { .. }) => return Err(error.to_string()),
        Err(error) => panic!("{error}"),
    };
    if spool.next > MAX_FOUND || spool.next_layout > MAX_FOUND {
        return Err("there are no numbers left for the next process".to_owned());
    }
    let cut = spool.counts().cut_bytes;
    spool.append(vec![block()], 7);
    let first = sent(&mut spool);
    let unreadable = spool.counts().unreadable;
    drop(spool);
    let mut spool = open(home).expect("what was opened is opened again");
    let second = sent(&mut spool);
    assert_eq!(first.values, second.values, "the next process sends the same");
    assert_eq!(first.values.last(), Some(&block().1), "what was appended is sent last");
    if cut + unreadable + first.layouts_lost > 0 {
        return Err(format!("{cut} bytes and {unreadable} frames were not readable"));
    }
    Ok(())
}

fn open(home: &Path) -> Result<Spool, SpoolError> {
    let folder = Some(home.to_owned());
    Spool::open(&SpoolOptions { folder, bytes: 64 << 20, keep: Keep::Stored })
}

/// What a server would get that has nothing.
#[derive(Default)]
struct Sent {
    values: Vec<Bytes>,
    layouts_lost: u64,
}

fn sent(spool: &mut Spool) -> Sent {
    let (mut cursor, _) = spool.meet(Acknowledged::default());
    let mut sent = Sent::default();
    let mut last: Sequence = 0;
    while let Some(found) = spool.read(&mut cursor) {
        assert!(found.sequence > last, "sequences rise");
        last = found.sequence;
        for at in 0..found.blocks.len() {
            sent.layouts_lost += u64::from(Spool::layout(&cursor, &found, at).is_err());
        }
        sent.values.extend(found.blocks.into_iter().map(|(_, data)| data));
    }
    sent
}

fn block() -> (Arc<Layout>, Bytes) {
    let series = Series { identity: vec!["n1".into()], attributes: Vec::new() };
    let column = Column { name: "value".into(), field_type: FieldType::Int64 };
    let layout = Layout::new("t", vec!["node".into()], Vec::new(), vec![column], vec![series]);
    let layout = Arc::new(layout.expect("a sound layout"));
    let mut builder = BlockBuilder::new(layout.clone());
    builder.row(0, 7);
    builder.set_stored(0, 7);
    (layout, builder.finish())
}

/// Writes the input's segments under the names that their headers tell, and nothing else.
fn put(input: &[u8], home: &Path) {
    for entry in std::fs::read_dir(home).expect("the folder is there") {
        std::fs::remove_file(entry.expect("an entry").path()).expect("removed");
    }
    for segment in segments(input) {
        let segment = &input[segment];
        let first = word(segment, FIRST).unwrap_or(1);
        std::fs::write(home.join(format!("{first:020}.spool")), segment).expect("written");
    }
}

fn segments(input: &[u8]) -> Vec<Range<usize>> {
    let begins = |at: &usize| *at == 0 || input[*at..].starts_with(&MAGIC);
    let starts: Vec<usize> = (0..input.len()).filter(begins).collect();
    let ends = starts.iter().skip(1).copied().chain([input.len()]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

/// Where a header tells the first place.
const FIRST: usize = 16;

/// Gives true checksums to the header and to records that lie within the segment.
fn seal(segment: &mut [u8]) {
    if segment.len() < HEADER_BYTES {
        return;
    }
    let (header, sum) = segment[..HEADER_BYTES].split_at_mut(HEADER_BYTES - 4);
    sum.copy_from_slice(&crc32c::crc32c(header).to_le_bytes());
    let seed = format::seed(word(segment, FIRST).expect("in the header"));
    let mut at = HEADER_BYTES;
    while let Some(record) = segment.get_mut(at..).filter(|rest| rest.len() >= RECORD_BYTES) {
        let length = 8 + u32::from_le_bytes([4, 5, 6, 7].map(|n| record[n])) as usize;
        let Some(record) = record.get_mut(..length).filter(|record| record.len() > 8) else {
            break;
        };
        let (sum, covered) = record.split_at_mut(4);
        sum.copy_from_slice(&crc32c::crc32c_append(seed, covered).to_le_bytes());
        at += length;
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*word))
}
