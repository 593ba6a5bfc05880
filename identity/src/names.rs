//! Names of tenants and users, checked once where they enter.
//! Reads: text. Writes: nothing. Never: changes a name; a name is taken as it is or refused.

use std::fmt;

/// The tenant of a token that names none.
pub const DEFAULT_TENANT: &str = "default";

/// Longest tenant in bytes.
pub const TENANT_BYTES_MAX: usize = 64;

/// Longest user in bytes: the personal channel `inbox:#<user>` must stay a valid channel name.
pub const USER_BYTES_MAX: usize = 240;

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("the name is empty")]
    Empty,
    /// Longer than its limit.
    #[error("the name is longer than {0} bytes")]
    TooLong(usize),
    /// Control characters make logs and pages unreadable and are never meant.
    #[error("the name has control characters")]
    Control,
}

/// Whose data it is. Nothing ever crosses from one tenant to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(String);

impl Tenant {
    /// Checks a tenant's name.
    ///
    /// # Errors
    /// Says which rule the name breaks.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        check(name, TENANT_BYTES_MAX)?;
        Ok(Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self(DEFAULT_TENANT.to_owned())
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks a user's name.
///
/// # Errors
/// Says which rule the name breaks.
pub fn check_user(name: &str) -> Result<(), NameError> {
    check(name, USER_BYTES_MAX)
}

fn check(name: &str, bytes_max: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > bytes_max {
        return Err(NameError::TooLong(bytes_max));
    }
    if name.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_length_and_no_control_characters() {
        assert_eq!(Tenant::parse(""), Err(NameError::Empty));
        assert_eq!(Tenant::parse(&"t".repeat(65)), Err(NameError::TooLong(64)));
        assert_eq!(Tenant::parse("a\nb"), Err(NameError::Control));
        assert_eq!(Tenant::parse("acme").map(|t| t.to_string()), Ok("acme".to_owned()));
        assert_eq!(check_user(&"u".repeat(241)), Err(NameError::TooLong(240)));
        assert_eq!(check_user("zoë.*>🔔"), Ok(()));
    }
}
