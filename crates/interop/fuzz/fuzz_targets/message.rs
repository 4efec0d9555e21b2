//! The HL7 v2 parser, and all that is done with a message, on arbitrary bytes.
#![no_main]

#[path = "../exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|data: &[u8]| exercise::message(data));
