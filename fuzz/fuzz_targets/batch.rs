//! Parses arbitrary bytes as the envelope of a Batch.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tell_server::wire::batch::fuzz::fuzz_batch(data));
