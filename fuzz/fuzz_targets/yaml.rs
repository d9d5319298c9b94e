//! See `logic::fuzzing::yaml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| logic::fuzzing::yaml(bytes));
