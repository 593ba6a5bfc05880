//! The keys that tokens are checked with at this moment: those of the configuration, and those fetched.
//! Reads: keys. Writes: the verifier that sessions use, swapped whole.
//! Never: lets a fetched key take the place of a configured one, or keeps one that its source withdrew.

use std::sync::{Arc, PoisonError, RwLock};

use campana_identity::{ClaimRules, JwksOptions, KeyFault, KeySet, TokenOptions, Verifier};

/// The keys of a process.
#[derive(Debug)]
pub struct LiveKeys {
    sources: Vec<JwksOptions>,
    configured: KeySet,
    rules: ClaimRules,
    current: RwLock<Arc<Verifier>>,
}

impl LiveKeys {
    /// The configured keys alone; what JWKS sources bring is awaited.
    #[must_use]
    pub fn new(configured: KeySet, options: &TokenOptions) -> Self {
        let expecting = |set: KeySet, algorithms: &Vec<_>| set.expecting(algorithms);
        let configured =
            options.jwks.iter().map(|source| &source.algorithms).fold(configured, expecting);
        let rules = options.claim_rules();
        let current = RwLock::new(Arc::new(Verifier::new(configured.clone(), rules.clone())));
        Self { sources: options.jwks.clone(), configured, rules, current }
    }

    /// The documents that bring keys.
    #[must_use]
    pub fn sources(&self) -> &[JwksOptions] {
        &self.sources
    }

    /// The verifier of this moment.
    #[must_use]
    pub fn verifier(&self) -> Arc<Verifier> {
        // Nothing panics while the lock is held, so a poisoned one still guards a whole verifier.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on the configured keys and these, and no others; gives how many there are.
    ///
    /// # Errors
    /// If there are too many keys, or two have one id.
    pub fn replace<'a>(
        &self,
        fetched: impl IntoIterator<Item = &'a KeySet>,
    ) -> Result<usize, KeyFault> {
        let joined =
            fetched.into_iter().try_fold(self.configured.clone(), |all, more| all.joined(more))?;
        let count = joined.len();
        let verifier = Arc::new(Verifier::new(joined, self.rules.clone()));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = verifier;
        Ok(count)
    }
}
