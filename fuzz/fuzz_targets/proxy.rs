//! Reads the PROXY header in front of arbitrary bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tell_server::wire::proxy::fuzz_proxy(data));
