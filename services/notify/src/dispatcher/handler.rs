//! One envelope: decode, look up, plan, publish, report.
//! Reads: requests and the directory. Writes: `CHANNELS`, `DELIVERIES`, `OUTCOMES`. Never: lets one part
//! of an envelope wait for or fail with another one.
//!
//! Everything of an envelope is published at once, so that the group publishers share one disk write; the
//! `planned` outcomes follow, many in one message, when all of a request's messages are stored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use campana_bus::clock::{self, Micros, Tick};
use campana_bus::consume::{EnvelopeHandler, Failure, Meta};
use campana_bus::publish::{EnvelopePublisher, GroupPublisher, Outgoing, Part, PublishError};
use campana_bus::stamps::{Stage, Stamps};
use campana_bus::{headers, subjects};
use futures::StreamExt;
use futures::future::join_all;
use serde::Serialize;

use super::directory::{Directory, Found, Snapshot, Wanted};
use crate::contracts::{
    Channel, Content, DELIVERY_TYPE, INBOX_TYPE, NotificationRequest, Outcome, OutcomeEvent,
};
use crate::plan::{self, Plan, Recipients};
use crate::telemetry;

/// CloudEvents source of what the dispatcher says.
const SOURCE: &str = "campana/dispatcher";
/// How long a request waits when the store is needed and does not answer. Not an attempt: the request is fine.
const STORE_PAUSE: Duration = Duration::from_secs(3);
/// Messages of one envelope on their way at the same time.
const PUBLISHES_MAX: usize = 4_096;

/// Handles envelopes of requests.
pub struct Dispatcher {
    /// Recipients and templates.
    pub directory: Arc<Directory>,
    /// Publishes to `CHANNELS`.
    pub channels: GroupPublisher,
    /// Publishes to `DELIVERIES`.
    pub deliveries: GroupPublisher,
    /// Publishes to `OUTCOMES`.
    pub outcomes: EnvelopePublisher,
}

type Settled = Result<(), Failure>;

/// A part that was decoded.
struct Item {
    request: NotificationRequest,
    meta: Meta,
    /// What its messages carry, if the sender asked for stamps.
    stamps: Option<String>,
}

/// What one part wants to publish.
enum Work {
    /// Messages, and then the outcome.
    Dispatch(Plan),
    /// Only an outcome; the part then comes back at its time.
    Hold(Duration),
}

impl EnvelopeHandler for Dispatcher {
    async fn handle(&self, parts: Vec<(Part, Meta)>) -> Vec<Settled> {
        let started = clock::monotonic();
        let (now, tick) = (clock::now(), clock::tick());
        let items: Vec<Result<Item, Failure>> =
            parts.into_iter().map(|(part, meta)| decode(&part, meta, tick)).collect();
        let snapshot = self.directory.look_up(wanted(items.iter().flatten(), now)).await;
        let work: Vec<Result<(Item, Work), Failure>> = items
            .into_iter()
            .map(|item| item.and_then(|item| decide(item, &snapshot, now)))
            .collect();
        telemetry::stage("route", started.elapsed());
        self.publish_all(work, now).await
    }

    async fn on_dead(&self, payload: &Bytes, meta: &Meta, reason: &str) -> Settled {
        let Ok(request) = serde_json::from_slice::<NotificationRequest>(payload) else {
            tracing::warn!(
                stream.sequence = meta.sequence,
                reason,
                "a request that cannot be read was parked; it has no notification to report on"
            );
            return Ok(());
        };
        let event =
            OutcomeEvent::Rejected { summary: plan::summary(&request), reason: reason.to_owned() };
        let id = format!("rejected:{}:{}", request.id, meta.redrives);
        let part = outcome(&request, id, event, clock::now())?;
        let mut settled = vec![Ok(())];
        self.report(vec![(0, request.tenant, part)], &mut settled).await;
        settled.pop().unwrap_or(Ok(()))
    }
}

fn decode(part: &Part, meta: Meta, tick: Tick) -> Result<Item, Failure> {
    match serde_json::from_slice::<NotificationRequest>(&part.body) {
        Ok(mut request) => {
            // What it causes hangs below the span that handles it.
            request.trace = request.trace.continued(meta.trace);
            let stamps = request.stamps.as_deref().and_then(Stamps::parse);
            let stamps = stamps.map(|stamps| stamps.with(Stage::Dispatched, tick).to_string());
            Ok(Item { request, meta, stamps })
        }
        // The position of the error is told, the text is not: it may hold personal data.
        Err(error) => Err(Failure::dead(
            "bad_request",
            format!(
                "the request does not decode at line {} column {}",
                error.line(),
                error.column()
            ),
        )),
    }
}

fn is_due(request: &NotificationRequest, now: Micros) -> bool {
    request.send_at.is_none_or(|at| at <= now)
}

fn wanted<'a>(items: impl Iterator<Item = &'a Item>, now: Micros) -> Wanted {
    let mut wanted = Wanted::default();
    for Item { request, .. } in items {
        if !is_due(request, now) {
            continue;
        }
        if let Content::Template { key, .. } = &request.content {
            wanted.templates.insert((request.tenant.clone(), key.clone()));
        }
        wanted
            .recipients
            .extend(request.to.iter().map(|target| (request.tenant.clone(), target.id.clone())));
    }
    wanted
}

fn decide(item: Item, snapshot: &Snapshot, now: Micros) -> Result<(Item, Work), Failure> {
    let request = &item.request;
    if let Some(at) = request.send_at {
        if at > now {
            let wait = Duration::from_micros(u64::try_from(at.since(now)).unwrap_or_default());
            return Ok((item, Work::Hold(wait)));
        }
        telemetry::dispatch_lateness(now.since(at));
    }
    telemetry::queue_wait(now.since(request.send_at.unwrap_or(request.accepted_at)));
    let template = match &request.content {
        Content::Inline { .. } => None,
        Content::Template { key, .. } => {
            match snapshot.templates.get(&(request.tenant.clone(), key.clone())) {
                Some(Found::Yes(parsed)) => Some(
                    parsed
                        .as_ref()
                        .as_ref()
                        .map_err(|error| Failure::dead("template_failed", error))?,
                ),
                Some(Found::No) | None => None,
                Some(Found::Unavailable) => {
                    return Err(Failure::defer(STORE_PAUSE, "the store does not answer"));
                }
            }
        }
    };
    let recipients = recipients(request, snapshot);
    let only_in_app =
        plan::channels(request, template).iter().all(|channel| *channel == Channel::InApp);
    // A bell needs no address, so it rings also while the store is away; everything else waits for it.
    let Some(recipients) = recipients.or_else(|| only_in_app.then(Recipients::new)) else {
        return Err(Failure::defer(STORE_PAUSE, "the store does not answer"));
    };
    match plan::plan(request, &recipients, template, now) {
        Ok(plan) => Ok((item, Work::Dispatch(plan))),
        Err(error) => Err(Failure::dead(error.reason(), error)),
    }
}

/// The people of this request; `None` if the store did not say for one whom the request does not describe.
fn recipients(request: &NotificationRequest, snapshot: &Snapshot) -> Option<Recipients> {
    let mut known = Recipients::new();
    for target in &request.to {
        let found = snapshot.recipients.get(&(request.tenant.clone(), target.id.clone()));
        if matches!(found, Some(Found::Unavailable)) && !target.inline {
            return None;
        }
        known.insert(target.id.clone(), found.and_then(|found| found.get().cloned()));
    }
    Some(known)
}

impl Dispatcher {
    /// Publishes the messages of all parts together, then the outcomes of those that were stored whole.
    async fn publish_all(
        &self,
        work: Vec<Result<(Item, Work), Failure>>,
        now: Micros,
    ) -> Vec<Settled> {
        let started = clock::monotonic();
        let mut settled: Vec<Settled> = Vec::with_capacity(work.len());
        let mut ready: Vec<(usize, Item, Work)> = Vec::with_capacity(work.len());
        for (index, item) in work.into_iter().enumerate() {
            match item {
                Ok((item, work)) => {
                    ready.push((index, item, work));
                    settled.push(Ok(()));
                }
                Err(failure) => settled.push(Err(failure)),
            }
        }
        let mut messages: Vec<(usize, GroupPublisher, Message)> = Vec::new();
        for (index, item, work) in &ready {
            if let Work::Dispatch(plan) = work {
                let (inbox, deliveries) = encode(item, plan, now);
                messages.extend(
                    inbox.into_iter().map(|message| (*index, self.channels.clone(), message)),
                );
                messages.extend(
                    deliveries
                        .into_iter()
                        .map(|message| (*index, self.deliveries.clone(), message)),
                );
            }
        }
        let mut stored = futures::stream::iter(messages)
            .map(|(index, publisher, message)| async move {
                let result = match message {
                    Ok(message) => {
                        publisher.publish(message).await.map_err(|error| publish_failure(&error))
                    }
                    Err(failure) => Err(failure),
                };
                (index, result)
            })
            .buffer_unordered(PUBLISHES_MAX);
        while let Some((index, result)) = stored.next().await {
            if let Err(failure) = result {
                settled[index] = Err(failure);
            }
        }
        drop(stored);
        telemetry::stage("fanout", started.elapsed());
        self.publish_outcomes(ready, &mut settled, started, now).await;
        settled
    }

    async fn publish_outcomes(
        &self,
        ready: Vec<(usize, Item, Work)>,
        settled: &mut [Settled],
        started: Instant,
        now: Micros,
    ) {
        let reports: Vec<(usize, Item, Work)> =
            ready.into_iter().filter(|(index, ..)| settled[*index].is_ok()).collect();
        let mut parts: Vec<(usize, String, Part)> = Vec::with_capacity(reports.len());
        let mut holds = Vec::new();
        for (index, item, work) in reports {
            match report_work(item, work, now) {
                Ok((tenant, part, held)) => {
                    parts.push((index, tenant, part));
                    holds.extend(held.map(|wait| (index, wait)));
                }
                Err(failure) => settled[index] = Err(failure),
            }
        }
        self.report(parts, settled).await;
        for (index, wait) in holds {
            if settled[index].is_ok() {
                telemetry::scheduled();
                settled[index] = Err(Failure::defer(wait, "scheduled"));
            }
        }
        telemetry::stage("persist", started.elapsed());
    }

    /// Stores outcomes, those of a tenant together; what cannot be stored fails its request.
    async fn report(&self, parts: Vec<(usize, String, Part)>, settled: &mut [Settled]) {
        let mut tenants: BTreeMap<String, (Vec<usize>, Vec<Part>)> = BTreeMap::new();
        for (index, tenant, part) in parts {
            let (indices, parts) = tenants.entry(tenant).or_default();
            indices.push(index);
            parts.push(part);
        }
        let stored = tenants.into_iter().map(async |(tenant, (indices, parts))| {
            (indices, self.outcomes.publish_all(&subjects::outcomes(&tenant), parts).await)
        });
        for (indices, results) in join_all(stored).await {
            for (index, result) in indices.into_iter().zip(results) {
                if let Err(error) = result {
                    settled[index] = Err(publish_failure(&error));
                }
            }
        }
    }
}

/// The outcome of one request, and how long it is held if it is not due.
fn report_work(
    item: Item,
    work: Work,
    now: Micros,
) -> Result<(String, Part, Option<Duration>), Failure> {
    let Item { request, meta, .. } = item;
    let summary = plan::summary(&request);
    let (id, event, held) = match work {
        Work::Dispatch(plan) => {
            let id = format!("planned:{}:{}", request.id, meta.redrives);
            (id, OutcomeEvent::Planned { summary, deliveries: plan.planned }, None)
        }
        Work::Hold(wait) => {
            let until = request.send_at.unwrap_or(now);
            let event = OutcomeEvent::Scheduled { summary, until };
            (format!("scheduled:{}", request.id), event, Some(wait))
        }
    };
    let part = outcome(&request, id, event, now)?;
    Ok((request.tenant, part, held))
}

fn outcome(
    request: &NotificationRequest,
    id: String,
    event: OutcomeEvent,
    at: Micros,
) -> Result<Part, Failure> {
    let outcome = Outcome {
        id,
        notification_id: request.id,
        tenant: request.tenant.clone(),
        at,
        trace: request.trace,
        event,
    };
    let body = json(&outcome)?;
    Ok(Part { trace: Some(request.trace), ..Part::new(outcome.id, body) })
}

type Message = Result<Outgoing, Failure>;

/// The inbox messages and the deliveries of one plan.
fn encode(item: &Item, plan: &Plan, now: Micros) -> (Vec<Message>, Vec<Message>) {
    let Item { request, meta, stamps } = item;
    let stamped = |message: Outgoing| match stamps {
        Some(stamps) => message.header(headers::STAMPS, stamps),
        None => message,
    };
    let trace = Some(request.trace);
    let inbox = plan.inbox.iter().map(|inbox| {
        let subject = subjects::channel(&request.tenant, &inbox.channel);
        let message = Outgoing::new(subject, inbox.id.to_string(), json(&inbox.message)?);
        Ok(stamped(message.event(INBOX_TYPE, SOURCE, request.accepted_at, trace)))
    });
    let deliveries = plan.deliveries.iter().map(|delivery| {
        let subject = subjects::deliver(delivery.channel.as_str(), &delivery.tenant);
        let message =
            Outgoing::new(subject, message_id(&delivery.id.to_string(), meta), json(delivery)?)
                .event(DELIVERY_TYPE, SOURCE, now, trace);
        let message = stamped(message);
        // The first copy may be further than the stream remembers message ids: the worker then looks at
        // the ledger before it sends.
        Ok(if meta.redelivered || meta.attempt > 1 || meta.redrives > 0 {
            message.header(headers::REPEAT, "1")
        } else {
            message
        })
    });
    (inbox.collect(), deliveries.collect())
}

/// A redriven request may send again what the first life of the request did not get out.
fn message_id(id: &str, meta: &Meta) -> String {
    if meta.redrives == 0 { id.to_owned() } else { format!("{id}:{}", meta.redrives) }
}

fn json(value: &impl Serialize) -> Result<Bytes, Failure> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| Failure::dead("cannot_encode", error))
}

fn publish_failure(error: &PublishError) -> Failure {
    if matches!(error, PublishError::TooLarge) {
        return Failure::dead("too_large", error);
    }
    Failure::retry(error)
}
