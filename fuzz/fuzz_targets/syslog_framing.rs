//! Cuts arbitrary byte streams into syslog messages.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tell_server::wire::syslog::fuzz::fuzz_framing(data));
