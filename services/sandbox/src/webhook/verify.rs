//! Whether a Standard Webhooks signature holds. The cryptography and the clock tolerance are the
//! standard's own library; this module names the outcomes.

use axum::http::HeaderMap;
use standardwebhooks::{HEADER_WEBHOOK_SIGNATURE, Webhook};

use crate::mailbox::Verification;

/// Octets of the longest secret text.
const MAX_SECRET: usize = 256;

pub fn verify(secret: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Verification {
    if !headers.contains_key(HEADER_WEBHOOK_SIGNATURE) {
        return Verification::Unsigned;
    }
    let Some(secret) = secret else {
        return Verification::Unchecked;
    };
    let checked = Webhook::new(secret).and_then(|webhook| webhook.verify(body, headers));
    match checked {
        Ok(()) => Verification::Verified,
        Err(error) => Verification::Bad { reason: error.to_string() },
    }
}

/// Says what is wrong with a secret, or nothing.
pub fn check_secret(secret: &str) -> Result<(), &'static str> {
    let bare = secret.strip_prefix("whsec_").unwrap_or(secret);
    if bare.is_empty() || secret.len() > MAX_SECRET || Webhook::new(secret).is_err() {
        return Err("secret must be whsec_ followed by Base64");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn signed(secret: &str, seconds: i64, body: &[u8]) -> HeaderMap {
        let signature = Webhook::new(secret).unwrap().sign("msg_1", seconds, body).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "msg_1".parse().unwrap());
        headers.insert("webhook-timestamp", seconds.to_string().parse().unwrap());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    #[test]
    fn every_outcome() {
        let now = campana_bus::clock::now().0 / 1_000_000;
        let headers = signed(SECRET, now, b"{}");
        assert_eq!(verify(Some(SECRET), &headers, b"{}"), Verification::Verified);
        assert_eq!(verify(None, &headers, b"{}"), Verification::Unchecked);
        assert_eq!(verify(Some(SECRET), &HeaderMap::new(), b"{}"), Verification::Unsigned);
        let bad = |headers: &HeaderMap, body: &[u8]| match verify(Some(SECRET), headers, body) {
            Verification::Bad { reason } => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(bad(&headers, b"{ }"), "signature invalid");
        let other = signed("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", now, b"{}");
        assert_eq!(bad(&other, b"{}"), "signature invalid");
        assert_eq!(bad(&signed(SECRET, now - 3_600, b"{}"), b"{}"), "signature timestamp too old");
        let mut missing = headers.clone();
        missing.remove("webhook-id");
        assert_eq!(bad(&missing, b"{}"), "missing header id");
    }

    #[test]
    fn secrets_are_checked_when_they_are_set() {
        assert!(check_secret(SECRET).is_ok());
        for wrong in ["", "whsec_", "whsec_not base64", &"A".repeat(300)] {
            assert!(check_secret(wrong).is_err(), "{wrong}");
        }
    }
}
