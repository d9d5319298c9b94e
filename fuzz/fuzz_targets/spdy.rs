//! See `control::fuzzing::spdy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| control::fuzzing::spdy(bytes));
