//! Taking orders.
//! Reads: what the page sends. Writes: the order and its event. Never: places one order twice: its number is made of
//! a key that the page chose, so a repeat after a lost answer finds the first one.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use campana_bus::clock;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::App;
use super::problem::{Code, Problem, Wrong};
use crate::store::{Customer, Placed};

const LINES_MAX: usize = 10;
const QUANTITY_MAX: u32 = 99;
const NAME_BYTES_MAX: usize = 200;
/// RFC 5321's longest path.
const EMAIL_BYTES_MAX: usize = 254;
/// A key of a page: 16 random bytes in hexadecimal, or anything of this length.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// `POST /api/orders`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderIn {
    /// Chosen by the page; the same key is the same order.
    key: String,
    /// Who orders.
    name: String,
    /// Where the confirmation goes.
    email: String,
    /// `en` or `es`.
    locale: String,
    /// What.
    lines: Vec<LineIn>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineIn {
    sku: String,
    quantity: u32,
}

/// Places an order: 201 if it is new, 200 if it was there.
pub async fn place(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    if !app.rate.admit(peer.ip(), clock::monotonic()) {
        return Err(Problem::new(Code::RateLimited, "wait a moment before the next order"));
    }
    let body =
        body.map_err(|_| Problem::new(Code::PayloadTooLarge, "an order has at most 16 KiB"))?;
    let order: OrderIn = serde_json::from_slice(&body)
        .map_err(|error| Problem::new(Code::InvalidJson, error.to_string()))?;
    let wrong = check(&order);
    if !wrong.is_empty() {
        return Err(Problem::fields(wrong));
    }
    let number = number(&order.key);
    let lines: Vec<_> = order.lines.into_iter().map(|line| (line.sku, line.quantity)).collect();
    let customer = Customer {
        name: order.name.trim().to_owned(),
        email: order.email.trim().to_owned(),
        locale: order.locale,
    };
    let status = match app.shop.store.place(&number, &customer, &lines, clock::now()).await? {
        Placed::New(_) => StatusCode::CREATED,
        Placed::Before => StatusCode::OK,
        Placed::UnknownProduct(_) => {
            return Err(Problem::fields(vec![Wrong { pointer: "/lines", code: "unknown_value" }]));
        }
        Placed::Taken => {
            let why = "an order with this key is there, and is another one; choose a new key";
            return Err(Problem::new(Code::KeyReused, why));
        }
    };
    app.shop.floor.changed();
    Ok((status, Json(json!({"order": number}))).into_response())
}

/// Every field that breaks a rule; pure.
fn check(order: &OrderIn) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let mut rule = |holds: bool, pointer, code| {
        if !holds {
            wrong.push(Wrong { pointer, code });
        }
    };
    let printable = |text: &str| !text.chars().any(char::is_control);
    let (name, email) = (order.name.trim(), order.email.trim());
    rule(KEY_BYTES.contains(&order.key.len()), "/key", "out_of_range");
    rule(!name.is_empty(), "/name", "empty");
    rule(name.len() <= NAME_BYTES_MAX && printable(name), "/name", "too_long");
    rule(is_email(email), "/email", "invalid_email");
    rule(matches!(order.locale.as_str(), "en" | "es"), "/locale", "unknown_value");
    rule(!order.lines.is_empty(), "/lines", "empty");
    rule(order.lines.len() <= LINES_MAX, "/lines", "too_many");
    let quantities = order.lines.iter().all(|line| (1..=QUANTITY_MAX).contains(&line.quantity));
    rule(quantities, "/lines", "out_of_range");
    let mut skus: Vec<_> = order.lines.iter().map(|line| &line.sku).collect();
    skus.sort_unstable();
    rule(skus.windows(2).all(|pair| pair[0] != pair[1]), "/lines", "duplicate");
    wrong
}

/// Roughly an address; the mail server decides.
fn is_email(text: &str) -> bool {
    let plain = text.len() <= EMAIL_BYTES_MAX
        && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    plain
        && text.split_once('@').is_some_and(|(user, host)| {
            !user.is_empty()
                && host.contains('.')
                && !host.starts_with('.')
                && !host.ends_with('.')
                && !host.contains('@')
        })
}

/// The order's number: short enough to be read out, and nothing that a visitor could choose. With 64 bits, two of a
/// hundred million orders meet with a chance of one in 3,700; the store then refuses the second one.
fn number(key: &str) -> String {
    format!("s-{}", hex::encode(&Sha256::digest(key.as_bytes())[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(change: impl FnOnce(&mut OrderIn)) -> Vec<(&'static str, &'static str)> {
        let mut order = OrderIn {
            key: "0123456789abcdef".to_owned(),
            name: "Ana".to_owned(),
            email: "ana@example.com".to_owned(),
            locale: "es".to_owned(),
            lines: vec![LineIn { sku: "bell-door".to_owned(), quantity: 1 }],
        };
        change(&mut order);
        check(&order).into_iter().map(|wrong| (wrong.pointer, wrong.code)).collect()
    }

    #[test]
    fn every_rule_has_its_name() {
        assert!(order(|_| {}).is_empty());
        assert_eq!(order(|o| o.key = "short".to_owned()), [("/key", "out_of_range")]);
        assert_eq!(order(|o| o.name = "  ".to_owned()), [("/name", "empty")]);
        assert_eq!(order(|o| o.email = "ana@example".to_owned()), [("/email", "invalid_email")]);
        assert_eq!(order(|o| o.locale = "fr".to_owned()), [("/locale", "unknown_value")]);
        assert_eq!(order(|o| o.lines.clear()), [("/lines", "empty")]);
        assert_eq!(order(|o| o.lines[0].quantity = 0), [("/lines", "out_of_range")]);
        assert_eq!(
            order(|o| o.lines.push(LineIn { sku: "bell-door".to_owned(), quantity: 2 })),
            [("/lines", "duplicate")]
        );
    }

    #[test]
    fn the_same_key_is_the_same_number() {
        assert_eq!(number("a"), number("a"));
        assert_ne!(number("a"), number("b"));
    }
}
