//! The MLLP decoder on arbitrary streams, cut arbitrarily.
#![no_main]

#[path = "../exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|data: &[u8]| exercise::frame(data));
