//! See `logic::fuzzing::selectors`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| logic::fuzzing::selectors(bytes));
