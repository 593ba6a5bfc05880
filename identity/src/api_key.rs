//! API keys of services and the roles they carry.
//! Reads: the random generator, for fresh keys only. Writes: nothing.
//! Never: keeps or prints a secret; only its SHA-256 is stored, and `Debug` shows the public id alone.
//!
//! A key is `ck_<16 hex: public id>_<64 hex: secret><8 hex: checksum>`. The secret has 256 random bits, so
//! a plain fast hash is enough at rest. The checksum lets a scanner, and the gateway before it asks the
//! store, tell a real key from a typing error.

use std::fmt;
use std::str::FromStr;

use rand::RngCore as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

const PREFIX: &str = "ck_";
const ID_HEX: usize = 16;
const SECRET_HEX: usize = 64;
const CHECKSUM_HEX: usize = 8;

/// Why a text is not an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyError {
    /// Not of the form `ck_<id>_<secret>`.
    #[error("not an API key of the form ck_<id>_<secret>")]
    Malformed,
    /// Of the right form, but mistyped or cut.
    #[error("the API key's checksum is wrong: it was mistyped or cut")]
    Checksum,
}

/// A whole API key, secret included: exists when it is made and while a request is checked.
#[derive(Clone)]
pub struct ApiKey {
    text: String,
}

impl ApiKey {
    /// A fresh key from the operating system's randomness.
    #[must_use]
    pub fn generate() -> Self {
        let mut random = [0_u8; (ID_HEX + SECRET_HEX) / 2];
        rand::rng().fill_bytes(&mut random);
        let (id, secret) = random.split_at(ID_HEX / 2);
        let body = format!("{PREFIX}{}_{}", hex::encode(id), hex::encode(secret));
        let checksum = checksum(&body);
        Self { text: body + &checksum }
    }

    /// Parses what a caller presented.
    ///
    /// # Errors
    /// If the text is not a key at all, or its checksum is wrong.
    pub fn parse(text: &str) -> Result<Self, ApiKeyError> {
        let rest = text.strip_prefix(PREFIX).ok_or(ApiKeyError::Malformed)?;
        let (id, secret) = rest.split_once('_').ok_or(ApiKeyError::Malformed)?;
        let hex_of = |part: &str, len: usize| {
            part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !hex_of(id, ID_HEX) || !hex_of(secret, SECRET_HEX + CHECKSUM_HEX) {
            return Err(ApiKeyError::Malformed);
        }
        let (body, given) = text.split_at(text.len() - CHECKSUM_HEX);
        if checksum(body).as_bytes().ct_eq(given.as_bytes()).into() {
            Ok(Self { text: text.to_owned() })
        } else {
            Err(ApiKeyError::Checksum)
        }
    }

    /// The public part that names the key in lists and logs.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.text[PREFIX.len()..PREFIX.len() + ID_HEX]
    }

    /// The whole key, to be shown once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What is stored instead of the key.
    #[must_use]
    pub fn hash(&self) -> ApiKeyHash {
        ApiKeyHash(Sha256::digest(self.text.as_bytes()).into())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({PREFIX}{}_…)", self.id())
    }
}

fn checksum(body: &str) -> String {
    hex::encode(&Sha256::digest(body.as_bytes())[..CHECKSUM_HEX / 2])
}

/// SHA-256 of a key. Comparison takes the same time whatever the contents.
#[derive(Clone, Copy, Debug)]
pub struct ApiKeyHash([u8; 32]);

impl ApiKeyHash {
    /// Reads back what [`fmt::Display`] wrote.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0_u8; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl PartialEq for ApiKeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for ApiKeyHash {}

impl fmt::Display for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// What a key may do; each role may do everything that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads notifications, recipients and templates.
    Reader,
    /// Also sends notifications and mints tokens.
    Sender,
    /// Also changes recipients, templates and keys.
    Admin,
}

impl Role {
    /// Every role, weakest first.
    pub const ALL: [Self; 3] = [Self::Reader, Self::Sender, Self::Admin];

    /// Whether this role is enough where `required` is asked for.
    #[must_use]
    pub fn allows(self, required: Self) -> bool {
        self >= required
    }

    /// The name in configuration, tables and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Sender => "sender",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown role: use one of reader, sender, admin")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_key_parses_and_matches_its_stored_hash_only() {
        let (key, other) = (ApiKey::generate(), ApiKey::generate());
        let parsed = ApiKey::parse(key.expose()).unwrap();
        let stored = ApiKeyHash::from_hex(&key.hash().to_string()).unwrap();
        assert_eq!(parsed.hash(), stored);
        assert_ne!(other.hash(), stored);
        assert_ne!(key.id(), other.id());
        assert_eq!(key.expose().len(), 3 + 16 + 1 + 64 + 8);
    }

    #[test]
    fn a_mistyped_key_is_told_from_garbage() {
        let key = ApiKey::generate();
        let mut wrong = key.expose().to_owned();
        let last = if wrong.ends_with('0') { "1" } else { "0" };
        wrong.replace_range(wrong.len() - 1.., last);
        assert_eq!(ApiKey::parse(&wrong).map(|_| ()), Err(ApiKeyError::Checksum));
        let upper = key.expose().to_uppercase();
        let cut = &key.expose()[..40];
        for text in ["", "ck_", "ck__", "sk_0011_22", &upper, cut, "ck_é_é"] {
            assert_eq!(ApiKey::parse(text).map(|_| ()), Err(ApiKeyError::Malformed), "{text}");
        }
    }

    #[test]
    fn debug_never_shows_the_secret() {
        let key = ApiKey::generate();
        let shown = format!("{key:?}");
        assert!(shown.contains(key.id()));
        assert!(!shown.contains(&key.expose()[20..40]));
    }

    #[test]
    fn a_stronger_role_may_do_what_a_weaker_one_may() {
        for (at, role) in Role::ALL.into_iter().enumerate() {
            for (other_at, other) in Role::ALL.into_iter().enumerate() {
                assert_eq!(role.allows(other), at >= other_at);
            }
            assert_eq!(role.to_string().parse::<Role>(), Ok(role));
        }
        assert_eq!("root".parse::<Role>(), Err(UnknownRole));
    }

    proptest::proptest! {
        #[test]
        fn no_garbage_panics(text in "\\PC*") {
            let _ = ApiKey::parse(&text);
            let _ = ApiKeyHash::from_hex(&text);
        }

        #[test]
        fn nothing_near_a_key_panics(text in "ck_[0-9a-zé]{0,20}_[0-9a-zé]{0,80}") {
            let _ = ApiKey::parse(&text);
        }
    }
}
