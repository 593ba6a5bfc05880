//! Which versions of an event a reader takes, and how a body becomes the reader's type.
//! Reads: headers, bodies, a given time. Writes: nothing. Never: reads a clock in what decides.

use std::fmt;
use std::future::{Future, ready};
use std::marker::PhantomData;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde_json::Value;

use super::cloudevent::{self, CloudEvent};
use crate::clock::{self, Micros};
use crate::consume::{Failure, Handler, Meta};
use crate::event::Event;
use crate::headers;

/// How long an event of a newer version waits for a reader that knows it, counted from when it happened. A rolling
/// deployment has to put the first new reader to work within this time.
pub const NEWER_PATIENCE: Duration = Duration::from_secs(3_600);
/// The first wait of such an event; each one is half of the event's age.
pub const NEWER_PAUSE_MIN: Duration = Duration::from_secs(5);
/// The longest wait of such an event.
pub const NEWER_PAUSE_MAX: Duration = Duration::from_secs(300);
/// A time attribute that lies further in the future is not believed.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// Why a body of an older version cannot be brought to the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpcastError(String);

impl UpcastError {
    /// Says what is wrong with the body; becomes part of the dead letter, so no personal data.
    pub fn new(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }
}

impl fmt::Display for UpcastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UpcastError {}

/// The version of a message's body, if a reader of `E` takes it now; without a type attribute the reader's own.
///
/// # Errors
/// What becomes of the message instead: dead as `unexpected_type`, put off, or dead as `unsupported_version`.
pub fn accept<E: Event>(headers: &HeaderMap, now: Micros) -> Result<u32, Failure> {
    let Some(event_type) = header(headers, headers::CE_TYPE) else {
        return Ok(E::VERSION);
    };
    let version = match version_of::<E>(event_type) {
        Some(version) => version,
        None => foreign::<E>(event_type)?,
    };
    let told_at =
        || Micros::from_rfc3339(&super::percent_decode(header(headers, headers::CE_TIME)?)?);
    take::<E>(version, told_at, now)
}

/// A writer may have encoded more of the type than it must; anything else is another type.
fn foreign<E: Event>(event_type: &str) -> Result<u32, Failure> {
    super::percent_decode(event_type).and_then(|plain| version_of::<E>(&plain)).ok_or_else(|| {
        let shown: String = event_type.chars().take(100).collect();
        Failure::dead(
            "unexpected_type",
            format!("ce-type is {shown:?}, expected {}.{}.v1 or later", E::SERVICE, E::NAME),
        )
    })
}

fn take<E: Event>(
    version: u32,
    told_at: impl FnOnce() -> Option<Micros>,
    now: Micros,
) -> Result<u32, Failure> {
    if version <= E::VERSION {
        return Ok(version);
    }
    let why = format!(
        "{}.{} has version {version}, this process knows up to {}",
        E::SERVICE,
        E::NAME,
        E::VERSION
    );
    let age = told_at().map(|at| now.since(at)).and_then(|age| {
        let believable = age >= -i64::try_from(CLOCK_SKEW.as_micros()).unwrap_or(i64::MAX);
        believable.then(|| Duration::from_micros(u64::try_from(age).unwrap_or(0)))
    });
    Err(match age {
        Some(age) if age >= NEWER_PATIENCE => Failure::dead(
            "unsupported_version",
            format!("{why}, for {} s: deploy a newer consumer, then redrive", age.as_secs()),
        ),
        Some(age) => Failure::defer((age / 2).clamp(NEWER_PAUSE_MIN, NEWER_PAUSE_MAX), why),
        // Nobody knows how long it has been waiting, so its attempts are the limit.
        None => Failure::retry_after(NEWER_PAUSE_MAX, why),
    })
}

/// The number of `service.name.vN`; `None` for anything else.
fn version_of<E: Event>(event_type: &str) -> Option<u32> {
    let digits = event_type
        .strip_prefix(E::SERVICE)?
        .strip_prefix('.')?
        .strip_prefix(E::NAME)?
        .strip_prefix(".v")?;
    let canonical = !digits.starts_with(['0', '+']);
    digits.parse().ok().filter(|_| canonical)
}

/// Header names of CloudEvents have no case; ours are lower case, so the exact look-up comes first.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers::get(headers, name).or_else(|| headers::get_any_case(headers, name))
}

/// The event in a message, whatever its version and content mode (binary or structured CloudEvents, plain JSON).
///
/// # Errors
/// As [`accept`]; dead as `not_a_cloudevent`, `cannot_upcast` or `undecodable` if the body is not what it says.
pub fn decode<E: Event>(body: &[u8], headers: &HeaderMap, now: Micros) -> Result<E, Failure> {
    if cloudevent::is_structured(headers) {
        let event = CloudEvent::from_structured(body)
            .map_err(|error| Failure::dead("not_a_cloudevent", error))?;
        let version = match version_of::<E>(&event.event_type) {
            Some(version) => version,
            None => foreign::<E>(&event.event_type)?,
        };
        let told_at = || Micros::from_rfc3339(event.time.as_deref()?);
        let version = take::<E>(version, told_at, now)?;
        return body_of(event.data.as_deref().unwrap_or_default(), version);
    }
    let version = accept::<E>(headers, now)?;
    body_of(body, version)
}

fn body_of<E: Event>(body: &[u8], version: u32) -> Result<E, Failure> {
    let undecodable = |error| Failure::dead("undecodable", error);
    if version == E::VERSION {
        return serde_json::from_slice(body).map_err(undecodable);
    }
    let old: Value = serde_json::from_slice(body).map_err(undecodable)?;
    let current = E::upcast(version, old).map_err(|error| {
        Failure::dead("cannot_upcast", format!("version {version} to {}: {error}", E::VERSION))
    })?;
    serde_json::from_value(current).map_err(undecodable)
}

/// A handler of bodies out of a function of events: what [`crate::Consumer::run`] runs.
pub fn typed<E, F, R>(function: F) -> impl Handler<Bytes>
where
    E: Event,
    F: Fn(E, Meta) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), Failure>> + Send,
{
    Typed(function, PhantomData)
}

struct Typed<E, F>(F, PhantomData<fn(E)>);

impl<E, F, R> Handler<Bytes> for Typed<E, F>
where
    E: Event,
    F: Fn(E, Meta) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), Failure>> + Send,
{
    async fn handle(&self, body: Bytes, meta: Meta) -> Result<(), Failure> {
        let event = decode::<E>(&body, &meta.headers, clock::now())?;
        (self.0)(event, meta).await
    }

    fn on_dead(
        &self,
        _: &Bytes,
        _: &Meta,
        _: &str,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
