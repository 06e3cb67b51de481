//! Segments of a write-ahead log.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpline_fuzz::{bounded, with_folder};
use warpline_storage::fuzzing::log;

fuzz_target!(|input: &[u8]| {
    with_folder(|home| drop(bounded(input, |input| log(input, home))));
});
