//! Frames of strangers into the protobuf decoder. Reads: what the fuzzer makes up. Writes: nothing. Never: ends by itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|frame: &[u8]| campana_ws_edge::fuzzing::decode_protobuf(frame));
