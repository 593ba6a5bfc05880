//! Typed, prefixed identifiers.
//! Reads: the random generator, for fresh ids only. Writes: nothing. Never: accepts an id of another kind.
//! A fresh id is a UUIDv7 (RFC 9562), so ids sort by time. A derived id is a UUIDv8 over SHA-256 of its
//! parts, so that a repeated command names the same thing and everything downstream can drop the repeat.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::clock::Micros;

/// Why a text is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id of the form {prefix}_<32 hexadecimal digits>")]
pub struct ParseIdError {
    /// The prefix that the expected kind carries.
    pub prefix: &'static str,
}

fn derive(kind: &str, at: Option<Micros>, parts: &[&str]) -> Uuid {
    let mut hasher = Sha256::new();
    hasher.update(kind.as_bytes());
    for part in parts {
        // The length in front keeps ("ab","c") and ("a","bc") apart.
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let digest = hasher.finalize();
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    if let Some(millis) = at.and_then(|at| u64::try_from(at.0 / 1_000).ok()) {
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    }
    Uuid::new_v8(bytes)
}

macro_rules! id_kind {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// The text in front of the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A fresh, time-ordered id.
            #[must_use]
            pub fn fresh() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id that these parts always give.
            #[must_use]
            pub fn derived(parts: &[&str]) -> Self {
                Self(derive($prefix, None, parts))
            }

            /// The same with a time in front (48 bits of milliseconds, as in a fresh id), so that what is
            /// stored by id lies beside what was made at that time.
            #[must_use]
            pub fn derived_at(at: Micros, parts: &[&str]) -> Self {
                Self(derive($prefix, Some(at), parts))
            }

            /// When a fresh id was made; `None` for a derived one, which carries no time.
            #[must_use]
            pub fn created_at(&self) -> Option<Micros> {
                let stamp = self.0.get_timestamp()?;
                let (seconds, nanos) = stamp.to_unix();
                let micros = i64::try_from(seconds).ok()?.checked_mul(1_000_000)?;
                Some(Micros(micros + i64::from(nanos / 1_000)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix(concat!($prefix, "_"))
                    .filter(|hex| hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
                    .and_then(|hex| Uuid::try_parse(hex).ok())
                    .map(Self)
                    .ok_or(ParseIdError { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id_kind!(
    /// One notification, as accepted by the gateway.
    NotificationId, "ntf"
);
id_kind!(
    /// One notification to one recipient over one channel.
    DeliveryId, "dlv"
);
id_kind!(
    /// One HTTP request, for support and logs.
    RequestId, "req"
);
id_kind!(
    /// One message of the bus that has no better id of its own.
    MessageId, "msg"
);
id_kind!(
    /// One job that redrives dead letters.
    RedriveId, "rdv"
);
id_kind!(
    /// One API key; public, unlike its secret.
    KeyId, "key"
);
id_kind!(
    /// One connection of a client to the edge.
    ClientId, "cli"
);
id_kind!(
    /// One process of the platform, new at every start.
    NodeId, "node"
);
id_kind!(
    /// One attempt of a sidecar to hand a message to its app.
    HandoverId, "hnd"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_another_kind_does_not_parse() {
        let id = NotificationId::fresh();
        assert_eq!(id.to_string().parse::<NotificationId>(), Ok(id));
        assert_eq!(id.to_string().parse::<DeliveryId>(), Err(ParseIdError { prefix: "dlv" }));
        for text in [
            "",
            "ntf_",
            "ntf_zz",
            "NTF_0123456789abcdef0123456789abcdef",
            "ntf_0123456789ABCDEF0123456789abcdef",
        ] {
            assert!(text.parse::<NotificationId>().is_err(), "{text}");
        }
    }

    #[test]
    fn derived_ids_repeat_and_do_not_run_into_each_other() {
        assert_eq!(DeliveryId::derived(&["a", "b"]), DeliveryId::derived(&["a", "b"]));
        assert_ne!(DeliveryId::derived(&["ab", "c"]), DeliveryId::derived(&["a", "bc"]));
        assert_ne!(
            DeliveryId::derived(&["a"]).to_string()[4..],
            NotificationId::derived(&["a"]).to_string()[4..]
        );
    }

    #[test]
    fn derived_ids_of_a_time_lie_beside_fresh_ones() {
        let at = Micros::from_rfc3339("2026-01-01T00:00:00.123456Z").unwrap();
        let id = DeliveryId::derived_at(at, &["a"]);
        assert_eq!(id, DeliveryId::derived_at(at, &["a"]));
        assert_ne!(id, DeliveryId::derived_at(at, &["b"]));
        let later = Micros(at.0 + 1_000);
        assert!(id < DeliveryId::derived_at(later, &["b"]));
        assert_eq!(id.to_string()[..16], format!("dlv_{:012x}", at.0 / 1_000));
    }

    #[test]
    fn only_fresh_ids_carry_a_time() {
        assert!(NotificationId::fresh().created_at().is_some());
        assert_eq!(NotificationId::derived(&["k"]).created_at(), None);
    }
}
