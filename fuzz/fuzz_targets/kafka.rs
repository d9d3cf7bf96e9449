//! Fuzz target: answers of a broker that speaks Kafka's protocol. The entry point is in the library beside it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidemill_fuzz::kafka(data));
