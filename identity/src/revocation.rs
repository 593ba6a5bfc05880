//! Tokens that are no longer good although nothing in them says so.
//! Reads: what was revoked, and the time. Writes: its own memory.
//! Never: forgets a revocation before the token it is about has ended, or grows without a limit: when it is
//! full it says so instead of dropping something.
//!
//! Every change takes the later of two times, so nodes that hear of the same revocations in another order, or
//! twice, come to the same answers.

use std::collections::{BTreeMap, HashMap};

use crate::names::Tenant;
use crate::tokens::{ConnectionClaims, SubscriptionClaims};

/// Most revocations unless told otherwise.
pub const REVOCATIONS_MAX: usize = 100_000;

/// Longest token id in bytes; a longer one cannot be in a token either.
const ID_BYTES_MAX: usize = 256;

/// Why a revocation is not kept. The tokens are still good: tell the operator, and disconnect the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// As many as may be kept, none of which is over.
    #[error("no more than {0} revocations are kept: raise the limit, or let tokens live shorter")]
    Full(usize),
    /// No token can have such an id or user.
    #[error("a revocation names a token id of 1 to 256 bytes or a user of 1 to 240 bytes")]
    Name,
}

/// What speaks against a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// The token itself was revoked by its id.
    Token,
    /// All tokens of the user issued so early were revoked, or it does not say when it was issued.
    User,
}

/// One revocation, as it is stored and told to other nodes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Revocation {
    /// One token.
    Token {
        /// Of which tenant.
        tenant: String,
        /// Its `jti`.
        id: String,
        /// When the token has ended anyway, in seconds since the Unix epoch.
        until: i64,
    },
    /// All tokens of a user up to a moment.
    User {
        /// Of which tenant.
        tenant: String,
        /// Whose.
        user: String,
        /// Tokens whose `iat` is before this are no longer good, in seconds since the Unix epoch. A token of
        /// the very second is good: it is most likely the one issued after the revocation.
        issued_before: i64,
        /// When all of those have ended anyway: the moment of revocation and the longest life of a token.
        until: i64,
    },
}

#[derive(Debug, Clone, Copy)]
struct UserEntry {
    issued_before: i64,
    until: i64,
}

#[derive(Debug, Default)]
struct OfTenant {
    tokens: HashMap<String, i64>,
    users: HashMap<String, UserEntry>,
}

/// All revocations that still matter.
#[derive(Debug)]
pub struct Revocations {
    tenants: HashMap<String, OfTenant>,
    count: usize,
    count_max: usize,
    /// No entry ends before this, so looking for ended ones earlier is in vain.
    earliest_end: i64,
}

impl Default for Revocations {
    fn default() -> Self {
        Self::new(REVOCATIONS_MAX)
    }
}

impl Revocations {
    /// An empty set for at most `count_max` revocations.
    #[must_use]
    pub fn new(count_max: usize) -> Self {
        Self { tenants: HashMap::new(), count: 0, count_max, earliest_end: i64::MAX }
    }

    /// Takes one in; one that is already over is passed by.
    ///
    /// # Errors
    /// If the set is full, or the name cannot be in a token.
    pub fn add(&mut self, revocation: &Revocation, now: i64) -> Result<(), RevokeError> {
        let (tenant, name, name_max, end) = match revocation {
            Revocation::Token { tenant, id, until } => (tenant, id, ID_BYTES_MAX, *until),
            Revocation::User { tenant, user, until, .. } => {
                (tenant, user, crate::names::USER_BYTES_MAX, *until)
            }
        };
        if name.is_empty() || name.len() > name_max || Tenant::parse(tenant).is_err() {
            return Err(RevokeError::Name);
        }
        if end <= now {
            return Ok(());
        }
        if !self.knows(revocation) {
            if self.count >= self.count_max {
                self.prune(now);
            }
            if self.count >= self.count_max {
                return Err(RevokeError::Full(self.count_max));
            }
            self.count += 1;
        }
        self.earliest_end = self.earliest_end.min(end);
        let of = self.tenants.entry(tenant.clone()).or_default();
        match revocation {
            Revocation::Token { id, until, .. } => {
                let kept = of.tokens.entry(id.clone()).or_insert(*until);
                *kept = (*kept).max(*until);
            }
            Revocation::User { user, issued_before, until, .. } => {
                let entry = UserEntry { issued_before: *issued_before, until: *until };
                let kept = of.users.entry(user.clone()).or_insert(entry);
                kept.issued_before = kept.issued_before.max(*issued_before);
                kept.until = kept.until.max(*until);
            }
        }
        Ok(())
    }

    /// What speaks against a token with these claims.
    #[must_use]
    pub fn find(
        &self,
        tenant: &Tenant,
        user: &str,
        id: Option<&str>,
        issued_at: Option<i64>,
        now: i64,
    ) -> Option<Revoked> {
        let of = self.tenants.get(tenant.as_str())?;
        if id.and_then(|id| of.tokens.get(id)).is_some_and(|until| *until > now) {
            return Some(Revoked::Token);
        }
        let entry = of.users.get(user).filter(|entry| entry.until > now)?;
        // A token that hides when it was issued may be from before.
        issued_at.is_none_or(|at| at < entry.issued_before).then_some(Revoked::User)
    }

    /// What speaks against a connection token.
    #[must_use]
    pub fn of_connection(&self, claims: &ConnectionClaims, now: i64) -> Option<Revoked> {
        self.find(&claims.tenant, &claims.user, claims.id.as_deref(), claims.issued_at, now)
    }

    /// What speaks against a subscription token.
    #[must_use]
    pub fn of_subscription(&self, claims: &SubscriptionClaims, now: i64) -> Option<Revoked> {
        self.find(&claims.tenant, &claims.user, claims.id.as_deref(), claims.issued_at, now)
    }

    /// Drops what is over; returns how many are left.
    pub fn prune(&mut self, now: i64) -> usize {
        if self.earliest_end > now {
            return self.count;
        }
        for of in self.tenants.values_mut() {
            of.tokens.retain(|_, until| *until > now);
            of.users.retain(|_, entry| entry.until > now);
        }
        self.tenants.retain(|_, of| !of.tokens.is_empty() || !of.users.is_empty());
        let ends = self.tenants.values().flat_map(|of| {
            of.tokens.values().copied().chain(of.users.values().map(|entry| entry.until))
        });
        (self.count, self.earliest_end) =
            ends.fold((0, i64::MAX), |(count, least), end| (count + 1, least.min(end)));
        self.count
    }

    /// How many are kept, ended ones included until they are dropped.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them in a fixed order, for storing or comparing.
    #[must_use]
    pub fn entries(&self) -> Vec<Revocation> {
        let tenants: BTreeMap<_, _> = self.tenants.iter().collect();
        let mut entries = Vec::with_capacity(self.count);
        for (tenant, of) in tenants {
            let tokens: BTreeMap<_, _> = of.tokens.iter().collect();
            entries.extend(tokens.into_iter().map(|(id, until)| Revocation::Token {
                tenant: tenant.clone(),
                id: id.clone(),
                until: *until,
            }));
            let users: BTreeMap<_, _> = of.users.iter().collect();
            entries.extend(users.into_iter().map(|(user, entry)| Revocation::User {
                tenant: tenant.clone(),
                user: user.clone(),
                issued_before: entry.issued_before,
                until: entry.until,
            }));
        }
        entries
    }

    fn knows(&self, revocation: &Revocation) -> bool {
        match revocation {
            Revocation::Token { tenant, id, .. } => {
                self.tenants.get(tenant).is_some_and(|of| of.tokens.contains_key(id))
            }
            Revocation::User { tenant, user, .. } => {
                self.tenants.get(tenant).is_some_and(|of| of.users.contains_key(user))
            }
        }
    }
}

#[cfg(test)]
mod tests;
