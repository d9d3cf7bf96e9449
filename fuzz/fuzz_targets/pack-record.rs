//! Fuzz target: records in packs of the store. The entry point is in the library beside it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidemill_fuzz::pack_record(data));
