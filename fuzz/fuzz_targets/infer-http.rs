//! Fuzz target: inference requests over HTTP, JSON and binary. The entry point is in the library beside it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidemill_fuzz::infer_http(data));
