//! Passwords and other secrets.
//! Reads: the random generator. Writes: nothing. Never: keeps what it is given, compares secrets byte by byte, or lets
//! more than two hashes be computed at once: each takes 19 MiB and a core.

use std::sync::Arc;

use anyhow::anyhow;
use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

/// Fewest characters of a password.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Most bytes of a password.
pub const PASSWORD_BYTES_MAX: usize = 256;
/// Hashes that are computed at the same time.
const AT_ONCE: usize = 2;
const SALT_BYTES: usize = 16;

/// argon2id with the parameters that OWASP recommends (19 MiB, 2 passes), in PHC form.
///
/// # Errors
/// If the library refuses, which it does for passwords beyond 4 GiB.
pub fn hash(password: &str) -> anyhow::Result<String> {
    let salt = SaltString::encode_b64(&rand::random::<[u8; SALT_BYTES]>())
        .map_err(|error| anyhow!("{error}"))?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    Ok(hash.map_err(|error| anyhow!("{error}"))?.to_string())
}

fn verify(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// Hashing beside the requests; cheap to clone.
#[derive(Clone, Debug)]
pub struct Passwords {
    permits: Arc<Semaphore>,
    /// Compared with when there is no account, so that the time does not tell whether there is one.
    decoy: Arc<str>,
}

impl Passwords {
    /// Ready to work.
    #[must_use]
    pub fn new() -> Self {
        let decoy = hash("nobody has this password").unwrap_or_default();
        Self { permits: Arc::new(Semaphore::new(AT_ONCE)), decoy: Arc::from(decoy) }
    }

    async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let permit = Arc::clone(&self.permits).acquire_owned().await?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        Ok(done.await?)
    }

    /// Hashes a password.
    ///
    /// # Errors
    /// If the process is about to end.
    pub async fn hash(&self, password: String) -> anyhow::Result<String> {
        self.beside(move || hash(&password)).await?
    }

    /// Whether it is the password of this hash. `None` takes as long and is never right.
    ///
    /// # Errors
    /// If the process is about to end.
    pub async fn verify(&self, password: String, hash: Option<String>) -> anyhow::Result<bool> {
        let known = hash.filter(|hash| !hash.is_empty());
        let (is_known, hash) = (known.is_some(), known.unwrap_or_else(|| self.decoy.to_string()));
        Ok(self.beside(move || verify(&password, &hash)).await? && is_known)
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

/// The secret of a session, 256 random bits: what the cookie holds and nobody stores.
#[must_use]
pub fn secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// A fresh id: the prefix and 96 random bits, so that nobody guesses one.
#[must_use]
pub fn id(prefix: &str) -> String {
    format!("{prefix}_{}", hex::encode(rand::random::<[u8; 12]>()))
}

/// What is stored of a secret. One that is random needs no slow hash.
#[must_use]
pub fn digest(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_opens_its_hash_and_no_other() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let opens = async |password: &str, hash: Option<&str>| {
            passwords.verify(password.to_owned(), hash.map(str::to_owned)).await.unwrap()
        };
        assert!(opens("correct horse", Some(&hash)).await);
        assert!(!opens("correct horsE", Some(&hash)).await);
        assert!(!opens("nobody has this password", None).await);
        assert!(!opens("", Some("")).await, "a demo account has no password");
    }

    #[test]
    fn secrets_differ() {
        assert_ne!(secret(), secret());
        assert_eq!(secret().len(), 43);
        assert_eq!(digest("a").len(), 64);
        assert!(id("apt").starts_with("apt_"));
    }
}
