//! Sends arbitrary bodies through check and decode, and reads the exported rows with serde_json.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tell_server::tables::json::fuzz::fuzz_accepted(data));
