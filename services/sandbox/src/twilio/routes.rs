//! The HTTP side of the Messages API: create, fetch, list.
//!
//! Order of judgement: credentials, scripted faults, the form, magic numbers. A message is kept
//! before the answer is given, so "kept, but the answer was lost" can be played.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, RawForm, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use campana_bus::headers::STAMPS;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::form_urlencoded;

use super::callbacks::Callbacks;
use super::errors::TwilioError;
use super::request::{self, SendRequest};
use super::resource::API_VERSION;
use super::{list, resource, story};
use crate::faults::{Decision, Facts, FaultChannel, Stage, magic_twilio};
use crate::mailbox::{Content, Draft, Message, Sms, preview};
use crate::receipts::Receipt;
use crate::stamp::Stamp;
use crate::state::Shared;
use crate::web::{ConnectionHandle, Fate, interfere};

/// Hexadecimal digits of a SID behind its two letters.
const SID_DIGITS: usize = 32;

#[derive(Debug, Clone)]
pub struct Twilio {
    pub shared: Arc<Shared>,
    pub callbacks: Arc<Callbacks>,
    pub stop: tokio_util::sync::CancellationToken,
}

pub fn router(twilio: Twilio) -> Router {
    let base = format!("/{API_VERSION}/Accounts/{{account}}");
    Router::new()
        .route(&format!("{base}/Messages.json"), get(list_messages).post(create))
        .route(&format!("{base}/Messages/{{file}}"), get(fetch))
        .with_state(twilio)
}

async fn create(
    State(twilio): State<Twilio>,
    Path(account): Path<String>,
    headers: HeaderMap,
    ConnectInfo(connection): ConnectInfo<ConnectionHandle>,
    RawForm(form): RawForm,
) -> Response {
    if let Err(error) = authorize(&twilio.shared, &account, &headers) {
        return error.into_response();
    }
    let received = Stamp::now();
    let fields: Vec<(String, String)> = form_urlencoded::parse(&form).into_owned().collect();
    let to = fields.iter().find(|(name, _)| name == "To").map_or("", |(_, value)| value.as_str());
    let recipients = [to];
    let facts =
        Facts { channel: FaultChannel::Twilio, stage: Stage::Request, recipients: &recipients };
    let mut decision = twilio.shared.faults.decide(&facts);
    let parsed = request::parse(&fields);
    if decision.action.is_none()
        && let Ok(request) = &parsed
    {
        merge_magic(&mut decision, magic_twilio(request.number()));
    }
    let keep = || match &parsed {
        Ok(request) => {
            twilio.note(request, &headers, received);
            twilio.accept(request, &fields, received, &decision)
        }
        Err(error) => error.clone().into_response(),
    };
    match interfere(&decision, &connection, &twilio.stop).await {
        Fate::Answer => keep(),
        Fate::Refuse { status, code, message, retry_after } => {
            TwilioError::scripted(status, code, message, retry_after).into_response()
        }
        Fate::Vanish(vanish) => vanish.take().await,
        Fate::AnswerThenVanish(vanish) => {
            keep();
            vanish.take().await
        }
    }
}

/// A magic number adds to what the rules decided; a scripted outcome wins over it.
fn merge_magic(decision: &mut Decision, magic: Decision) {
    decision.delay += magic.delay;
    decision.action = magic.action;
    decision.outcome = decision.outcome.or(magic.outcome);
    if decision.callbacks == Default::default() {
        decision.callbacks = magic.callbacks;
    }
}

impl Twilio {
    /// Keeps a receipt. A text message has no title, so senders put it into the first line.
    fn note(&self, request: &SendRequest, headers: &HeaderMap, received: Stamp) {
        let (title, body) = request.body.split_once('\n').unwrap_or((&request.body, ""));
        self.shared.receipts.add(&Receipt {
            channel: request.channel,
            received,
            recipient: &request.to,
            title,
            body,
            stamps: headers.get(STAMPS).and_then(|value| value.to_str().ok()),
            answered: StatusCode::CREATED.as_u16(),
            reference: request.status_callback.as_deref(),
        });
    }

    /// Keeps the message, starts its story and answers 201.
    fn accept(
        &self,
        request: &SendRequest,
        fields: &[(String, String)],
        received: Stamp,
        decision: &Decision,
    ) -> Response {
        let sid = self.next_sid(received, fields);
        let mut sms = Sms::new(sid, request.body.clone(), request.num_segments, received);
        sms.num_media = request.num_media;
        sms.messaging_service_sid = request.messaging_service_sid.clone();
        sms.status_callback = request.status_callback.clone();
        sms.fields = fields.to_vec();
        let message = self.shared.mailbox.add(Draft {
            channel: request.channel,
            from: request.from.clone(),
            to: vec![request.to.clone()],
            subject: String::new(),
            preview: preview(&request.body),
            received,
            content: Content::Sms(sms),
        });
        let step = self.shared.options.callbacks.step;
        let events = story::plan(message.channel, step, decision.outcome, &decision.callbacks);
        let body = self.show(&message);
        self.callbacks.play(message, events);
        (StatusCode::CREATED, Json(body)).into_response()
    }

    /// Unique over restarts without a random source: the moment, a count and the content go in.
    fn next_sid(&self, received: Stamp, fields: &[(String, String)]) -> String {
        let mut hash = Sha256::new();
        hash.update(self.shared.next_number().to_be_bytes());
        hash.update(received.at.0.to_be_bytes());
        hash.update(received.monotonic_ns.to_be_bytes());
        for (name, value) in fields {
            hash.update(name.as_bytes());
            hash.update([0]);
            hash.update(value.as_bytes());
            hash.update([0]);
        }
        format!("SM{}", &hex::encode(hash.finalize())[..SID_DIGITS])
    }

    fn show(&self, message: &Message) -> Value {
        match &message.content {
            Content::Sms(sms) => {
                resource::message(&self.shared.options.twilio_account_sid, message, sms)
            }
            _ => Value::Null,
        }
    }
}

async fn fetch(
    State(twilio): State<Twilio>,
    Path((account, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, TwilioError> {
    authorize(&twilio.shared, &account, &headers)?;
    let sid = file.strip_suffix(".json").unwrap_or(&file);
    let has_sid = |message: &Message| matches!(&message.content, Content::Sms(s) if s.sid == sid);
    let found = twilio.shared.mailbox.find(has_sid).ok_or_else(|| TwilioError::of(20_404))?;
    Ok(Json(twilio.show(&found)))
}

async fn list_messages(
    State(twilio): State<Twilio>,
    Path(account): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Value>, TwilioError> {
    authorize(&twilio.shared, &account, &headers)?;
    let raw = raw.unwrap_or_default();
    let fields: Vec<(String, String)> =
        form_urlencoded::parse(raw.as_bytes()).into_owned().collect();
    let query = list::parse(&fields)?;
    let (found, more) = twilio.shared.mailbox.page_of(
        |message| {
            let to = message.to.first().map_or("", String::as_str);
            matches!(message.content, Content::Sms(_))
                && query.wants(to, &message.from, message.received.at)
        },
        query.page.saturating_mul(query.page_size),
        query.page_size,
    );
    let messages: Vec<Value> = found.iter().map(|message| twilio.show(message)).collect();
    let start = query.page.saturating_mul(query.page_size);
    let uri = |page: usize| {
        let rest = fields.iter().filter(|(name, _)| name != "Page");
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(rest).append_pair("Page", &page.to_string());
        format!("/{API_VERSION}/Accounts/{account}/Messages.json?{}", pairs.finish())
    };
    Ok(Json(json!({
        "messages": messages,
        "page": query.page,
        "page_size": query.page_size,
        "start": start,
        "end": start + messages.len().saturating_sub(1),
        "uri": uri(query.page),
        "first_page_uri": uri(0),
        "next_page_uri": more.then(|| uri(query.page + 1)),
        "previous_page_uri": query.page.checked_sub(1).map(uri),
    })))
}

/// Basic authentication with the account's SID and token, compared in constant time.
fn authorize(shared: &Shared, account: &str, headers: &HeaderMap) -> Result<(), TwilioError> {
    let options = &shared.options;
    let wanted = format!("{}:{}", options.twilio_account_sid, options.twilio_auth_token);
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Basic "))
        .and_then(|encoded| STANDARD.decode(encoded.trim()).ok())
        .unwrap_or_default();
    if !bool::from(given.ct_eq(wanted.as_bytes())) {
        return Err(TwilioError::of(20_003));
    }
    if account == options.twilio_account_sid { Ok(()) } else { Err(TwilioError::of(20_404)) }
}
