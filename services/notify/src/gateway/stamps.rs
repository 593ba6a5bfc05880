//! Stage stamps for senders that ask for them with the header `Campana-Stamps: 1`.
//! Reads: the request's header, the machine's monotonic clock. Writes: the answer's header.
//! Never: stamps what nobody asked for, takes a caller's own stamps.

use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use campana_bus::clock;
use campana_bus::stamps::{Stage, Stamps};

use super::options::GatewayOptions;

/// Asks for stamps, and brings them back.
const HEADER: HeaderName = HeaderName::from_static("campana-stamps");
/// The one value that asks; anything else, a text with stamps too, is no question.
const WANTED: &[u8] = b"1";

/// Whether the caller asks for stamps and may have them.
pub(super) fn asked(headers: &HeaderMap, options: &GatewayOptions) -> bool {
    options.stamps && headers.get(HEADER).is_some_and(|value| value.as_bytes() == WANTED)
}

/// The stamp of a request that has just been checked.
pub(super) fn accepted(asked: bool) -> Option<Stamps> {
    asked.then(|| Stamps::begin(Stage::Accepted, clock::tick()))
}

/// The same, now that the stream has acknowledged it.
pub(super) fn stored(stamps: Option<Stamps>) -> Option<Stamps> {
    stamps.map(|stamps| stamps.with(Stage::Stored, clock::tick()))
}

/// Puts them into the answer.
pub(super) fn show(mut response: Response, stamps: Option<Stamps>) -> Response {
    let value = stamps.and_then(|stamps| HeaderValue::try_from(stamps.to_string()).ok());
    if let Some(value) = value {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_value_asks_and_only_while_the_option_is_on() {
        let on = GatewayOptions::default();
        let asks = |value: &[u8], options: &GatewayOptions| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_bytes(value).unwrap());
            asked(&headers, options)
        };
        assert!(asks(b"1", &on));
        for other in [&b""[..], b"0", b"1, 1", b"true", b"\xff", b"boot=00000000;accepted=1"] {
            assert!(!asks(other, &on), "{other:?}");
        }
        assert!(!asked(&HeaderMap::new(), &on));
        assert!(!asks(b"1", &GatewayOptions { stamps: false, ..on }));
    }
}
