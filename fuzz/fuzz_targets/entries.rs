//! Decodes the entries of arbitrary bytes, for every schema.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tell_server::wire::entries::fuzz::fuzz_entries(data));
