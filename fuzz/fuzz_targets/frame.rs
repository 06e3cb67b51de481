//! Messages of the native stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpline_fuzz::bounded;
use warpline_ingest::fuzzing::frame;

fuzz_target!(|input: &[u8]| {
    drop(bounded(input, frame));
});
