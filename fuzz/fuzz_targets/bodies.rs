//! See `api::fuzzing::bodies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| api::fuzzing::bodies(bytes));
