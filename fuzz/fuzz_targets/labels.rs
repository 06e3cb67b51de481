//! A node's file of labels.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpline_fuzz::bounded;
use warpline_ingest::fuzzing::labels;

fuzz_target!(|input: &[u8]| {
    drop(bounded(input, labels));
});
