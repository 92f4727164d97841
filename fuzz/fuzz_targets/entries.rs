#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tell_server::wire::entries::fuzz::fuzz_entries(data));
