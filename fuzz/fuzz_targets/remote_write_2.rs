//! A message of Prometheus remote write 2.0.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpline_fuzz::{bounded, with_store};
use warpline_ingest::fuzzing::remote_write_2;

fuzz_target!(|input: &[u8]| {
    with_store(|store| drop(bounded(input, |input| remote_write_2(input, store))));
});
