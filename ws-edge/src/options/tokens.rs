//! What an operator may choose about who connects and what is subscribed for them.
//! Reads: configuration. Writes: nothing. Never: takes a cookie for good from pages that nobody listed.

use serde::{Deserialize, Serialize};

use super::EdgeOptions;
use crate::auth::origin;

/// Longest name of a cookie in bytes.
const COOKIE_BYTES_MAX: usize = 128;

/// A channel of each user's own that is subscribed at connect, `[namespace:]#user`, as in Centrifugo.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PersonalChannelOptions {
    /// Whether there is one.
    pub enabled: bool,
    /// Its namespace; empty for channels without `:`. It must be configured.
    pub namespace: String,
}

impl EdgeOptions {
    /// Checks what belongs to tokens and users.
    pub(super) fn check_tokens(&self) -> Result<(), String> {
        self.tokens.check().map_err(|why| format!("tokens.{why}"))?;
        self.allowed_origins.iter().try_for_each(|entry| origin::check(entry))?;
        let name = self.token_cookie.as_str();
        let odd = |byte: u8| !byte.is_ascii_graphic() || b"=;,\"\\()<>@:/[]?{}".contains(&byte);
        if name.len() > COOKIE_BYTES_MAX || name.bytes().any(odd) {
            return Err(
                "token_cookie must be a cookie's name: letters, digits and `-_.!`".to_owned()
            );
        }
        if !name.is_empty() && self.allowed_origins.iter().any(|one| one == "*" || one == "null") {
            return Err(
                "token_cookie needs origins by name in allowed_origins: with `*` or `null` any \
                        page could use the cookies of its visitors"
                    .to_owned(),
            );
        }
        let personal = &self.personal_channel;
        if personal.enabled
            && !self.all_namespaces().iter().any(|one| one.name == personal.namespace)
        {
            return Err(format!(
                "personal_channel.namespace {:?} is not among the namespaces",
                personal.namespace
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use campana_identity::TokenOptions;

    use super::*;
    use crate::options::NamespaceOptions;

    #[test]
    fn a_cookie_wants_origins_by_name() {
        let options = |cookie: &str, origin: &str| EdgeOptions {
            token_cookie: cookie.to_owned(),
            allowed_origins: vec![origin.to_owned()],
            ..EdgeOptions::default()
        };
        assert_eq!(options("bell", "https://app.example.com").check(), Ok(()));
        assert_eq!(options("__Host-bell", "https://*.example.com").check(), Ok(()));
        assert_eq!(options("", "*").check(), Ok(()));
        for (cookie, origin) in [
            ("bell", "*"),
            ("bell", "null"),
            ("b ell", "https://a.b"),
            ("b=", "https://a.b"),
            ("", "a.b"),
        ] {
            assert!(options(cookie, origin).check().is_err(), "{cookie} {origin}");
        }
    }

    #[test]
    fn a_personal_channel_wants_its_namespace() {
        let personal = |namespace: &str| EdgeOptions {
            personal_channel: PersonalChannelOptions {
                enabled: true,
                namespace: namespace.to_owned(),
            },
            namespaces: vec![NamespaceOptions { name: "me".to_owned(), ..Default::default() }],
            ..EdgeOptions::default()
        };
        assert_eq!(personal("me").check(), Ok(()));
        assert_eq!(personal("inbox").check(), Ok(()));
        assert!(personal("").check().is_err());
        assert!(personal("other").check().is_err());
    }

    #[test]
    fn faults_of_tokens_say_where_they_are() {
        let tokens = TokenOptions { skew_seconds: 61, ..TokenOptions::default() };
        let why = EdgeOptions { tokens, ..EdgeOptions::default() }.check().unwrap_err();
        assert!(why.starts_with("tokens.skew_seconds"), "{why}");
    }
}
