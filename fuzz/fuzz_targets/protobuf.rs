//! See `api::fuzzing::protobuf`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| api::fuzzing::protobuf(bytes));
