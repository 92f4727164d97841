//! Reads and recovers journal segments of sound records and anything between them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tell_server::journal::fuzz::fuzz_segment(data));
