//! Who may use the server API: keys, each for one tenant.
//! Reads: options, files of secrets at start, headers. Writes: nothing. Never: keeps a key, or tells by the time it
//! takes how much of one was right; keys are kept and compared as SHA-256.

use http::{HeaderMap, header};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Method;
use crate::options::{ApiKeyOptions, ApiOptions, check_secret};

/// The tenant of keys that name none.
const DEFAULT_TENANT: &str = campana_identity::DEFAULT_TENANT;

/// What a key is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Whose channels and users.
    pub(crate) tenant: String,
    /// Empty for all.
    methods: Vec<Method>,
}

impl Grant {
    pub(crate) fn allows(&self, method: Method) -> bool {
        self.methods.is_empty() || self.methods.contains(&method)
    }
}

/// All keys.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    known: Vec<([u8; 32], Grant)>,
    in_query: bool,
}

impl Keys {
    /// Reads the files that hold secrets.
    ///
    /// # Errors
    /// Names the key whose file cannot be read or holds no key.
    pub(crate) fn load(options: &ApiOptions) -> Result<Self, String> {
        let mut keys = Self { known: Vec::new(), in_query: options.key_in_query };
        if !options.key.expose_secret().is_empty() {
            let tenant = DEFAULT_TENANT.to_owned();
            keys.add(&options.key, Grant { tenant, methods: Vec::new() });
        }
        for one in &options.keys {
            let tenant = match one.tenant.as_str() {
                "" => DEFAULT_TENANT.to_owned(),
                named => named.to_owned(),
            };
            let methods = one.methods.iter().filter_map(|name| Method::parse(name)).collect();
            keys.add(&secret(one)?, Grant { tenant, methods });
        }
        Ok(keys)
    }

    fn add(&mut self, secret: &SecretString, grant: Grant) {
        self.known.push((digest(secret.expose_secret()), grant));
    }

    /// Whether nobody can use the API.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What the caller may do; nothing without a good key.
    pub(crate) fn grant(&self, headers: &HeaderMap, query: Option<&str>) -> Option<&Grant> {
        let brought = self.brought(headers, query)?;
        let digest = digest(&brought);
        // All are compared, so that the time says nothing about which one fits.
        let mut found = None;
        for (known, grant) in &self.known {
            if bool::from(known.ct_eq(&digest)) {
                found = Some(grant);
            }
        }
        found
    }

    fn brought(&self, headers: &HeaderMap, query: Option<&str>) -> Option<String> {
        if let Some(key) = headers.get("x-api-key") {
            return key.to_str().ok().map(str::to_owned);
        }
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
            return scheme.eq_ignore_ascii_case("apikey").then(|| key.trim().to_owned());
        }
        let pairs = query.filter(|_| self.in_query)?.split('&');
        pairs.filter_map(|pair| pair.strip_prefix("api_key=")).map(str::to_owned).next()
    }
}

fn secret(one: &ApiKeyOptions) -> Result<SecretString, String> {
    if one.secret_file.is_empty() {
        return Ok(one.secret.clone());
    }
    let what = format!("the key {:?} in {}", one.name, one.secret_file);
    let text = std::fs::read_to_string(&one.secret_file)
        .map_err(|error| format!("{what} cannot be read: {error}"))?;
    let secret = SecretString::from(text.trim_end_matches(['\r', '\n']));
    check_secret(&what, &secret, false)?;
    Ok(secret)
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(in_query: bool) -> Keys {
        let options = ApiOptions {
            key: "the-key-of-everything".to_owned().into(),
            keys: vec![ApiKeyOptions {
                name: "shop".to_owned(),
                secret: "the-key-of-the-shop".to_owned().into(),
                tenant: "shop".to_owned(),
                methods: vec!["publish".to_owned()],
                ..ApiKeyOptions::default()
            }],
            key_in_query: in_query,
            ..ApiOptions::default()
        };
        Keys::load(&options).unwrap()
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn a_key_opens_its_tenant_and_its_methods() {
        let keys = keys(false);
        let all = keys.grant(&headers("x-api-key", "the-key-of-everything"), None).unwrap();
        assert_eq!(all.tenant, "default");
        assert!(Method::ALL.into_iter().all(|method| all.allows(method)));
        let one = keys.grant(&headers("authorization", "apikey the-key-of-the-shop"), None);
        let one = one.unwrap();
        assert_eq!(one.tenant, "shop");
        assert!(one.allows(Method::Publish) && !one.allows(Method::Disconnect));
    }

    #[test]
    fn nothing_else_opens_anything() {
        let keys = keys(false);
        for headers in [
            headers("x-api-key", "the-key-of-everything "),
            headers("x-api-key", "the-key-of-everythin"),
            headers("x-api-key", ""),
            headers("authorization", "Bearer the-key-of-everything"),
            headers("authorization", "the-key-of-everything"),
            HeaderMap::new(),
        ] {
            assert_eq!(keys.grant(&headers, Some("api_key=the-key-of-everything")), None);
        }
        assert!(Keys::default().grant(&headers("x-api-key", ""), None).is_none());
    }

    #[test]
    fn the_query_counts_only_where_it_may() {
        let keys = keys(true);
        let query = Some("a=1&api_key=the-key-of-everything");
        assert!(keys.grant(&HeaderMap::new(), query).is_some());
        assert!(keys.grant(&headers("x-api-key", "wrong"), query).is_none());
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        let keys = vec![ApiKeyOptions {
            name: "shop".to_owned(),
            secret_file: "/nonexistent/key".to_owned(),
            ..ApiKeyOptions::default()
        }];
        let error = Keys::load(&ApiOptions { keys, ..ApiOptions::default() }).unwrap_err();
        assert!(error.contains("/nonexistent/key"), "{error}");
    }
}
