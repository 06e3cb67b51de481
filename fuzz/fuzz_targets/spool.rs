//! Segments of an agent's spool.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpline_fuzz::{bounded, with_folder};
use warpline_ingest::fuzzing::spool;

fuzz_target!(|input: &[u8]| {
    with_folder(|home| drop(bounded(input, |input| spool(input, home))));
});
