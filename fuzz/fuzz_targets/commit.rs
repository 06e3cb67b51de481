//! A version of a table's Delta log.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpline_fuzz::bounded;
use warpline_storage::fuzzing::commit;

fuzz_target!(|input: &[u8]| {
    drop(bounded(input, commit));
});
