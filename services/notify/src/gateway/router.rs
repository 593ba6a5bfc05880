//! All routes of the gateway and the layers around them, and the document that describes them.
//! Reads and writes: nothing by itself.

use std::any::Any;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING,
};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::{Response as OpenApiResponse, ResponseBuilder};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::options::GatewayOptions;
use super::problem::{Code, Problem};
use super::state::App;
use super::{
    auth, callbacks, context, counts, dead_letters, demo, inbox, notifications, pages, recipients,
    status, templates, tokens,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Campana",
        description = "Send notifications to browsers, e-mail, SMS, WhatsApp and webhooks. \
                       Errors are RFC 9457 problem documents with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "notifications", description = "Send, and see what became of it"),
        (name = "recipients", description = "People, their addresses and preferences"),
        (name = "templates", description = "Message templates"),
        (name = "tokens", description = "Connection tokens for browsers"),
        (name = "inbox", description = "For the bell in the browser"),
        (name = "callbacks", description = "For providers"),
        (name = "dead letters", description = "What was given up: look, correct, redrive, discard"),
    ),
    modifiers(&Schemes)
)]
struct Api;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_with(Default::default);
        let bearer = |format: &str, text: &str| {
            SecurityScheme::Http(
                HttpBuilder::new()
                    .scheme(HttpAuthScheme::Bearer)
                    .bearer_format(format)
                    .description(Some(text))
                    .build(),
            )
        };
        components.add_security_scheme(
            "api_key",
            bearer("ck_…", "An API key; roles reader, sender, admin"),
        );
        components.add_security_scheme(
            "connection_token",
            bearer("JWT", "The token that the browser connects with"),
        );
    }
}

/// Routes by who may call them.
struct Groups {
    reader: OpenApiRouter<App>,
    sender: OpenApiRouter<App>,
    admin: OpenApiRouter<App>,
    others: OpenApiRouter<App>,
}

impl Groups {
    fn new() -> Self {
        Self {
            reader: OpenApiRouter::new()
                .routes(routes!(status::get_notification))
                .routes(routes!(status::list_notifications))
                .routes(routes!(counts::get_counts))
                .routes(routes!(recipients::get_recipient))
                .routes(routes!(recipients::list_recipients))
                .routes(routes!(templates::get_template))
                .routes(routes!(templates::list_templates)),
            sender: OpenApiRouter::new()
                .routes(routes!(notifications::post_notification))
                .routes(routes!(notifications::post_batch))
                .routes(routes!(tokens::post_token)),
            admin: OpenApiRouter::new()
                .routes(routes!(recipients::put_recipient))
                .routes(routes!(recipients::delete_recipient))
                .routes(routes!(templates::put_template))
                .routes(routes!(templates::delete_template))
                .routes(routes!(dead_letters::list_dead_letters))
                .routes(routes!(dead_letters::get_dead_letter))
                .routes(routes!(dead_letters::delete_dead_letter))
                .routes(routes!(dead_letters::post_dead_letter_redrive))
                .routes(routes!(dead_letters::redrives::post_redrive))
                .routes(routes!(dead_letters::redrives::list_redrives))
                .routes(routes!(dead_letters::redrives::get_redrive))
                .routes(routes!(dead_letters::redrives::post_redrive_cancel)),
            others: OpenApiRouter::with_openapi(Api::openapi())
                .routes(routes!(inbox::post_read))
                .routes(routes!(inbox::post_seen))
                .routes(routes!(inbox::post_archive))
                .routes(routes!(inbox::post_unarchive))
                .routes(routes!(callbacks::post_twilio)),
        }
    }

    /// Joined, with the layer that each group needs.
    fn guarded(self, app: &App) -> OpenApiRouter<App> {
        let Self { reader, sender, admin, others } = self;
        others
            .merge(reader.route_layer(from_fn_with_state(app.clone(), auth::reader)))
            .merge(sender.route_layer(from_fn_with_state(app.clone(), auth::sender)))
            .merge(admin.route_layer(from_fn_with_state(app.clone(), auth::admin)))
    }

    fn document(self) -> utoipa::openapi::OpenApi {
        let Self { reader, sender, admin, others } = self;
        let mut document = others.merge(reader).merge(sender).merge(admin).into_openapi();
        for item in document.paths.paths.values_mut() {
            let methods = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
            for operation in methods.into_iter().flatten() {
                let any = RefOr::T(any_other_problem());
                operation.responses.responses.entry("default".to_owned()).or_insert(any);
            }
        }
        document
    }
}

/// What the layers around every operation may answer: no key, too many requests, too slow, not JSON, …
fn any_other_problem() -> OpenApiResponse {
    let schema = Ref::from_schema_name("ProblemDocument");
    ResponseBuilder::new()
        .description("Any other problem; its code has a page in docs/errors")
        .content("application/problem+json", ContentBuilder::new().schema(Some(schema)).build())
        .build()
}

/// The OpenAPI 3.1 document of the gateway, as pretty JSON; the same text at every call.
#[must_use]
pub fn openapi() -> String {
    let mut text = serde_json::to_string_pretty(&Groups::new().document())
        .expect("an OpenAPI document of texts, numbers and lists always encodes");
    text.push('\n');
    text
}

/// Up to this size an unread body is read to its end after the answer, and the connection goes on.
const DRAINED_BYTES: u64 = 16 * 1024;

/// The whole HTTP service.
pub(super) fn router(app: &App) -> Router {
    let (api, _) = Groups::new().guarded(app).split_for_parts();
    let document = openapi();
    let swagger: Router<App> =
        SwaggerUi::new("/docs").config(Config::from("/openapi.json").validator_url("none")).into();
    let front = app
        .deps
        .front
        .clone()
        .map_or_else(|| Router::new().route("/", get(pages::page)), |front| front.with_state(()));
    api.merge(swagger)
        .merge(front)
        .route("/openapi.json", get(move || openapi_json(document.clone())))
        .route("/bell", get(pages::page))
        .route("/demo", get(pages::page))
        .route("/examples", get(pages::examples))
        .route("/demo/session", post(demo::post_session))
        .route("/assets/{name}", get(pages::asset))
        .fallback(|| async { Problem::new(Code::NotFound, "there is no such address; see /docs") })
        .method_not_allowed_fallback(|| async {
            Problem::new(Code::MethodNotAllowed, "see /docs for the methods of this address")
        })
        .layer(from_fn(plain_errors))
        .layer(from_fn(announce_close))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(app.clone(), context::observe))
        .layer(cors(&app.options))
        .with_state(app.clone())
}

async fn openapi_json(document: String) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], document).into_response()
}

/// A body that was refused unread makes the server close the connection. Saying so keeps a client from
/// sending its next request into it (RFC 9112 §9.6).
async fn announce_close(request: Request, next: Next) -> Response {
    let length = request
        .headers()
        .get(CONTENT_LENGTH)
        .map(|length| length.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX));
    let chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let mut response = next.run(request).await;
    let refused = response.status().is_client_error() || response.status().is_server_error();
    if refused && (chunked || length.is_some_and(|bytes| bytes > DRAINED_BYTES)) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Rejections of the framework itself (a path that is not UTF-8, say) become problems too.
async fn plain_errors(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_problem = response.extensions().get::<super::problem::Pending>().is_some();
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let code = match status.as_u16() {
        404 => Code::NotFound,
        405 => Code::MethodNotAllowed,
        408 => Code::RequestTimeout,
        413 => Code::PayloadTooLarge,
        415 => Code::UnsupportedMediaType,
        400..=499 => Code::InvalidParameter,
        _ => Code::Internal,
    };
    Problem::new(code, "the request could not be read").into_response()
}

fn panicked(cause: Box<dyn Any + Send + 'static>) -> Response {
    let text = cause
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| cause.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(panic = text, "a request's handler panicked");
    Problem::new(Code::Internal, "the request was not handled; quote the request id")
        .into_response()
}

fn cors(options: &GatewayOptions) -> CorsLayer {
    let origin = if options.cors_origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(
            options.cors_origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()),
        )
    };
    let header = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            header("idempotency-key"),
            header("traceparent"),
            header("x-request-id"),
        ])
        .expose_headers([
            header("x-request-id"),
            header("traceparent"),
            header("idempotent-replayed"),
            header("ratelimit-limit"),
            header("ratelimit-remaining"),
            header("ratelimit-reset"),
            header("retry-after"),
        ])
        .max_age(Duration::from_secs(600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_stable_and_complete() {
        let text = openapi();
        assert_eq!(text, openapi());
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let mut operations = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            operations.extend(
                methods.as_object().unwrap().keys().map(|method| format!("{method} {path}")),
            );
        }
        operations.sort();
        assert_eq!(
            operations,
            [
                "delete /v1/dead-letters/{id}",
                "delete /v1/recipients/{id}",
                "delete /v1/templates/{key}",
                "get /v1/dead-letters",
                "get /v1/dead-letters/{id}",
                "get /v1/notifications",
                "get /v1/notifications/counts",
                "get /v1/notifications/{id}",
                "get /v1/recipients",
                "get /v1/recipients/{id}",
                "get /v1/redrives",
                "get /v1/redrives/{id}",
                "get /v1/templates",
                "get /v1/templates/{key}",
                "post /v1/callbacks/twilio/{tenant}/{notification_id}/{delivery_id}",
                "post /v1/dead-letters/{id}/redrive",
                "post /v1/inbox/archive",
                "post /v1/inbox/read",
                "post /v1/inbox/seen",
                "post /v1/inbox/unarchive",
                "post /v1/notifications",
                "post /v1/notifications/batch",
                "post /v1/redrives",
                "post /v1/redrives/{id}/cancel",
                "post /v1/tokens",
                "put /v1/recipients/{id}",
                "put /v1/templates/{key}",
            ]
        );
        for scheme in ["api_key", "connection_token"] {
            assert!(document["components"]["securitySchemes"][scheme].is_object(), "{scheme}");
        }
        // Every reference leads somewhere.
        for reference in text.split("\"$ref\": \"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }
}
