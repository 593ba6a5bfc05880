//! An event on its way from the app to the bus: where it goes, under which id, with which headers.
//! Reads: what the app sent. Writes: nothing; the result is published by others. Never: lets two different
//! events share an id, because the stream would keep only the first.

use bytes::Bytes;
use campana_bus::clock::Micros;
use campana_bus::ids::MessageId;
use campana_bus::publish::Outgoing;
use campana_bus::trace::TraceParent;
use campana_bus::{HeaderMap, headers, subjects};

use crate::cloudevent::{Incoming, encode};
use crate::input;
use crate::problem::Problem;

/// Where an event goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub tenant: String,
    pub service: String,
    pub event: String,
    pub key: Option<String>,
}

impl Address {
    /// Checks the names.
    pub fn check(&self) -> Result<(), Problem> {
        input::name("service", &self.service)?;
        input::name("event", &self.event)?;
        input::name("tenant", &self.tenant)?;
        self.key.as_deref().map_or(Ok(()), |key| input::name("key", key))
    }

    fn subject(&self) -> String {
        match &self.key {
            Some(key) => subjects::app_event_keyed(&self.tenant, &self.service, &self.event, key),
            None => subjects::app_event(&self.tenant, &self.service, &self.event),
        }
    }
}

/// An event that is ready to be stored.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// The CloudEvents id, which the app gets back.
    pub id: String,
    pub message: Outgoing,
}

/// Puts the message together. Without an id of the app, a fresh one: then a repeat is another event.
pub(crate) fn prepare(
    address: &Address,
    incoming: Incoming,
    trace: TraceParent,
    now: Micros,
) -> Result<Prepared, Problem> {
    address.check()?;
    let id = match incoming.id {
        Some(id) => {
            input::name("id", &id)?;
            id
        }
        None => MessageId::fresh().to_string(),
    };
    let source = incoming.source.unwrap_or_else(|| address.service.clone());
    let event_type =
        incoming.event_type.unwrap_or_else(|| format!("{}.{}", address.service, address.event));
    let mut all = HeaderMap::new();
    for (name, value) in &incoming.others {
        if let Ok(name) = format!("ce-{name}").parse::<async_nats::HeaderName>() {
            all.insert(name, encode(value).as_str());
        }
    }
    let time = incoming.time.unwrap_or(now);
    headers::set_event(&mut all, &id, &event_type, &source, time, Some(trace));
    if let Some(content_type) = &incoming.content_type {
        headers::set(&mut all, headers::CE_DATACONTENTTYPE, &encode(content_type));
        headers::set(&mut all, headers::CONTENT_TYPE, content_type);
    }
    if let Some(key) = &address.key {
        headers::set(&mut all, headers::KEY, key);
    }
    // CloudEvents calls an event by source and id; another service may count from 1 as well.
    let parts = [&address.tenant, &address.service, &address.event, &source, &id];
    let message_id = MessageId::derived(&parts.map(String::as_str)).to_string();
    let data: Bytes = incoming.data;
    let mut message = Outgoing::new(address.subject(), message_id, data);
    message.headers = all;
    Ok(Prepared { id, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Code;

    fn address(service: &str, key: Option<&str>) -> Address {
        Address {
            tenant: "default".to_owned(),
            service: service.to_owned(),
            event: "order".to_owned(),
            key: key.map(str::to_owned),
        }
    }

    fn prepared(service: &str, id: Option<&str>) -> Prepared {
        let incoming = Incoming { id: id.map(str::to_owned), ..Incoming::default() };
        prepare(&address(service, None), incoming, TraceParent::fresh(), Micros(0)).unwrap()
    }

    #[test]
    fn the_same_event_has_the_same_message_id_and_another_has_not() {
        let id = |service, id| prepared(service, id).message.message_id;
        assert_eq!(id("shop", Some("1")), id("shop", Some("1")));
        assert_ne!(id("shop", Some("1")), id("billing", Some("1")));
        assert_ne!(id("shop", None), id("shop", None));
    }

    #[test]
    fn hostile_names_stay_one_token() {
        let with = |service: &str, key| {
            let incoming = Incoming::default();
            prepare(&address(service, key), incoming, TraceParent::fresh(), Micros(0))
        };
        let message = with("../>*.x y", Some("a.b")).unwrap().message;
        assert_eq!(message.subject.split('.').count(), 5);
        assert!(!message.subject.contains(['>', '*', ' ']));
        for (service, key) in
            [("", None), ("a\r\nb", None), ("shop", Some("")), ("shop", Some("\0"))]
        {
            assert_eq!(with(service, key).unwrap_err().code, Code::InvalidParameter);
        }
    }

    #[test]
    fn values_are_stored_as_headers_carry_them() {
        let mut incoming = Incoming { id: Some("ö 1".to_owned()), ..Incoming::default() };
        incoming.others.insert("partitionkey".to_owned(), "k".to_owned());
        let one =
            prepare(&address("shop", None), incoming, TraceParent::fresh(), Micros(0)).unwrap();
        assert_eq!(headers::get(&one.message.headers, headers::CE_ID), Some("%C3%B6%201"));
        assert_eq!(headers::get(&one.message.headers, "ce-partitionkey"), Some("k"));
        assert_eq!(one.id, "ö 1");
    }
}
