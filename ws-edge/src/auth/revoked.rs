//! What this node knows of revoked tokens; sessions ask it about each token.
//! Reads: revocations. Writes: its own memory. Never: waits, or forgets one before the tokens have ended.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use campana_identity::{
    ConnectionClaims, Revocation, Revocations, RevokeError, SubscriptionClaims, Tenant,
};

/// The revocations of a node.
#[derive(Debug, Default)]
pub(crate) struct Known {
    list: RwLock<Revocations>,
}

impl Known {
    pub(crate) fn add(&self, revocation: &Revocation, now: i64) -> Result<(), RevokeError> {
        self.list.write().unwrap_or_else(PoisonError::into_inner).add(revocation, now)
    }

    /// Drops those that are over; gives how many are left.
    pub(crate) fn prune(&self, now: i64) -> usize {
        self.list.write().unwrap_or_else(PoisonError::into_inner).prune(now)
    }

    pub(crate) fn connection(&self, claims: &ConnectionClaims, now: i64) -> bool {
        self.read().of_connection(claims, now).is_some()
    }

    pub(crate) fn subscription(&self, claims: &SubscriptionClaims, now: i64) -> bool {
        self.read().of_subscription(claims, now).is_some()
    }

    /// The same about a connection that was let in before.
    pub(crate) fn find(&self, tenant: &Tenant, user: &str, token: &TokenMark, now: i64) -> bool {
        self.read().find(tenant, user, token.id.as_deref(), token.issued_at, now).is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    fn read(&self) -> RwLockReadGuard<'_, Revocations> {
        self.list.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a revocation knows a token by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TokenMark {
    /// `jti`.
    pub(crate) id: Option<Box<str>>,
    /// `iat`.
    pub(crate) issued_at: Option<i64>,
}

/// Two bits that stand for one token, in the manner of a Bloom filter: who does not have both of them does not
/// use it.
pub(crate) fn mark(tenant: &str, id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (tenant, id).hash(&mut hasher);
    let hash = hasher.finish();
    (1 << (hash & 63)) | (1 << ((hash >> 6) & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_most_tokens_apart() {
        let ours = mark("t", "id");
        assert!(ours != 0 && ours.count_ones() <= 2);
        let same = (0..1_000).filter(|n| mark("t", &n.to_string()) & !ours == 0).count();
        assert!(same < 20, "{same} of 1000");
        assert_eq!(mark("t", "id"), ours);
    }

    #[test]
    fn what_is_revoked_is_found_until_it_would_have_ended() {
        let known = Known::default();
        assert!(known.is_empty());
        let (tenant, id) = ("default".to_owned(), "j1".to_owned());
        known.add(&Revocation::Token { tenant, id, until: 100 }, 10).unwrap();
        let token = TokenMark { id: Some("j1".into()), issued_at: Some(5) };
        assert!(known.find(&Tenant::default(), "alice", &token, 99));
        assert!(!known.find(&Tenant::default(), "alice", &token, 100));
        assert!(!known.find(&Tenant::default(), "alice", &TokenMark::default(), 99));
        assert_eq!(known.prune(100), 0);
    }
}
