//! Decodes arbitrary payloads, and arbitrary messages, to rows of `logs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tell_server::tables::syslog::fuzz::fuzz_decode(data));
