//! Parses arbitrary bytes as a key file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tell_server::control::key_file::fuzz::fuzz_key_file(data));
