//! Passwords, session secrets and ids.
//! Reads: the operating system's randomness. Writes: nothing. Never: keeps a password, or compares one in plain.

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use sha2::{Digest as _, Sha256};

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The operating system gives no randomness.
    #[error("no randomness: {0}")]
    Random(#[from] getrandom::Error),
    /// The password cannot be hashed.
    #[error("the password cannot be hashed: {0}")]
    Hash(argon2::password_hash::Error),
}

/// 32 random bytes in hexadecimal: what a session's cookie holds.
///
/// # Errors
/// If the operating system gives no randomness.
pub fn secret() -> Result<String, SecretError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

/// `prefix_` and 16 random bytes: an id that nobody guesses.
///
/// # Errors
/// If the operating system gives no randomness.
pub fn fresh_id(prefix: &str) -> Result<String, SecretError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{prefix}_{}", hex::encode(bytes)))
}

/// What the database keeps of a secret. A fast hash is enough for 256 random bits.
#[must_use]
pub fn digest(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// Argon2id with the crate's defaults (19 MiB, two passes), as a PHC string. Takes tens of milliseconds: not on a
/// thread that serves others.
///
/// # Errors
/// If it cannot be hashed.
pub fn hash_password(password: &str) -> Result<String, SecretError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
    let salt = SaltString::encode_b64(&bytes).map_err(SecretError::Hash)?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    Ok(hash.map_err(SecretError::Hash)?.to_string())
}

/// Whether this is the password. A hash that cannot be read matches nothing.
#[must_use]
pub fn is_password(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_own_hash_only() {
        let hash = hash_password("correct horse").unwrap();
        assert!(is_password("correct horse", &hash) && !is_password("correct house", &hash));
        assert!(!is_password("correct horse", "no hash"));
        assert_ne!(hash, hash_password("correct horse").unwrap(), "each has a salt of its own");
    }

    #[test]
    fn secrets_are_long_and_differ() {
        let (one, other) = (secret().unwrap(), secret().unwrap());
        assert!(one.len() == 64 && one != other);
        assert!(fresh_id("room").unwrap().starts_with("room_"));
    }
}
