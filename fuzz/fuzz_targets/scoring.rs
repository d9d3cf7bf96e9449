//! Fuzz target: MLflow's scoring requests, JSON and CSV. The entry point is in the library beside it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidemill_fuzz::scoring(data));
