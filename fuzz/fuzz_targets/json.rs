//! See `logic::fuzzing::json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| logic::fuzzing::json(bytes));
