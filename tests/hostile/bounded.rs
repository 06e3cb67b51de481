//! How much memory a decoder may take for an input. Fuzz targets and the replay of kept inputs
//! include this file, so both hold decoders to the same bound.

/// Whatever the input is.
const BYTES: u64 = 4 << 20;
/// And so many times the input: what is decoded may be wider than what is sent.
const TIMES: u64 = 64;

/// Runs a decoder over an input.
pub(crate) fn bounded<T>(input: &[u8], decode: impl FnOnce(&[u8]) -> T) -> T {
    let mut answer = None;
    let memory = allocation_counter::measure(|| answer = Some(decode(input))).bytes_max;
    let limit = BYTES + TIMES * input.len() as u64;
    assert!(memory <= limit, "{} bytes took {memory} of memory; {limit} is allowed", input.len());
    answer.expect("measured code has run")
}
