//! See `api::fuzzing::requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| api::fuzzing::requests(bytes));
