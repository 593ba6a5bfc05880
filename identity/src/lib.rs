//! Who is calling, and what they may: tokens and keys for browsers, API keys for services, roles, tenants,
//! permissions of channels, revocations.
//! Reads: texts and times given by the caller; the random generator, for fresh API keys only.
//! Writes: nothing. Never: reads a clock, a file or the network, or lets a token choose how it is checked.
//! Being pure, every rule here is tested in microseconds, and every caller gets the same answer.

mod api_key;
mod keys;
mod names;
mod permissions;
mod revocation;
mod tokens;

pub use api_key::{ApiKey, ApiKeyError, ApiKeyHash, Role, UnknownRole};
pub use keys::{
    JWKS_BYTES_MAX, JWKS_KEYS_MAX, Jwks, JwksError, JwksRefresh, KEY_ID_BYTES_MAX, KEYS_MAX,
    KeyFault, KeySet, RefreshOptions, Standing, TokenAlgorithm, VerifyKey,
};
pub use names::{DEFAULT_TENANT, NameError, TENANT_BYTES_MAX, Tenant, USER_BYTES_MAX, check_user};
pub use permissions::{
    AclRule, Action, Allow, CHANNEL_BYTES_MAX, Capability, Channel, Denied, NamespaceRules,
    PATTERN_BYTES_MAX, PATTERN_STARS_MAX, Pattern, PatternError, Rules, Who, allowed,
};
pub use revocation::{REVOCATIONS_MAX, Revocation, Revocations, RevokeError, Revoked};
pub use tokens::{
    ClaimRules, ConnectionClaims, ConnectionGrant, ConnectionSpec, JwksOptions, KeyError,
    MintError, Overrides, PublicKeyOptions, PublishGrant, RefreshGrant, SubscriptionClaims,
    SubscriptionGrant, SubscriptionSpec, TOKEN_BYTES_MAX, TokenError, TokenFault, TokenKeys,
    TokenOptions, TokenPolicy, TokenSubscription, Verifier,
};
