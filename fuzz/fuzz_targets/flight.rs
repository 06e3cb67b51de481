//! Arrow batches of Arrow Flight.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpline_fuzz::{bounded, with_store};
use warpline_ingest::fuzzing::flight;

fuzz_target!(|input: &[u8]| {
    with_store(|store| drop(bounded(input, |input| flight(input, store))));
});
