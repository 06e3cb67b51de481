//! A body of Prometheus remote write.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpline_fuzz::{bounded, with_store};
use warpline_ingest::fuzzing::remote_write_body;

fuzz_target!(|input: &[u8]| {
    with_store(|store| drop(bounded(input, |input| remote_write_body(input, store))));
});
