//! Cuts arbitrary byte streams into frames.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tell_server::wire::frame::fuzz_frames(data));
