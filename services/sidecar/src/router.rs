//! All routes of the sidecar and the layers around them, and the document that describes them.
//! Reads and writes: nothing by itself.

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{calls, dead_letters, deliveries, health, kv, publish, schedules, subscriptions};
use crate::declare::Declaration;
use crate::guard;
use crate::problem::{Code, Problem};
use crate::state::Sidecar;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Campana sidecar",
        description = "The bus for programs in any language, over HTTP on the same machine. \
                       Errors are RFC 9457 problem documents with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "events", description = "Tell events"),
        (name = "subscriptions", description = "What the app takes; it declares this itself, see `Declaration`"),
        (name = "deliveries", description = "What the app says about a message in hand apart from its answer"),
        (name = "calls", description = "Ask services"),
        (name = "state", description = "Key-value store"),
        (name = "schedules", description = "Events that are told later"),
        (name = "health", description = "For probes"),
    ),
    components(schemas(Declaration)),
    modifiers(&Token)
)]
struct Api;

struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_with(Default::default);
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The sidecar's token, if it was started with one"))
            .build();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

fn routes() -> OpenApiRouter<Sidecar> {
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(publish::post_event))
        .routes(routes!(publish::post_batch))
        .routes(routes!(subscriptions::list_subscriptions))
        .routes(routes!(subscriptions::post_reload))
        .routes(routes!(deliveries::get_delivery))
        .routes(routes!(deliveries::post_ack))
        .routes(routes!(deliveries::post_retry))
        .routes(routes!(deliveries::post_dead_letter))
        .routes(routes!(deliveries::post_extend))
        .routes(routes!(dead_letters::list_dead_letters))
        .routes(routes!(calls::post_call))
        .routes(routes!(kv::get_entry, kv::put_entry, kv::delete_entry))
        .routes(routes!(kv::list_keys))
        .routes(routes!(
            schedules::put_schedule,
            schedules::get_schedule,
            schedules::delete_schedule
        ))
        .routes(routes!(schedules::list_schedules))
        .routes(routes!(health::get_healthz))
        .routes(routes!(health::get_readyz))
}

/// The OpenAPI document of the sidecar.
#[must_use]
pub fn openapi() -> String {
    let (_, document) = routes().split_for_parts();
    let mut text =
        document.to_pretty_json().expect("a document of texts and numbers always encodes");
    text.push('\n');
    text
}

/// The whole HTTP service.
pub(crate) fn router(sidecar: &Sidecar) -> Router {
    let (api, _) = routes().split_for_parts();
    let document = openapi();
    api.route("/openapi.json", get(move || openapi_json(document.clone())))
        .route("/metrics", get(health::get_metrics))
        .fallback(|| async {
            Problem::new(Code::NotFound, "there is no such address; see /openapi.json")
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                Code::MethodNotAllowed,
                "see /openapi.json for the methods of this address",
            )
        })
        .layer(from_fn_with_state(sidecar.clone(), guard::admit))
        .layer(from_fn(guard::plain_errors))
        .layer(CatchPanicLayer::custom(guard::panicked))
        .layer(from_fn(guard::observe))
        .with_state(sidecar.clone())
}

async fn openapi_json(document: String) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], document).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_stable_complete_and_committed() {
        let text = openapi();
        assert_eq!(text, openapi());
        let committed = std::fs::read_to_string(
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/openapi.json"),
        );
        // No `assert_eq`: it would print both documents.
        assert!(committed.is_ok_and(|committed| committed == text), "run `cargo xtask gen`");
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let operations: usize = paths.values().map(|path| path.as_object().unwrap().len()).sum();
        assert_eq!(operations, 21);
        // Every reference leads somewhere.
        for reference in text.split("\"$ref\": \"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
        assert!(document["components"]["schemas"]["Subscription"].is_object());
    }
}
