//! `POST /v1/publish/…`: events from the app to the bus.
//! Reads: one event or a batch. Writes: the `EVENTS` stream. Never: answers 200 before the stream has
//! acknowledged.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::{Extension, debug_handler};
use bytes::Bytes;
use campana_bus::clock::{self, Micros};
use campana_bus::schedule::When;
use campana_bus::topology::EVENTS;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::not_stored;
use crate::cloudevent::{self, Incoming};
use crate::event::{Address, Prepared, prepare};
use crate::guard::Context;
use crate::input;
use crate::problem::{Problem, ProblemDocument};
use crate::state::Sidecar;

/// Events of a batch that are published at the same time.
const BATCH_CONCURRENCY: usize = 32;

/// Parameters of one event; each is also a header, `campana-tenant` and so on, which goes first.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PublishQuery {
    /// Whose event it is; the sidecar's own tenant if absent.
    tenant: Option<String>,
    /// Events with the same key are kept in order for subscriptions that ask for it; `partitionkey` of a
    /// CloudEvent if absent.
    key: Option<String>,
    /// The same id again within ten minutes is stored once. `id` of a CloudEvent goes first.
    id: Option<String>,
    /// Seconds to wait before the event is told.
    delay: Option<String>,
    /// When the event is told, RFC 3339.
    at: Option<String>,
}

impl PublishQuery {
    /// Headers before parameters.
    fn with(mut self, headers: &HeaderMap) -> Result<Self, Problem> {
        let pairs = [
            ("campana-tenant", &mut self.tenant),
            ("campana-key", &mut self.key),
            ("campana-id", &mut self.id),
            ("campana-delay", &mut self.delay),
            ("campana-at", &mut self.at),
        ];
        for (name, value) in pairs {
            if let Some(header) = input::header(headers, name)? {
                *value = Some(header);
            }
        }
        Ok(self)
    }
}

/// Where an event was stored.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Published {
    /// The event's id.
    #[schema(example = "msg_0198c0ffee0070008000000000000000")]
    id: String,
    /// The stream.
    #[schema(example = "EVENTS")]
    stream: &'static str,
    /// Its sequence in the stream; of its schedule, if it is told later.
    sequence: u64,
    /// Whether the stream already had it.
    duplicate: bool,
    /// Whether it is told later.
    scheduled: bool,
}

/// Publish one event
///
/// The body is JSON, a CloudEvent in structured mode (`application/cloudevents+json`), or the data of a
/// CloudEvent in binary mode (headers `ce-…`). 200 means that the event is stored.
#[utoipa::path(
    post, path = "/v1/publish/{service}/{event}", tag = "events",
    params(
        ("service" = String, Path, description = "The service that tells it", example = "shop"),
        ("event" = String, Path, description = "What happened", example = "order_created"),
        PublishQuery,
    ),
    request_body(content = Object, description = "The event", content_type = "application/json"),
    responses(
        (status = 200, description = "Stored", body = Published),
        (status = "4XX", description = "Refused", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Not stored, or not known to be: repeat it with the same id", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
#[debug_handler]
pub(crate) async fn post_event(
    State(sidecar): State<Sidecar>,
    Extension(context): Extension<Context>,
    Path((service, event)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Published>, Problem> {
    let query = input::query::<PublishQuery>(&uri)?.with(&headers)?;
    let body = input::body(body, &sidecar.options.limits).await?;
    let mut incoming = cloudevent::read(&headers, body)?;
    incoming.id = incoming.id.or(query.id);
    let key = query.key.or_else(|| incoming.partition_key().map(str::to_owned));
    let tenant = query.tenant.unwrap_or_else(|| sidecar.options.tenant.clone());
    let address = Address { tenant, service, event, key };
    let now = clock::now();
    let when = when(query.delay.as_deref(), query.at.as_deref(), &sidecar)?;
    let prepared = prepare(&address, incoming, context.trace, now)?;
    Ok(Json(store(&sidecar, prepared, when).await?))
}

fn when(delay: Option<&str>, at: Option<&str>, sidecar: &Sidecar) -> Result<Option<When>, Problem> {
    use crate::problem::Code;
    match (delay, at) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            Err(Problem::new(Code::InvalidParameter, "delay and at exclude each other"))
        }
        (Some(delay), None) => {
            let pause = input::seconds("delay", delay, sidecar.options.limits.schedule_max)?;
            Ok(Some(When::After(pause)))
        }
        (None, Some(at)) => match Micros::from_rfc3339(at) {
            Some(at) => Ok(Some(When::At(at))),
            None => Err(Problem::new(Code::InvalidParameter, "at is not in RFC 3339 form")),
        },
    }
}

async fn store(
    sidecar: &Sidecar,
    prepared: Prepared,
    when: Option<When>,
) -> Result<Published, Problem> {
    let Prepared { id, message } = prepared;
    let scheduled = when.is_some();
    let stored = match when {
        None => sidecar.bus.publish(message).await.map_err(|error| not_stored(&error))?,
        Some(when) => {
            // A name of its own, so that a repeat replaces it and no schedule of the app is in its way.
            let key = format!("{}/-{}", sidecar.options.name, message.message_id);
            let stored = sidecar.bus.schedule(EVENTS, &key, &when, message).await;
            stored.map_err(|error| super::schedules::problem(&error))?
        }
    };
    Ok(Published {
        id,
        stream: EVENTS,
        sequence: stored.sequence,
        duplicate: stored.duplicate,
        scheduled,
    })
}

/// One event of a batch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchEntry {
    /// The service that tells it.
    service: String,
    /// What happened.
    event: String,
    /// Whose event it is; the sidecar's own tenant if absent.
    tenant: Option<String>,
    /// The ordering key.
    key: Option<String>,
    /// The same id again within ten minutes is stored once.
    id: Option<String>,
    /// The body.
    #[schema(value_type = Object)]
    data: Box<RawValue>,
}

/// Several events.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    /// The events; they are stored one by one, not all or none.
    events: Vec<BatchEntry>,
}

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchPublished {
    /// In the order of the request.
    results: Vec<Published>,
}

/// Publish several events
///
/// All are checked first; then each is stored by itself. 200 means that all are stored. Otherwise the
/// problem's `results` say what became of each; with ids the whole batch may be repeated.
#[utoipa::path(
    post, path = "/v1/publish", tag = "events",
    request_body = Batch,
    responses(
        (status = 200, description = "All stored", body = BatchPublished),
        (status = "4XX", description = "Nothing stored", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Some are not stored, or not known to be", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post_batch(
    State(sidecar): State<Sidecar>,
    Extension(context): Extension<Context>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<BatchPublished>, Problem> {
    let limits = &sidecar.options.limits;
    let batch: Batch = input::json(&headers, body, limits).await?;
    if batch.events.is_empty() || batch.events.len() > limits.batch_max {
        return Err(Problem::at("/events", format!("1 to {} events", limits.batch_max)));
    }
    let now = clock::now();
    let mut prepared = Vec::with_capacity(batch.events.len());
    for (index, entry) in batch.events.into_iter().enumerate() {
        let one = entry.prepare(&sidecar.options.tenant, &context, now);
        prepared.push(one.map_err(|problem| problem.below(&format!("/events/{index}")))?);
    }
    let stores = prepared.into_iter().map(|one| store(&sidecar, one, None));
    let results: Vec<Result<Published, Problem>> =
        futures::stream::iter(stores).buffered(BATCH_CONCURRENCY).collect().await;
    whole(results, &context).map(|results| Json(BatchPublished { results }))
}

/// All results, or the first problem with what became of each.
fn whole(
    results: Vec<Result<Published, Problem>>,
    context: &Context,
) -> Result<Vec<Published>, Problem> {
    let Some(mut first) = results.iter().find_map(|one| one.as_ref().err()).cloned() else {
        return Ok(results.into_iter().flatten().collect());
    };
    let shown = results.iter().map(|one| match one {
        Ok(stored) => serde_json::json!(stored),
        Err(problem) => serde_json::json!({"error": problem.document(&context.request_id)}),
    });
    first.results = Some(shown.collect());
    Err(first)
}

impl BatchEntry {
    fn prepare(self, tenant: &str, context: &Context, now: Micros) -> Result<Prepared, Problem> {
        let address = Address {
            tenant: self.tenant.unwrap_or_else(|| tenant.to_owned()),
            service: self.service,
            event: self.event,
            key: self.key,
        };
        let data = Bytes::from(Box::<str>::from(self.data).into_string());
        let incoming = Incoming { id: self.id, data, ..Incoming::default() };
        prepare(&address, incoming, context.trace.child(), now)
    }
}
