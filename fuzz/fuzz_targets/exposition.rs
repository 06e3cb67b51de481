//! What exporters print.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpline_fuzz::bounded;
use warpline_ingest::fuzzing::exposition;

fuzz_target!(|input: &[u8]| {
    drop(bounded(input, exposition));
});
