//! Loads arbitrary bytes as the configuration file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tell_server::control::config::fuzz::fuzz_config(data));
