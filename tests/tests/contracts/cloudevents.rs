//! The official CloudEvents SDK for Python at the other end of a real NATS: it reads what we write, and we read
//! what it writes, in both content modes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use campana_bus::clock::{self, Micros};
use campana_bus::contract::{CloudEvent, CloudEventError};
use campana_bus::publish::Outgoing;
use campana_bus::testing::NatsServer;
use campana_bus::{Bus, Event, HeaderMap};
use campana_tests::{Home, Process, eventually};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(60);

struct World {
    bus: Bus,
    _peer: Process,
    _nats: NatsServer,
    _home: Home,
}

fn python() -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let venv = std::env::var_os("CAMPANA_VENV")
        .map_or_else(|| repository.join(".tools/venv"), PathBuf::from);
    let python = venv.join("bin/python3");
    let import = Command::new(&python).args(["-c", "import cloudevents.core, nats"]).output();
    assert!(
        import.is_ok_and(|output| output.status.success()),
        "{} lacks tests/cloudevents/requirements.txt: run `cargo xtask tools venv`",
        python.display()
    );
    python
}

impl World {
    async fn start() -> Self {
        let home = Home::new().unwrap();
        let nats = NatsServer::start().unwrap();
        let bus = nats.bus_with_topology("cloudevents-test").await.unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cloudevents/peer.py");
        let mut peer = Process::start("peer", &python(), home.path(), |command| {
            command.arg(script).arg(nats.url());
        })
        .unwrap();
        eventually("the SDK's process", WITHIN, async || {
            peer.must_run()?;
            Ok(peer.output().contains("ready").then_some(()))
        })
        .await
        .unwrap();
        Self { bus, _peer: peer, _nats: nats, _home: home }
    }

    /// Sends a message to the SDK; gives its reply, or what it raised.
    async fn ask(&self, verb: &str, message: Outgoing) -> Result<(HeaderMap, Bytes), String> {
        let request = async_nats::Request::new()
            .headers(message.headers)
            .payload(message.payload)
            .timeout(Some(WITHIN));
        let subject = format!("peer.{verb}");
        let reply = self.bus.client().send_request(subject, request).await.unwrap();
        let headers = reply.headers.unwrap_or_default();
        match headers.get("peer-error") {
            Some(name) => Err(format!("{name}: {}", String::from_utf8_lossy(&reply.payload))),
            None => Ok((headers, reply.payload)),
        }
    }

    /// What the SDK sees.
    async fn report(&self, message: Outgoing) -> Result<Value, String> {
        let (_, body) = self.ask("report", message).await?;
        Ok(serde_json::from_slice(&body).unwrap())
    }
}

fn full() -> CloudEvent {
    let mut event = CloudEvent::new("id 1 é%20", "/shop/grün?x=1#y", "com.example.order created");
    event.subject = Some("Zoë's order “№ 7” 100% 😀".to_owned());
    event.time = Some("2026-11-22T01:02:03.000004+01:00".to_owned());
    event.dataschema = Some("https://example.com/schemas/order?v=1#x".to_owned());
    event.extensions.insert("partitionkey".to_owned(), "a \"b\" 日本".to_owned());
    event.extensions.insert("x1".to_owned(), "-42".to_owned());
    event.datacontenttype = Some("application/json".to_owned());
    event.data = Some(Bytes::from_static(br#"{ "order":  "o-1", "cents": 250 }"#));
    event
}

fn with_data(media: &str, data: &'static [u8]) -> CloudEvent {
    CloudEvent {
        datacontenttype: Some(media.to_owned()),
        data: Some(Bytes::from_static(data)),
        ..CloudEvent::new("2", "/shop", "com.example.other")
    }
}

/// Events with everything, with next to nothing, and with bodies that are no JSON.
fn events() -> Vec<CloudEvent> {
    vec![
        full(),
        // The SDK makes up a time where there is none, so the smallest event has one here.
        CloudEvent {
            time: Some("2026-11-22T00:00:00Z".to_owned()),
            ..CloudEvent::new("1", "s", "t")
        },
        with_data("text/plain; charset=utf-8", "grüße \"x\"\n😀".as_bytes()),
        with_data("application/octet-stream", &[0xff, 0x00, 0x80, 0x0a]),
        with_data("application/vnd.example+json", b"{\"a\":[1,2]}"),
    ]
}

/// Times are compared as points in time: the SDK writes them in its own form.
fn comparable(event: &CloudEvent) -> (CloudEvent, Option<Micros>, Value) {
    let time = event.time.as_deref().map(|text| Micros::from_rfc3339(text).unwrap());
    let data = event.data.as_deref().unwrap_or_default();
    let data = serde_json::from_slice(data).unwrap_or_else(|_| STANDARD.encode(data).into());
    (CloudEvent { time: None, data: None, ..event.clone() }, time, data)
}

#[tokio::test]
async fn the_sdk_reads_what_we_write_and_we_read_what_it_writes() {
    let world = World::start().await;
    for event in events() {
        for message in [event.to_outgoing("x").unwrap(), event.to_structured("x").unwrap()] {
            let said = world.report(message.clone()).await.unwrap();
            assert_seen(&event, &said);
            for verb in ["binary", "structured"] {
                let (headers, body) = world.ask(verb, message.clone()).await.unwrap();
                let back = CloudEvent::from_message(&headers, &body).unwrap();
                if event.time.is_some() {
                    assert_eq!(comparable(&back), comparable(&event), "{verb}");
                } else {
                    let timed = CloudEvent { time: back.time.clone(), ..event.clone() };
                    assert_eq!(comparable(&back), comparable(&timed), "{verb}");
                }
            }
        }
    }
}

/// Every attribute as the SDK reports it.
fn assert_seen(event: &CloudEvent, said: &Value) {
    let seen = &said["attributes"];
    assert_eq!(seen["specversion"], "1.0");
    assert_eq!(seen["id"], event.id);
    assert_eq!(seen["source"], event.source);
    assert_eq!(seen["type"], event.event_type);
    assert_eq!(seen["subject"].as_str(), event.subject.as_deref());
    assert_eq!(seen["dataschema"].as_str(), event.dataschema.as_deref());
    assert_eq!(seen["datacontenttype"].as_str(), event.datacontenttype.as_deref());
    for (name, value) in &event.extensions {
        assert_eq!(seen[name], *value);
    }
    if let Some(time) = &event.time {
        let seen = Micros::from_rfc3339(seen["time"].as_str().unwrap());
        assert_eq!(seen, Micros::from_rfc3339(time));
    }
    let data = event.data.as_deref().unwrap_or_default();
    let expected: Value = match said["kind"].as_str().unwrap() {
        "none" if data.is_empty() => Value::Null,
        "json" => serde_json::from_slice(data).unwrap(),
        "text" => std::str::from_utf8(data).unwrap().into(),
        _ => STANDARD.encode(data).into(),
    };
    assert_eq!(said["data"], expected, "{said}");
}

#[derive(Serialize, Deserialize)]
struct Ordered {
    order: String,
}

impl Event for Ordered {
    const SERVICE: &'static str = "shop";
    const NAME: &'static str = "ordered";

    fn tenant(&self) -> &str {
        "zoë"
    }

    fn id(&self) -> Option<String> {
        Some(format!("order {} №", self.order))
    }
}

#[tokio::test]
async fn events_of_services_are_cloudevents() {
    let world = World::start().await;
    let event = Ordered { order: "o-1".to_owned() };
    let at = world.bus.emit(&event).await.unwrap();
    let stored = world.bus.message("EVENTS", at.sequence).await.unwrap().unwrap();
    let mut message = Outgoing::new("x", "x", stored.payload.clone());
    message.headers = stored.headers.clone();
    let said = world.report(message).await.unwrap();
    assert_eq!(said["attributes"]["id"], "zoë/shop.ordered/order o-1 №");
    assert_eq!(said["attributes"]["type"], "shop.ordered.v1");
    assert_eq!(said["attributes"]["source"], "shop");
    assert_eq!(said["attributes"]["datacontenttype"], "application/json");
    assert_eq!(said["data"], json!({"order": "o-1"}));
    let told = Micros::from_rfc3339(said["attributes"]["time"].as_str().unwrap()).unwrap();
    assert!(clock::now().since(told).abs() < 3_600_000_000);
    let own = CloudEvent::from_message(&stored.headers, &stored.payload).unwrap();
    assert_eq!(own.id, "zoë/shop.ordered/order o-1 №");
}

#[tokio::test]
async fn both_sides_refuse_what_is_no_event() {
    let world = World::start().await;
    let sound = full().to_outgoing("x").unwrap();
    let planted = |name: &str, value: Option<&str>| {
        let mut message = sound.clone();
        let mut headers = HeaderMap::new();
        for (other, values) in message.headers.iter() {
            let text: &str = other.as_ref();
            if text != name {
                headers.insert(other.clone(), values[0].clone());
            }
        }
        if let Some(value) = value {
            headers.insert(name, value);
        }
        message.headers = headers;
        message
    };
    let cases = [
        ("ce-specversion", Some("2.0"), CloudEventError::SpecVersion("2.0".into())),
        ("ce-source", None, CloudEventError::Missing("source")),
        ("ce-type", None, CloudEventError::Missing("type")),
        ("ce-id", Some(""), CloudEventError::Missing("id")),
    ];
    for (name, value, expected) in cases {
        let message = planted(name, value);
        let own = CloudEvent::from_message(&message.headers, &message.payload);
        assert_eq!(own, Err(expected), "{name}");
        let said = world.report(message).await;
        assert!(said.is_err(), "the SDK takes {name} = {value:?}: {said:?}");
    }
    // An id that is absent the SDK makes up; we do not.
    let message = planted("ce-id", None);
    let own = CloudEvent::from_message(&message.headers, &message.payload);
    assert_eq!(own, Err(CloudEventError::Missing("id")));
}
