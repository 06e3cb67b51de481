//! A block of rows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpline_fuzz::bounded;
use warpline_storage::fuzzing::block;

fuzz_target!(|input: &[u8]| {
    drop(bounded(input, block));
});
