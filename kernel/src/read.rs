//! How fast memory can be read at most: the yardstick of everything here.

use crate::dispatch;
use crate::lanes::Instructions;

/// Words of a chunk: eight registers of 512 bits, so that no addition waits for another.
const CHUNK: usize = 64;
/// Words of a cache line.
const LINE: usize = 8;
/// Words between a chunk and the one asked for while it is read.
const AHEAD: usize = 256;

/// Reads words as fast as this process can, and returns their sum modulo 2^64.
///
/// Nothing but measurements needs it: a reduction can at best take as long.
pub fn read(words: &[u64]) -> u64 {
    dispatch::path().read(words)
}

#[inline(always)]
pub(crate) fn sum<I: Instructions>(on: I, words: &[u64]) -> u64 {
    let mut lanes = [0_u64; CHUNK];
    let (chunks, rest) = words.as_chunks::<CHUNK>();
    for chunk in chunks {
        for line in (0..CHUNK).step_by(LINE) {
            on.fetch(chunk.as_ptr().wrapping_add(AHEAD + line));
        }
        for (lane, word) in lanes.iter_mut().zip(chunk) {
            *lane = lane.wrapping_add(*word);
        }
    }
    lanes.iter().chain(rest).fold(0, |sum, word| sum.wrapping_add(*word))
}
