//! Turns arbitrary payloads into rows, and rows into JSON lines.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tell_server::tables::json::fuzz::fuzz_rows(data));
