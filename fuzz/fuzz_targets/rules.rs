//! See `logic::fuzzing::rules`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| logic::fuzzing::rules(bytes));
