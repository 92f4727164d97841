//! Checks arbitrary bytes as JSON lines of events and of logs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tell_server::wire::json_lines::fuzz::fuzz_json_lines(data));
