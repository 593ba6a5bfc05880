//! What an operator may choose about the server API and about how nodes speak to each other.
//! Reads: configuration. Writes: nothing. Never: shows a key, in `Debug` or when it is written out.

use campana_identity::Tenant;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::api::Method;

/// Shortest key in bytes: what is shorter can be guessed.
const KEY_BYTES_MIN: usize = 16;
/// Most keys: each is compared with what a caller brings.
const KEYS_MAX: usize = 256;

/// Options of the HTTP API for backends, which is off without a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiOptions {
    /// A key that may use every method for the tenant `default`; empty for none. At least 16 bytes.
    #[serde(skip_serializing)]
    pub key: SecretString,
    /// More keys, each for one tenant and, if wanted, for some methods only.
    pub keys: Vec<ApiKeyOptions>,
    /// Whether a key may also come as `?api_key=`, where logs and proxies see it.
    pub key_in_query: bool,
    /// Bytes of one request.
    pub body_bytes_max: usize,
    /// Commands of one batch.
    pub batch_commands_max: usize,
    /// Channels of one broadcast.
    pub broadcast_channels_max: usize,
    /// Requests at the same time; more are refused with 503.
    pub requests_max: usize,
}

/// One key and what it is good for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiKeyOptions {
    /// For people and logs.
    pub name: String,
    /// The key; at least 16 bytes.
    #[serde(skip_serializing)]
    pub secret: SecretString,
    /// A file that holds it, instead of `secret`.
    pub secret_file: String,
    /// Whose channels and users; empty for `default`.
    pub tenant: String,
    /// What it may be used for; empty for everything.
    pub methods: Vec<String>,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            key: SecretString::default(),
            keys: Vec::new(),
            key_in_query: false,
            body_bytes_max: 1024 * 1024,
            batch_commands_max: 1_000,
            broadcast_channels_max: 10_000,
            requests_max: 256,
        }
    }
}

impl ApiOptions {
    /// Checks what types cannot.
    pub(crate) fn check(&self) -> Result<(), String> {
        let positive = [
            ("api.body_bytes_max", self.body_bytes_max),
            ("api.batch_commands_max", self.batch_commands_max),
            ("api.broadcast_channels_max", self.broadcast_channels_max),
            ("api.requests_max", self.requests_max),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(format!("{name} must be at least 1"));
        }
        check_secret("api.key", &self.key, true)?;
        if self.keys.len() > KEYS_MAX {
            return Err(format!("api.keys has more than {KEYS_MAX} entries"));
        }
        self.keys.iter().try_for_each(ApiKeyOptions::check)
    }
}

impl ApiKeyOptions {
    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if name.is_empty() {
            return Err("api.keys: every key needs a name".to_owned());
        }
        let by_file = !self.secret_file.is_empty();
        if by_file && !self.secret.expose_secret().is_empty() {
            return Err(format!("api.keys {name:?} has both a secret and a secret_file"));
        }
        check_secret(&format!("api.keys {name:?}"), &self.secret, by_file)?;
        if !self.tenant.is_empty() {
            Tenant::parse(&self.tenant)
                .map_err(|why| format!("api.keys {name:?}: tenant: {why}"))?;
        }
        match self.methods.iter().find(|method| Method::parse(method).is_none()) {
            Some(method) => Err(format!("api.keys {name:?}: there is no method {method:?}")),
            None => Ok(()),
        }
    }
}

/// Whether a text is good enough for a key.
pub(crate) fn check_secret(
    what: &str,
    secret: &SecretString,
    may_lack: bool,
) -> Result<(), String> {
    let secret = secret.expose_secret();
    if secret.is_empty() && may_lack {
        return Ok(());
    }
    if secret.len() < KEY_BYTES_MIN {
        return Err(format!("{what} must have at least {KEY_BYTES_MIN} bytes"));
    }
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "{what} must be printable ASCII without spaces: it goes into a header"
        ));
    }
    Ok(())
}

/// Options of what nodes say to each other.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlOptions {
    /// What `info` calls this node; empty for its host's name and port.
    pub node_name: String,
    /// How often a node says that it lives.
    pub heartbeat_ms: u64,
    /// A node that was silent for so long is not waited for any longer.
    pub lost_after_ms: u64,
    /// How long all nodes may take to do what is asked of them.
    pub timeout_ms: u64,
}

impl Default for ControlOptions {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            heartbeat_ms: 1_000,
            lost_after_ms: 6_000,
            timeout_ms: 8_000,
        }
    }
}

impl ControlOptions {
    /// Checks what types cannot.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.heartbeat_ms == 0 || self.lost_after_ms < 3 * self.heartbeat_ms {
            return Err(
                "control.lost_after_ms must be at least three times control.heartbeat_ms, \
                        which must be at least 1"
                    .to_owned(),
            );
        }
        if self.timeout_ms <= self.lost_after_ms {
            return Err("control.timeout_ms must be longer than control.lost_after_ms: a killed \
                        node would make every command fail"
                .to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &str) -> ApiKeyOptions {
        ApiKeyOptions {
            name: "shop".to_owned(),
            secret: secret.to_owned().into(),
            ..ApiKeyOptions::default()
        }
    }

    #[test]
    fn keys_must_be_long_and_their_methods_known() {
        let with = |key: ApiKeyOptions| {
            ApiOptions { keys: vec![key], ..ApiOptions::default() }.check().is_ok()
        };
        let good = "a-long-enough-key";
        assert!(with(key(good)) && ApiOptions::default().check().is_ok());
        assert!(!with(key("short")) && !with(key("")) && !with(key("with a space in it")));
        assert!(!with(ApiKeyOptions { name: String::new(), ..key(good) }));
        let methods = |name: &str| vec![name.to_owned()];
        assert!(with(ApiKeyOptions { methods: methods("publish"), ..key(good) }));
        assert!(!with(ApiKeyOptions { methods: methods("drop"), ..key(good) }));
        assert!(!with(ApiKeyOptions { tenant: "a\nb".to_owned(), ..key(good) }));
        let file = "/run/secrets/key".to_owned();
        assert!(with(ApiKeyOptions { secret_file: file.clone(), ..key("") }));
        assert!(!with(ApiKeyOptions { secret_file: file, ..key(good) }));
    }

    #[test]
    fn a_key_is_never_shown() {
        let options = ApiOptions {
            key: "the-first-secret-key".to_owned().into(),
            keys: vec![key("the-other-secret-key")],
            ..ApiOptions::default()
        };
        let written = serde_json::to_string(&options).unwrap();
        assert!(!written.contains("secret-key") && !format!("{options:?}").contains("secret-key"));
    }

    #[test]
    fn a_dead_node_is_given_up_before_a_command_is() {
        let good = ControlOptions::default();
        assert_eq!(good.check(), Ok(()));
        assert!(ControlOptions { timeout_ms: 6_000, ..good.clone() }.check().is_err());
        assert!(ControlOptions { lost_after_ms: 2_000, ..good.clone() }.check().is_err());
        assert!(ControlOptions { heartbeat_ms: 0, ..good }.check().is_err());
    }
}
