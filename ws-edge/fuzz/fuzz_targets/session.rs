//! Frames, answers and time into a session. Reads: what the fuzzer makes up. Writes: nothing. Never: ends by itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|script: &[u8]| campana_ws_edge::fuzzing::session(script));
