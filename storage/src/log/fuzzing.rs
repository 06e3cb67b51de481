//! Any bytes as segments of a log: read as a server reads them, looked at, and written on.

use super::folder::segment_name;
use super::format::{
    HEADER_BYTES, Kind, MAGIC, MARK_BYTES, MAX_POSITION, RECORD_HEADER_BYTES, seed,
};
use super::{Entry, Log, LogOptions, Look};
use crate::error::{ErrorKind, StorageError};
use crate::fuzzing::Verdict;
use crate::model::{Batch, ProducerId, Sequence};
use std::ops::Range;
use std::path::Path;

/// The input is split into segments where one begins, and tried as it stands and once more sealed:
/// with true checksums, and marks that tell where they are and what follows them.
///
/// What reading finds, looking finds. A log that opens is written on, and read back whole. `home`
/// is a folder to do it in.
pub fn log(input: &[u8], home: &Path) -> Verdict {
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
    let (batches, torn, damage) = look(home);
    let (entries, mut log) = match open(home) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Rejected), "{error}");
            assert!(damage.is_some(), "looking found no fault: {error}");
            return Err(error.to_string());
        }
    };
    assert!(damage.is_none(), "looking found {damage:?}, reading nothing");
    assert_eq!(batches, entries.len() as u64);
    let staged = match log.stage(batch()) {
        Err(error) if log.end() == MAX_POSITION => return Err(error.to_string()),
        staged => staged.expect("an open log takes batches"),
    };
    log.commit().expect("an open log is written");
    drop(log);
    let (again, _) = open(home).expect("a log that was written is read");
    assert_eq!(again.len(), entries.len() + usize::from(staged.is_some()));
    for (before, after) in entries.iter().zip(&again) {
        assert_same(before, after);
    }
    torn.map_or(Ok(()), Err)
}

/// How many batches there are, what a server would cut, and what is damaged.
fn look(home: &Path) -> (u64, Option<String>, Option<StorageError>) {
    let look = Look::at(home, |_| ()).expect("the folder is ours").expect("the folder is there");
    (look.batches, look.torn, look.damage)
}

/// All that the log holds, and the log.
fn open(home: &Path) -> Result<(Vec<Entry>, Log), StorageError> {
    let options = LogOptions { dir: home.to_owned(), segment_bytes: 1 << 12 };
    let mut recovery = Log::recover(&options)?;
    let mut entries = Vec::new();
    for group in recovery.by_ref() {
        entries.extend(group?.entries);
    }
    Ok((entries, recovery.into_log()?))
}

fn batch() -> Batch {
    let producer = ProducerId::new("fuzz").expect("a short name");
    Batch { producer, sequence: Sequence::MAX, blocks: Vec::new() }
}

fn assert_same(one: &Entry, other: &Entry) {
    assert_eq!(one.position, other.position);
    assert_eq!((&one.producer, one.sequence), (&other.producer, other.sequence));
    assert_eq!(one.blocks.len(), other.blocks.len());
    for (one, other) in one.blocks.iter().zip(&other.blocks) {
        assert_eq!((one.layout(), one.bytes()), (other.layout(), other.bytes()));
    }
}

/// Writes the input's segments under the names that their headers tell, and nothing else.
fn put(input: &[u8], home: &Path) {
    for entry in std::fs::read_dir(home).expect("the folder is there") {
        std::fs::remove_file(entry.expect("an entry").path()).expect("removed");
    }
    for segment in segments(input) {
        let segment = &input[segment];
        let first = word(segment, FIRST).unwrap_or(1);
        std::fs::write(home.join(segment_name(first)), segment).expect("written");
    }
}

fn segments(input: &[u8]) -> Vec<Range<usize>> {
    let begins = |at: &usize| *at == 0 || input[*at..].starts_with(&MAGIC);
    let starts: Vec<usize> = (0..input.len()).filter(begins).collect();
    let ends = starts.iter().skip(1).copied().chain([input.len()]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

/// Where a header tells the first position.
const FIRST: usize = 32;

fn seal(segment: &mut [u8]) {
    if segment.len() < HEADER_BYTES {
        return;
    }
    let (header, sum) = segment[..HEADER_BYTES].split_at_mut(HEADER_BYTES - 4);
    sum.copy_from_slice(&crc32c::crc32c(header).to_le_bytes());
    let seed = seed(word(segment, FIRST).expect("in the header"));
    let records = records(segment);
    for (at, record) in records.iter().enumerate() {
        if is_mark(segment, record) {
            let group = records[at + 1..].iter().take_while(|next| !is_mark(segment, next));
            let (mut end, mut batches) = (record.end, 0_u32);
            for next in group {
                end = next.end;
                batches += u32::from(segment[next.start + 8] == Kind::Batch as u8);
            }
            let body = &mut segment[record.start + RECORD_HEADER_BYTES..record.end];
            body[..8].copy_from_slice(&(record.start as u64).to_le_bytes());
            body[8..16].copy_from_slice(&((end - record.start) as u64).to_le_bytes());
            body[16..20].copy_from_slice(&batches.to_le_bytes());
        }
        let (sum, covered) = segment[record.clone()].split_at_mut(4);
        sum.copy_from_slice(&crc32c::crc32c_append(seed, covered).to_le_bytes());
    }
}

/// Where records stand that lie within the segment, by what they say of their lengths.
fn records(segment: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = HEADER_BYTES;
    while let Some(header) = segment.get(at..at + RECORD_HEADER_BYTES) {
        let length = u32::from_le_bytes([4, 5, 6, 7].map(|n| header[n])) as usize;
        let end = at + 8 + length;
        if length == 0 || end > segment.len() {
            break;
        }
        found.push(at..end);
        at = end;
    }
    found
}

fn is_mark(segment: &[u8], record: &Range<usize>) -> bool {
    record.len() == MARK_BYTES && segment[record.start + 8] == Kind::Mark as u8
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*word))
}
