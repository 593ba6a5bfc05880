//! `POST /v1/callbacks/twilio/{tenant}/{notification_id}/{delivery_id}`: Twilio tells what became of a
//! message.
//! Reads: the account's auth token. Writes: `OUTCOMES`. Never: believes an unsigned callback, or the
//! request's Host header; the signature covers the public URL that is configured here, and with it the
//! path, so a caller cannot move a genuine callback to another delivery.

use std::collections::{BTreeMap, BTreeSet};

use axum::Extension;
use axum::body::Body;
use axum::extract::{OriginalUri, Path, State};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use campana_bus::clock;
use campana_bus::ids::{DeliveryId, MessageId, NotificationId};
use hmac::{Hmac, Mac as _};
use secrecy::ExposeSecret as _;
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

use super::body;
use super::context::RequestContext;
use super::inbox::publish_outcome;
use super::problem::{Code, Problem, ProblemDocument};
use super::state::App;
use crate::contracts::{DeliveryStatus, Outcome, OutcomeEvent};

const FORM_BYTES_MAX: usize = 64 * 1024;

/// Fields of a form: every value of every name.
type Form = BTreeMap<String, BTreeSet<String>>;

/// Twilio's status callback
///
/// The SMS and WhatsApp workers put this address into each message that they send; `generation` counts
/// the redrives of the delivery.
#[utoipa::path(
    post, path = "/v1/callbacks/twilio/{tenant}/{notification_id}/{delivery_id}", tag = "callbacks",
    params(
        ("tenant" = String, Path, description = "Whose delivery"),
        ("notification_id" = String, Path, description = "Its notification"),
        ("delivery_id" = String, Path, description = "The delivery"),
        ("generation" = Option<u32>, Query, description = "Redrives of the delivery, default 0"),
        ("X-Twilio-Signature" = String, Header, description = "HMAC-SHA1 over the public URL and the form"),
    ),
    request_body(content = String, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 204, description = "Noted"),
        (status = 403, description = "The signature is wrong", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "No such address", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Not stored; try again", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn post_twilio(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    Path((tenant, notification, delivery)): Path<(String, String, String)>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let form = body::raw_bytes(body, FORM_BYTES_MAX, &app.options).await?;
    let form = parse_form(&form);
    let given =
        headers.get("x-twilio-signature").and_then(|value| value.to_str().ok()).unwrap_or("");
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    let token = app.deps.twilio_auth_token.as_ref().map(|token| token.expose_secret());
    if !token.is_some_and(|token| is_signed(token, &app.deps.public_url, path, &form, given)) {
        return Err(Problem::new(
            Code::InvalidSignature,
            "the header X-Twilio-Signature does not match this request",
        ));
    }
    let wrong_path = || Problem::new(Code::NotFound, "there is no such callback address");
    let notification_id: NotificationId = notification.parse().map_err(|_| wrong_path())?;
    let delivery_id: DeliveryId = delivery.parse().map_err(|_| wrong_path())?;
    let generation = generation(uri.query()).ok_or_else(wrong_path)?;
    let Some((status, reason)) = meaning(&form) else {
        return Ok(StatusCode::NO_CONTENT);
    };
    let parts = [
        "confirmed",
        &delivery,
        status.as_str(),
        reason.as_deref().unwrap_or(""),
        &generation.to_string(),
    ];
    let outcome = Outcome {
        id: MessageId::derived(&parts).to_string(),
        notification_id,
        tenant,
        at: clock::now(),
        trace: context.trace,
        event: OutcomeEvent::Confirmed { delivery_id, status, reason, generation },
    };
    publish_outcome(&app, &outcome).await.map_err(|error| {
        tracing::warn!("a provider's confirmation was not stored: {error}");
        Problem::new(Code::Unavailable, "the callback was not stored; repeat it").retry_after(1)
    })?;
    Ok(StatusCode::NO_CONTENT)
}

fn generation(query: Option<&str>) -> Option<u32> {
    let mut pairs = url::form_urlencoded::parse(query.unwrap_or("").as_bytes());
    pairs.find(|(name, _)| name == "generation").map_or(Some(0), |(_, value)| value.parse().ok())
}

fn parse_form(bytes: &[u8]) -> Form {
    let mut form = Form::new();
    for (name, value) in url::form_urlencoded::parse(bytes) {
        form.entry(name.into_owned()).or_default().insert(value.into_owned());
    }
    form
}

/// Twilio signs the full URL followed by each name and value, names sorted, repeated values sorted and
/// once each; and it signs with or without the port of the URL.
fn is_signed(token: &str, public_url: &str, path: &str, form: &Form, given: &str) -> bool {
    let base = public_url.trim_end_matches('/');
    port_variants(base).iter().any(|base| {
        let expected = signature(token, &format!("{base}{path}"), form);
        expected.as_bytes().ct_eq(given.as_bytes()).into()
    })
}

fn signature(token: &str, url: &str, form: &Form) -> String {
    let mut mac =
        Hmac::<Sha1>::new_from_slice(token.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(url.as_bytes());
    for (name, values) in form {
        for value in values {
            mac.update(name.as_bytes());
            mac.update(value.as_bytes());
        }
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

fn port_variants(base: &str) -> Vec<String> {
    let mut variants = vec![base.to_owned()];
    if let Ok(url) = url::Url::parse(base)
        && let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default())
    {
        for variant in
            [format!("{}://{host}", url.scheme()), format!("{}://{host}:{port}", url.scheme())]
        {
            if !variants.contains(&variant) {
                variants.push(variant);
            }
        }
    }
    variants
}

/// What a callback says; `None` for steps on the way, which the attempt has already told.
fn meaning(form: &Form) -> Option<(DeliveryStatus, Option<String>)> {
    let field = |name: &str| form.get(name).and_then(|values| values.first()).map(String::as_str);
    let code =
        || {
            let digits = field("ErrorCode").filter(|code| {
                (1..=6).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit())
            });
            Some(digits.map_or_else(
                || "twilio_undelivered".to_owned(),
                |digits| format!("twilio_{digits}"),
            ))
        };
    match field("MessageStatus").or_else(|| field("SmsStatus"))? {
        "sent" => Some((DeliveryStatus::Sent, None)),
        "delivered" | "read" => Some((DeliveryStatus::Delivered, None)),
        "undelivered" | "failed" => Some((DeliveryStatus::Failed, code())),
        "canceled" => Some((DeliveryStatus::Canceled, Some("twilio_canceled".to_owned()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Twilio's own libraries (`request_validator`), so that it is not only our word.
    #[test]
    fn the_published_example_verifies() {
        let form = parse_form(b"CallSid=CA1234567890ABCDE&Digits=1234&From=%2B14158675309&To=%2B18005551212&Caller=%2B14158675309");
        let (token, path) = ("12345", "/myapp.php?foo=1&bar=2");
        let signature = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
        assert!(is_signed(token, "https://mycompany.com", path, &form, signature));
        assert!(is_signed(token, "https://mycompany.com:443", path, &form, signature));
        assert!(!is_signed(token, "https://evil.com", path, &form, signature));
        assert!(!is_signed("54321", "https://mycompany.com", path, &form, signature));
        assert!(!is_signed(token, "https://mycompany.com", "/myapp.php?foo=1", &form, signature));
        assert!(!is_signed(token, "https://mycompany.com", path, &form, ""));
        let more = parse_form(b"CallSid=CA1234567890ABCDE&Digits=1234&From=%2B14158675309&To=%2B18005551212&Caller=%2B14158675309&X=1");
        assert!(!is_signed(token, "https://mycompany.com", path, &more, signature));
    }

    #[test]
    fn only_final_words_become_outcomes() {
        let of = |text: &str| meaning(&parse_form(text.as_bytes()));
        assert_eq!(of("MessageStatus=queued"), None);
        assert_eq!(of(""), None);
        assert_eq!(of("MessageStatus=sent"), Some((DeliveryStatus::Sent, None)));
        assert_eq!(of("MessageStatus=read"), Some((DeliveryStatus::Delivered, None)));
        assert_eq!(
            of("MessageStatus=undelivered&ErrorCode=30003"),
            Some((DeliveryStatus::Failed, Some("twilio_30003".to_owned())))
        );
        assert_eq!(
            of("MessageStatus=failed&ErrorCode=%0Ainjected"),
            Some((DeliveryStatus::Failed, Some("twilio_undelivered".to_owned())))
        );
    }

    #[test]
    fn the_generation_defaults_to_the_first_life() {
        assert_eq!(
            (generation(None), generation(Some("generation=2")), generation(Some("generation=x"))),
            (Some(0), Some(2), None)
        );
    }
}
