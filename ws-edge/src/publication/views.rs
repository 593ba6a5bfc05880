//! The ways in which clients read a publication: by protocol, by what a subscription agreed on.
//! Reads: a publication and the body of the one before it. Writes: nothing.
//! Never: sends a difference that is longer than the whole, or that JSON cannot carry.
//!
//! A difference is in Fossil's delta format (<https://fossil-scm.org/home/doc/tip/www/delta_format.wiki>): bytes, against
//! the body of the publication that the client got before. In JSON the client keeps the text of the payload, so
//! that is what is compared, and both the payload and the difference travel as a JSON string.

use std::sync::OnceLock;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;

use super::{PUSH_OVERHEAD, PUSH_SUFFIX, Published};
use crate::encode::{self, Encoded};
use crate::proto::Protocol;

/// Bodies larger than this are sent whole: comparing costs time that a publisher chooses.
const DELTA_BYTES_MAX: usize = 64 * 1024;

/// What stands for the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The payload, for subscriptions that did not agree on differences.
    Plain,
    /// The payload, for those that did: in JSON it is a string.
    Whole,
    /// The difference to the publication before, if there is one that is worth it.
    Patch,
}

/// How one subscription reads publications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The connection's protocol.
    pub protocol: Protocol,
    /// What stands for the payload.
    pub form: Form,
    /// Whether the channel's number stands for its name; in JSON only.
    pub compact: bool,
}

impl View {
    /// What clients get who asked for nothing.
    #[must_use]
    pub const fn plain(protocol: Protocol) -> Self {
        Self { protocol, form: Form::Plain, compact: false }
    }
}

/// What few clients ask for, each encoded when the first one does.
#[derive(Debug, Default)]
pub(super) struct Rare {
    json_patch: OnceLock<Option<String>>,
    protobuf_patch: OnceLock<Option<Bytes>>,
    pushes: [OnceLock<Option<Encoded>>; 12],
}

impl Published {
    /// The push for a client with this view, as it comes live; `None` if the body cannot be said in its protocol.
    #[must_use]
    pub fn push(&self, view: View) -> Option<Encoded> {
        let Some(stamped) = &self.stamped else {
            return self.shared(view);
        };
        let (form, compact) = self.possible(view);
        self.encode(view.protocol, form, compact, Some(&stamped.text()))
    }

    /// The push for all clients with this view, without stamps.
    pub(crate) fn shared(&self, view: View) -> Option<Encoded> {
        let (form, compact) = self.possible(view);
        match (view.protocol, form, compact) {
            (Protocol::Json, Form::Plain, false) => self.json_push().cloned().map(Encoded::Text),
            (Protocol::Protobuf, Form::Plain, false) => {
                Some(Encoded::Binary(self.protobuf_push().0.clone()))
            }
            (protocol, form, compact) => {
                let at = (protocol as usize) * 6 + (form as usize) * 2 + usize::from(compact);
                let slot = self.rare().pushes.get(at)?;
                slot.get_or_init(|| self.encode(protocol, form, compact, None)).clone()
            }
        }
    }

    /// What of a view this publication can have.
    fn possible(&self, view: View) -> (Form, bool) {
        let compact = view.compact && view.protocol == Protocol::Json && self.key.number > 0;
        let form = match (view.protocol, view.form) {
            (Protocol::Protobuf, Form::Whole) => Form::Plain,
            (Protocol::Protobuf, Form::Patch) if self.protobuf_patch().is_none() => Form::Plain,
            (Protocol::Json, Form::Patch) if self.json_patch().is_none() => Form::Whole,
            (_, form) => form,
        };
        (form, compact)
    }

    /// Says which publication was the one before this in its channel.
    pub(crate) fn follow(&self, offset: u64, body: Bytes) {
        if body.len() <= DELTA_BYTES_MAX && self.body.len() <= DELTA_BYTES_MAX {
            // Whoever says it a second time says the same.
            let _ = self.base.set((offset, body));
        }
    }

    /// Whether the difference is one to the publication with this offset.
    pub(crate) fn follows(&self, offset: u64) -> bool {
        self.base.get().is_some_and(|(base, _)| *base == offset)
    }

    /// The body as it was stored.
    pub(crate) fn body(&self) -> Bytes {
        self.body.clone()
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    fn json_patch(&self) -> Option<&str> {
        let patch = self.rare().json_patch.get_or_init(|| {
            let (_, base) = self.base.get()?;
            let (base, body) = (encode::payload(base).ok()?, encode::payload(&self.body).ok()?);
            let patch = fossil_delta::delta(body.as_bytes(), base.as_bytes());
            // A copy may end within a character, and then what follows it begins there.
            let patch = String::from_utf8(patch).ok()?;
            let patch = encode::string(&patch);
            (patch.len() < encode::string(&body).len()).then_some(patch)
        });
        patch.as_deref()
    }

    fn protobuf_patch(&self) -> Option<&Bytes> {
        let patch = self.rare().protobuf_patch.get_or_init(|| {
            let (_, base) = self.base.get()?;
            let patch = fossil_delta::delta(&self.body, base);
            (patch.len() < self.body.len()).then(|| patch.into())
        });
        patch.as_ref()
    }

    fn encode(
        &self,
        protocol: Protocol,
        form: Form,
        compact: bool,
        stamps: Option<&str>,
    ) -> Option<Encoded> {
        match protocol {
            Protocol::Json => self.encode_json(form, compact, stamps).map(Encoded::Text),
            Protocol::Protobuf => {
                let (data, delta) = match form {
                    Form::Plain | Form::Whole => (self.body.clone(), false),
                    Form::Patch => (self.protobuf_patch()?.clone(), true),
                };
                let (name, publication) =
                    (self.key.name.as_str(), self.to_wire(data, delta, stamps));
                Some(Encoded::Binary(encode::publication(name, &publication).0))
            }
        }
    }

    pub(super) fn encode_json(
        &self,
        form: Form,
        compact: bool,
        stamps: Option<&str>,
    ) -> Option<Utf8Bytes> {
        let body = encode::payload(&self.body).ok()?;
        let data = match form {
            Form::Plain => body,
            Form::Whole => encode::string(&body).into(),
            Form::Patch => self.json_patch()?.into(),
        };
        let info = self.info.as_deref().unwrap_or_default();
        let bytes = self.key.push_prefix.len() + data.len() + info.len() + PUSH_OVERHEAD;
        let mut push = String::with_capacity(bytes);
        match compact {
            true => push.push_str(&format!("{{\"push\":{{\"id\":{},\"pub\":", self.key.number)),
            false => push.push_str(&self.key.push_prefix),
        }
        push.push_str("{\"data\":");
        push.push_str(&data);
        if !info.is_empty() {
            push.push_str(",\"info\":");
            push.push_str(info);
        }
        push.push_str(&format!(",\"offset\":{}", self.offset));
        if let Some(channel) = &self.channel {
            push.push_str(&format!(",\"channel\":{}", encode::string(channel)));
        }
        if self.trace.is_some() || self.tags.is_some() || stamps.is_some() {
            let tags = serde_json::to_string(&self.tags(stamps)).ok()?;
            push.push_str(&format!(",\"tags\":{tags}"));
        }
        if form == Form::Patch {
            push.push_str(",\"delta\":true");
        }
        push.push('}');
        push.push_str(PUSH_SUFFIX);
        Some(push.into())
    }
}

#[cfg(test)]
mod tests;
