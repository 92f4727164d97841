#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tell_server::tables::json::fuzz::fuzz_rows(data));
