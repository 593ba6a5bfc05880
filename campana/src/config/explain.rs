//! `config show` and `config doc`: what is set, where it came from, what there is.
//! Reads: the merged configuration. Writes: nothing. Never: shows a secret.

use figment::Figment;
use figment::value::{Dict, Value};
use serde::Serialize;

use super::sources::{leaves, origin};

/// One option as it is in force.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// `section.key`.
    pub key: String,
    /// Its value; secrets are redacted.
    pub value: serde_json::Value,
    /// Where it came from.
    pub origin: String,
}

/// Parts of key names whose values nobody may see.
const SECRET: [&str; 6] =
    ["secret", "password", "token_auth", "auth_token", "api_key", "otlp_headers"];

fn is_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key);
    matches!(key, "database.url" | "edge.api.key" | "edge.api.keys")
        || SECRET.iter().any(|part| last.contains(part))
}

/// Whether a text is a URL with somebody's name or password in it.
fn has_password(text: &str) -> bool {
    text.contains("://") && text.contains('@')
}

/// Every option, sorted by key.
pub fn explain(figment: &Figment) -> Vec<Explained> {
    let Ok(all) = figment.extract::<Dict>() else {
        return Vec::new();
    };
    let mut keys = leaves(&all, "");
    keys.sort_unstable();
    keys.into_iter()
        .map(|key| {
            let found = figment.find_value(&key).ok();
            let value = match &found {
                Some(Value::String(_, text)) if text.is_empty() => {
                    serde_json::Value::String(String::new())
                }
                Some(Value::String(_, text)) if has_password(text) => {
                    serde_json::Value::String("(redacted)".to_owned())
                }
                Some(_) if is_secret(&key) => serde_json::Value::String("(redacted)".to_owned()),
                Some(value) => serde_json::to_value(value).unwrap_or_default(),
                None => serde_json::Value::Null,
            };
            let origin = figment.find_metadata(&key).map(origin).unwrap_or_default();
            Explained { key, value, origin }
        })
        .collect()
}
