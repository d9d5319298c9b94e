//! See `logic::fuzzing::definitions`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| logic::fuzzing::definitions(bytes));
