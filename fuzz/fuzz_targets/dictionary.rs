//! A file of fields.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpline_fuzz::bounded;
use warpline_ingest::fuzzing::dictionary;

fuzz_target!(|input: &[u8]| {
    drop(bounded(input, dictionary));
});
