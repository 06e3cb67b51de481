//! The manifest of a backup.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpline_fuzz::bounded;
use warpline_storage::fuzzing::manifest;

fuzz_target!(|input: &[u8]| {
    drop(bounded(input, manifest));
});
