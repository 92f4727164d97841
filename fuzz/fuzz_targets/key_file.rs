//! Parses arbitrary bytes as a key file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tell_server::control::keys::file::fuzz::fuzz_key_file(data));
