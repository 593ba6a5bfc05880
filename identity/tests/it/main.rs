//! Tokens of others and of attackers, through the public interface alone.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod hostile;
mod minted;
