//! The shared token: both sides show that they have it, and neither sends it. Each gives a random
//! number; the proof is an HMAC-SHA256 over both, compared in constant time. Whoever only listens
//! learns nothing that he could use later. What follows is not encrypted.

use std::fs;
use std::path::Path;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::failure::Failure;

const TOKEN_BYTES_MIN: usize = 16;
const TOKEN_BYTES_MAX: usize = 1_024;
/// Hexadecimal digits of a random number.
const NONCE_DIGITS: usize = 64;

/// Who proves; each has proofs of its own, so that none can be sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Agent,
    Coordinator,
}

/// What coordinator and agents share.
#[derive(Clone)]
pub struct Token(Vec<u8>);

impl Token {
    /// Reads the first line of a file.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("--token-file {}: {error}", path.display())))?;
        let line = text.lines().next().unwrap_or_default().trim();
        Self::new(line).map_err(|why| Failure::Usage(format!("{}: {why}", path.display())))
    }

    /// A token of a bearable length.
    pub fn new(text: &str) -> Result<Self, String> {
        if !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&text.len()) {
            return Err(format!(
                "a token has {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} characters; make one with \
                 `openssl rand -hex 32`"
            ));
        }
        Ok(Self(text.as_bytes().to_vec()))
    }

    fn mac(&self, side: Side, agent: &str, coordinator: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0)
            .expect("HMAC takes keys of any length (RFC 2104)");
        let name = match side {
            Side::Agent => "agent",
            Side::Coordinator => "coordinator",
        };
        for part in ["campana loadtest agent 1", name, agent, coordinator] {
            mac.update(part.as_bytes());
            mac.update(b"\n");
        }
        mac
    }

    /// The proof of one side for both random numbers.
    pub fn proof(&self, side: Side, agent: &str, coordinator: &str) -> String {
        hex(&self.mac(side, agent, coordinator).finalize().into_bytes())
    }

    /// Whether the other side's proof is right; takes as long for a wrong one.
    pub fn holds(&self, side: Side, agent: &str, coordinator: &str, proof: &str) -> bool {
        let Some(bytes) = unhex(proof) else { return false };
        self.mac(side, agent, coordinator).verify_slice(&bytes).is_ok()
    }
}

/// A random number that nobody had before.
pub fn nonce() -> String {
    hex(&rand::random::<[u8; NONCE_DIGITS / 2]>())
}

/// Whether it looks like one.
pub fn is_nonce(text: &str) -> bool {
    text.len() == NONCE_DIGITS && unhex(text).is_some()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != NONCE_DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_token_for_the_same_numbers_and_side_holds() {
        let token = Token::new("0123456789abcdef").unwrap();
        let (agent, coordinator) = (nonce(), nonce());
        assert!(is_nonce(&agent) && agent != coordinator && !is_nonce("é".repeat(32).as_str()));
        let proof = token.proof(Side::Coordinator, &agent, &coordinator);
        assert!(token.holds(Side::Coordinator, &agent, &coordinator, &proof));
        assert!(!token.holds(Side::Agent, &agent, &coordinator, &proof));
        assert!(!token.holds(Side::Coordinator, &coordinator, &agent, &proof));
        assert!(!token.holds(Side::Coordinator, &agent, &coordinator, &proof[1..]));
        assert!(!token.holds(Side::Coordinator, &agent, &coordinator, ""));
        let other = Token::new("0123456789abcdeF").unwrap();
        assert!(!other.holds(Side::Coordinator, &agent, &coordinator, &proof));
        assert!(Token::new("short").is_err());
    }
}
