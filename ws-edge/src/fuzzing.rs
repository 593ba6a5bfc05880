//! What fuzzers and the tests that replay their corpus run: bytes of a stranger in, no panic and no nonsense out.
//! Reads: the bytes given. Writes: nothing. Never: part of a build without the feature `fuzzing`, tests apart.

mod session;

use bytes::Bytes;

use crate::proto::{json, protobuf};
pub use session::session;

/// Decodes a text frame; what is not UTF-8 never gets this far.
///
/// # Panics
/// If the decoder gives more commands or bytes than the frame can hold.
pub fn decode_json(frame: &[u8]) {
    let Ok(text) = std::str::from_utf8(frame) else {
        return;
    };
    let lengths = json::commands(text).filter_map(|one| Some(one.ok()?.1));
    let (count, bytes) = lengths.fold((0, 0), |(count, bytes), one| (count + 1, bytes + one));
    assert!(count <= frame.len() && bytes <= frame.len());
}

/// Decodes a binary frame.
///
/// # Panics
/// If the decoder gives more commands or bytes than the frame can hold.
pub fn decode_protobuf(frame: &[u8]) {
    let mut ended = false;
    let (mut count, mut bytes) = (0, 0);
    for one in protobuf::commands(Bytes::copy_from_slice(frame)) {
        assert!(!ended, "something came after what could not be read");
        match one {
            Ok((_, length)) => (count, bytes) = (count + 1, bytes + length),
            Err(_) => ended = true,
        }
    }
    assert!(count <= frame.len() && bytes <= frame.len());
}

#[cfg(test)]
mod tests;
