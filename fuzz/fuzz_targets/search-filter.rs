//! Fuzz target: filters and orders of searches. The entry point is in the library beside it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidemill_fuzz::search_filter(data));
