//! Who is calling: connection tokens for browsers, API keys for services, roles and tenants.
//! Reads: texts and times given by the caller; the random generator, for fresh API keys only.
//! Writes: nothing. Never: reads a clock, a file or the network, or lets a token choose how it is checked.
//! Being pure, every rule here is tested in microseconds, and every caller gets the same answer.

mod api_key;
mod names;
mod tokens;

pub use api_key::{ApiKey, ApiKeyError, ApiKeyHash, Role, UnknownRole};
pub use names::{DEFAULT_TENANT, NameError, TENANT_BYTES_MAX, Tenant, USER_BYTES_MAX, check_user};
pub use tokens::{
    ConnectionClaims, ConnectionSpec, KeyError, MintError, SubscriptionClaims, SubscriptionSpec,
    TOKEN_BYTES_MAX, TokenError, TokenKeys, TokenPolicy, TokenSubscription,
};
