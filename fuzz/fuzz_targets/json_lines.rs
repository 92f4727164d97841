#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tell_server::wire::json_lines::fuzz::fuzz_json_lines(data));
