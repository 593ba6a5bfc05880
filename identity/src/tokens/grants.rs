//! What services say about connections and subscriptions instead of tokens: the results of Centrifugo's proxies.
//! Reads: JSON of a service that the operator configured. Writes: nothing.
//! Never: takes less care than with a token's claims: the same parser reads both, so a result cannot say what a
//! token could not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::claims::{self, ConnectionClaims, Overrides};
use super::fault::TokenFault;
use super::object::Object;
use super::verifier::ClaimRules;
use crate::permissions::Action;

/// The result of a connect proxy: who it is that connects.
#[derive(Debug, Clone)]
pub struct ConnectionGrant {
    /// As a token would say it; the user is in `user`, the tenant in `tenant`, and both may be missing.
    pub claims: ConnectionClaims,
    /// JSON handed to the client with the answer to its connect command.
    pub data: Option<String>,
}

/// The result of a subscribe proxy.
#[derive(Debug, Clone, Default)]
pub struct SubscriptionGrant {
    /// When the subscription must have been refreshed, in seconds since the Unix epoch.
    pub expires_at: Option<i64>,
    /// JSON shown with what the user publishes there.
    pub info: Option<String>,
    /// JSON handed to the client with the subscription.
    pub data: Option<String>,
    /// Options of the namespace that are otherwise for this subscription.
    pub overrides: Overrides,
    /// What the user may do in the channel beside subscribing.
    pub allow: Vec<Action>,
}

/// The result of a refresh or sub refresh proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefreshGrant {
    /// Whether it is over.
    pub expired: bool,
    /// When to ask again, in seconds since the Unix epoch; never if there is none.
    pub expires_at: Option<i64>,
    /// JSON shown with what the user publishes, if it changed.
    pub info: Option<String>,
    /// JSON that stays on the server, if it changed.
    pub meta: Option<String>,
}

/// The result of a publish proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishGrant {
    /// What is published instead, if something else.
    pub data: Option<Vec<u8>>,
}

impl ConnectionGrant {
    /// Reads a result.
    ///
    /// # Errors
    /// Names the member that is not what it must be.
    pub fn parse(json: &[u8]) -> Result<Self, TokenFault> {
        let body = Object::parse(json)?;
        let rules =
            ClaimRules { user_claim: "user".to_owned(), anonymous: true, ..ClaimRules::default() };
        let claims = claims::connection(&body, &rules, end(&body)?)?;
        Ok(Self { claims, data: body.json("data", "b64data", "data")? })
    }
}

impl SubscriptionGrant {
    /// Reads a result.
    ///
    /// # Errors
    /// Names the member that is not what it must be.
    pub fn parse(json: &[u8]) -> Result<Self, TokenFault> {
        let body = Object::parse(json)?;
        Ok(Self {
            expires_at: end(&body)?,
            info: body.json("info", "b64info", "info")?,
            data: body.json("data", "b64data", "data")?,
            overrides: claims::overrides(&body, "override")?,
            allow: super::caps::actions(&body, "allow")?,
        })
    }
}

impl RefreshGrant {
    /// Reads a result.
    ///
    /// # Errors
    /// Names the member that is not what it must be.
    pub fn parse(json: &[u8]) -> Result<Self, TokenFault> {
        let body = Object::parse(json)?;
        Ok(Self {
            expired: body.truth("expired")?,
            expires_at: end(&body)?,
            info: body.json("info", "b64info", "info")?,
            meta: body.json("meta", "", "meta")?,
        })
    }
}

impl PublishGrant {
    /// Reads a result. Bytes that are no JSON come in `b64data`.
    ///
    /// # Errors
    /// Names the member that is not what it must be.
    pub fn parse(json: &[u8]) -> Result<Self, TokenFault> {
        let body = Object::parse(json)?;
        let encoded = body.text("b64data", "b64data")?.filter(|text| !text.is_empty());
        let data = match encoded {
            Some(text) => Some(
                STANDARD
                    .decode(text)
                    .map_err(|_| TokenFault::claim("b64data", "bytes in padded base64"))?,
            ),
            None => body.json("data", "", "data")?.map(String::into_bytes),
        };
        Ok(Self { data })
    }
}

/// 0 stands for never.
fn end(body: &Object<'_>) -> Result<Option<i64>, TokenFault> {
    Ok(body.seconds("expire_at")?.filter(|at| *at != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_result_says_what_a_token_says() {
        let json =
            br#"{"user":"alice","expire_at":1900000000,"info":{"n":1},"b64data":"eyJhIjoxfQ==",
            "channels":["a:b"],"subs":{"c:d":{"data":1,"override":{"presence":{"value":true}}}},
            "meta":{"k":2},"caps":[{"channels":["x:*"],"match":"wildcard","allow":["pub"]}],
            "tenant":"acme","something":"else"}"#;
        let ConnectionGrant { claims, data } = ConnectionGrant::parse(json).unwrap();
        assert_eq!((claims.user.as_str(), claims.tenant.as_str()), ("alice", "acme"));
        assert_eq!(claims.expires_at, Some(1_900_000_000));
        assert_eq!(data.as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(claims.channels, ["a:b"]);
        assert_eq!(claims.subs["c:d"].overrides.presence, Some(true));
        assert_eq!((claims.meta.as_deref(), claims.caps.len()), (Some(r#"{"k":2}"#), 1));
        let nobody = ConnectionGrant::parse(br#"{"expire_at":0}"#).unwrap().claims;
        assert_eq!((nobody.user.as_str(), nobody.expires_at), ("", None));
        assert_eq!(nobody.tenant, crate::Tenant::default());
    }

    #[test]
    fn results_that_cannot_be_meant_are_refused() {
        for bad in [
            "",
            "[]",
            "1",
            r#"{"user":1}"#,
            r#"{"user":"a","user":"b"}"#,
            r#"{"expire_at":"x"}"#,
            r#"{"channels":"a"}"#,
            r#"{"user":"a\u0000"}"#,
            r#"{"tenant":""}"#,
            r#"{"b64info":"?"}"#,
        ] {
            assert!(ConnectionGrant::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        for bad in [r#"{"expired":1}"#, r#"{"expired":"true"}"#, r#"{"expire_at":1e30}"#] {
            assert!(RefreshGrant::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(PublishGrant::parse(br#"{"b64data":"%"}"#).is_err());
        assert!(SubscriptionGrant::parse(br#"{"allow":["all"]}"#).is_err());
    }

    #[test]
    fn an_empty_result_says_yes() {
        assert_eq!(RefreshGrant::parse(b"{}").unwrap(), RefreshGrant::default());
        assert_eq!(PublishGrant::parse(b"{}").unwrap().data, None);
        let grant = SubscriptionGrant::parse(b"{}").unwrap();
        assert_eq!((grant.expires_at, grant.info, grant.allow.len()), (None, None, 0));
        let bytes = PublishGrant::parse(br#"{"data":1,"b64data":"AP8="}"#).unwrap();
        assert_eq!(bytes.data, Some(vec![0, 255]));
    }
}
