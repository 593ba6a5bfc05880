//! What a collector and a log reader see of a notification.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_bus::testing::free_port;
use campana_tests::api::{http, id_of, send};
use campana_tests::otlp::{Collector, Received};
use campana_tests::process::Signal;
use campana_tests::{Api, Platform, eventually};
use reqwest::Method;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);
const CALLER: &str = "b7ad6b7169203331";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

const POST: &str = "POST /v1/notifications";
const PUBLISH_REQUEST: &str = "publish notify.request.{priority}";
const PROCESS_REQUEST: &str = "process notify.request.{priority}";
const PUBLISH_CHANNEL: &str = "publish ch.{tenant}.{namespace}.{rest}";
const SEND_CHANNEL: &str = "send ch.{tenant}.{namespace}.{rest}";
const PUBLISH_DELIVERY: &str = "publish notify.deliver.{channel}.{tenant}";
const PROCESS_DELIVERY: &str = "process notify.deliver.{channel}.{tenant}";
const ACK_DELIVERY: &str = "ack notify.deliver.{channel}.{tenant}";

/// Arguments of `up` that send everything to this collector.
fn traced<'a>(endpoint: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["--set", endpoint];
    all.extend(more);
    all
}

async fn span(collector: &Collector, name: &str) -> Result<Received> {
    let found = eventually(name, SOON, async || collector.one(TRACE, name)).await;
    found.with_context(|| format!("{:#?}", names(&collector.spans())))
}

fn names(spans: &[Received]) -> Vec<String> {
    spans
        .iter()
        .map(|span| format!("{} {} < {} {}", span.trace, span.id, span.parent, span.name))
        .collect()
}

async fn post(api: &Api, body: &Value) -> Result<Value> {
    let request = api
        .request(Method::POST, "/v1/notifications")
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    send(request.json(body)).await?.expect(202)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_request_to_the_socket_and_to_the_mailbox() {
    let collector = Collector::start().await.unwrap();
    let endpoint = format!("tracing.otlp_endpoint={}", collector.endpoint);
    let more = [
        "--set",
        "tracing.export_interval_ms=50",
        "--set",
        "tracing.resource_attributes=[\"deployment.environment.name=test\"]",
        "--set",
        "log.format=json",
        "--set",
        "log.level=info,campana_bus::settled=debug",
    ];
    let platform = Platform::up(&traced(&endpoint, &more)).await.unwrap();
    let api = platform.api().unwrap();
    let recipient = json!({"email": "dana@example.com"});
    api.put("/v1/recipients/dana", &recipient).await.unwrap().expect(201).unwrap();
    let mut bell = platform.client("dana").await.unwrap();
    let body =
        json!({"to": "dana", "content": {"title": "Hello"}, "channels": ["in_app", "email"]});
    let accepted = post(&api, &body).await.unwrap();
    assert_eq!(accepted["trace_id"], TRACE);
    let id = id_of(&accepted).unwrap();
    bell.expect(&id).await.unwrap();
    api.status(&id, "completed").await.unwrap();

    the_way(&collector, &id).await.unwrap();
    envelopes(&collector, &api).await.unwrap();
    lines(&platform, &api, &id).await.unwrap();
    counted(&platform).await.unwrap();
    platform.stop(Signal::TERM).await.unwrap();
}

/// Names, kinds, parents and attributes of every step.
async fn the_way(collector: &Collector, id: &str) -> Result<()> {
    let steps = [
        (POST, "server", ""),
        (PUBLISH_REQUEST, "producer", POST),
        (PROCESS_REQUEST, "consumer", PUBLISH_REQUEST),
        (PUBLISH_CHANNEL, "producer", PROCESS_REQUEST),
        (SEND_CHANNEL, "producer", PUBLISH_CHANNEL),
        (PUBLISH_DELIVERY, "producer", PROCESS_REQUEST),
        (PROCESS_DELIVERY, "consumer", PUBLISH_DELIVERY),
        (ACK_DELIVERY, "client", PROCESS_DELIVERY),
    ];
    for (name, kind, parent) in steps {
        let found = span(collector, name).await?;
        ensure!(found.kind == kind, "{found:#?}");
        let parent =
            if parent.is_empty() { CALLER.to_owned() } else { span(collector, parent).await?.id };
        ensure!(
            found.parent == parent,
            "{name} is not below its cause: {:#?}",
            names(&collector.spans())
        );
        ensure!(!found.failed && found.links.is_empty(), "{found:#?}");
        ensure!(found.resource["service.name"] == "campana", "{found:#?}");
        ensure!(found.resource["deployment.environment.name"] == "test", "{found:#?}");
    }
    let post = span(collector, POST).await?;
    ensure!(post.attribute("http.response.status_code") == "202", "{post:#?}");
    let publish = span(collector, PUBLISH_REQUEST).await?;
    ensure!(publish.attribute("messaging.message.conversation_id") == id, "{publish:#?}");
    ensure!(publish.attribute("messaging.destination.name") == "REQUESTS", "{publish:#?}");
    let process = span(collector, PROCESS_DELIVERY).await?;
    let expected = [
        ("messaging.system", "nats"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", "DELIVERIES"),
        ("messaging.destination.template", "notify.deliver.{channel}.{tenant}"),
        ("messaging.consumer.group.name", "channel-email"),
        ("campana.delivery_attempt", "1"),
        ("campana.channel", "email"),
        ("campana.tenant", "default"),
        ("campana.result", "ack"),
    ];
    for (name, value) in expected {
        ensure!(process.attribute(name) == value, "{name}: {process:#?}");
    }
    ensure!(!process.attribute("messaging.message.id").is_empty(), "{process:#?}");
    ensure!(!process.attribute("campana.stream_seq").is_empty(), "{process:#?}");
    let ack = span(collector, ACK_DELIVERY).await?;
    ensure!(ack.attribute("messaging.operation.type") == "settle", "{ack:#?}");
    let shown = format!("{:?}", collector.spans());
    ensure!(!shown.contains("dana"), "a person is named in a span");
    Ok(())
}

/// Requests that share an envelope keep their traces; the span of the whole links to all of them.
async fn envelopes(collector: &Collector, api: &Api) -> Result<()> {
    let item = json!({"to": "dana", "content": {"title": "Many"}, "channels": ["in_app"]});
    let batch = json!({"notifications": vec![item; 8]});
    let whole = eventually("an envelope of several", SOON, async || {
        // How many share one is up to the publisher; a batch that was cut into single ones is sent again.
        send(api.request(Method::POST, "/v1/notifications/batch").json(&batch)).await?;
        let several = |span: &Received| {
            span.name == PROCESS_REQUEST
                && !span.attribute("messaging.batch.message_count").is_empty()
        };
        Ok(collector.spans().into_iter().find(several))
    })
    .await?;
    let count: usize = whole.attribute("messaging.batch.message_count").parse()?;
    ensure!(count > 1 && whole.links.len() == count && whole.parent.is_empty(), "{whole:#?}");
    for (trace, published) in &whole.links {
        ensure!(*trace != whole.trace, "{whole:#?}");
        let part = eventually("the part's own span", SOON, async || {
            Ok(collector
                .named(trace, PROCESS_REQUEST)
                .into_iter()
                .find(|part| part.parent == *published))
        })
        .await?;
        ensure!(part.links == [(whole.trace.clone(), whole.id.clone())], "{part:#?}");
        ensure!(
            part.attribute("messaging.message.conversation_id").starts_with("ntf_"),
            "{part:#?}"
        );
        eventually("what the part caused", SOON, async || {
            let caused = collector.named(trace, PUBLISH_CHANNEL);
            Ok(caused.into_iter().find(|caused| caused.parent == part.id))
        })
        .await?;
    }
    Ok(())
}

/// One line for each settled message, with its reason and without the person.
async fn lines(platform: &Platform, api: &Api, id: &str) -> Result<()> {
    let line = |wanted: &dyn Fn(&Value) -> bool| {
        let log = platform.process.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == "message settled").find(|line| wanted(line))
    };
    let ack = eventually("the line of a delivery", SOON, async || {
        Ok(line(&|line| line["stream"] == "DELIVERIES" && line["trace_id"] == TRACE))
    })
    .await
    .with_context(|| format!("no settled delivery of {id}"))?;
    ensure!(ack["result"] == "ack" && ack["level"] == "DEBUG", "{ack}");
    ensure!(ack["consumer"] == "channel-email" && ack["attempt"] == 1, "{ack}");
    ensure!(ack["stream.sequence"].is_u64() && ack["duration_ms"].is_f64(), "{ack}");

    let recipient = json!({"email": "bounce@example.com"});
    api.put("/v1/recipients/frieda", &recipient).await?.expect(201)?;
    let body = json!({"to": "frieda", "content": {"title": "Hello"}, "channels": ["email"]});
    api.notify(&body).await?;
    let term = eventually("the line of a dead letter", SOON, async || {
        Ok(line(&|line| line["stream"] == "DELIVERIES" && line["result"] == "term"))
    })
    .await?;
    ensure!(term["level"] == "WARN" && term["class"] == "permanent", "{term}");
    ensure!(term["reason"].as_str().is_some_and(|reason| reason.starts_with("smtp_")), "{term}");
    ensure!(term["error"].is_string() && term["trace_id"].is_string(), "{term}");
    ensure!(!term.to_string().contains('@') && !term.to_string().contains("frieda"), "{term}");
    Ok(())
}

/// The messaging metrics have the names and labels of the conventions.
async fn counted(platform: &Platform) -> Result<()> {
    const SYSTEM: &str = "messaging_system=\"nats\"";
    const REQUEST: &str = "messaging_destination_template=\"notify.request.{priority}\"";
    const DELIVERY: &str = "messaging_destination_template=\"notify.deliver.{channel}.{tenant}\"";
    const EMAIL: &str = "messaging_consumer_group_name=\"channel-email\"";
    const SETTLED: &str = "campana_messages_settled_total";
    let operation = |name: &str| format!("messaging_operation_name=\"{name}\"");
    let (publish, fetch, process, ack, term) = (
        operation("publish"),
        operation("fetch"),
        operation("process"),
        operation("ack"),
        operation("term"),
    );
    let (of_email, no_error) = ("consumer=\"channel-email\"", "error_type=\"\"");
    let wanted: [(&str, &[&str]); 9] = [
        ("messaging_client_sent_messages_total", &[SYSTEM, &publish, REQUEST, no_error]),
        ("messaging_client_consumed_messages_total", &[SYSTEM, &fetch, DELIVERY, EMAIL, no_error]),
        (
            "messaging_client_operation_duration_seconds_count",
            &[SYSTEM, &publish, DELIVERY, no_error],
        ),
        ("messaging_client_operation_duration_seconds_count", &[SYSTEM, &ack, DELIVERY, no_error]),
        ("messaging_client_operation_duration_seconds_count", &[SYSTEM, &term, DELIVERY, no_error]),
        (
            "messaging_process_duration_seconds_count",
            &[SYSTEM, &process, DELIVERY, EMAIL, no_error],
        ),
        (SETTLED, &["stream=\"DELIVERIES\"", of_email, "result=\"term\""]),
        ("campana_message_delivery_attempts_count", &[of_email]),
        (
            "campana_dead_letters_total",
            &["stream=\"DELIVERIES\"", of_email, "reason=\"permanent\""],
        ),
    ];
    let url = format!("{}/metrics", platform.url("metrics"));
    eventually("the metrics of messages", SOON, async || {
        let text = http()?.get(&url).send().await?.text().await?;
        let is_there = |(name, labels): &(&str, &[&str])| {
            text.lines().any(|line| {
                line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'))
                    && labels.iter().all(|label| line.contains(label))
                    && !line.ends_with(" 0")
            })
        };
        let missing: Vec<_> = wanted.iter().filter(|one| !is_there(one)).collect();
        ensure!(missing.is_empty(), "{missing:?}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn handling_can_be_linked_instead_and_a_stop_sends_what_is_left() {
    let collector = Collector::start().await.unwrap();
    let endpoint = format!("tracing.otlp_endpoint={}", collector.endpoint);
    let more = [
        "--set",
        "tracing.messaging_parent=link",
        "--set",
        "tracing.export_interval_ms=600000",
        "--set",
        "tracing.batch_spans_max=8192",
    ];
    let platform = Platform::up(&traced(&endpoint, &more)).await.unwrap();
    let api = platform.api().unwrap();
    let body = json!({"to": {"id": "dana"}, "content": {"title": "Hello"}, "channels": ["in_app"]});
    let id = id_of(&post(&api, &body).await.unwrap()).unwrap();
    api.status(&id, "completed").await.unwrap();
    assert!(collector.spans().is_empty(), "spans were sent early");
    platform.stop(Signal::TERM).await.unwrap();

    let spans = collector.spans();
    let publish = collector.one(TRACE, PUBLISH_REQUEST).unwrap().unwrap();
    let linked: Vec<&Received> = spans
        .iter()
        .filter(|span| span.links.contains(&(TRACE.to_owned(), publish.id.clone())))
        .collect();
    assert_eq!(linked.len(), 1, "{:#?}", names(&spans));
    assert_eq!((linked[0].name.as_str(), linked[0].parent.as_str()), (PROCESS_REQUEST, ""));
    assert_ne!(linked[0].trace, TRACE);
    // What people see keeps the trace of the request.
    assert!(collector.one(TRACE, PUBLISH_CHANNEL).unwrap().is_some(), "{:#?}", names(&spans));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_disturbs_nobody() {
    let nobody = free_port().unwrap();
    let endpoint = format!("tracing.otlp_endpoint=http://127.0.0.1:{nobody}");
    let more = [
        "--set",
        "tracing.export_interval_ms=20",
        "--set",
        "tracing.queue_spans_max=1",
        "--set",
        "tracing.batch_spans_max=1",
    ];
    let platform = Platform::up(&traced(&endpoint, &more)).await.unwrap();
    let mut bell = platform.client("dana").await.unwrap();
    let api = platform.api().unwrap();
    for _ in 0..20 {
        let id = api.ring("dana", "Hello").await.unwrap();
        bell.expect(&id).await.unwrap();
    }
    let url = format!("{}/metrics", platform.url("metrics"));
    eventually("counted spans", SOON, async || {
        let text = http()?.get(&url).send().await?.text().await?;
        let counted = |result: &str| {
            let name = format!("campana_trace_spans_total{{result=\"{result}\"}} ");
            text.lines().any(|line| line.strip_prefix(&name).is_some_and(|count| count != "0"))
        };
        Ok((counted("failed") && counted("dropped")).then_some(()))
    })
    .await
    .unwrap();
    let complaints = platform.process.log().matches("did not take the spans").count();
    assert_eq!(complaints, 1, "{}", platform.process.log());
    platform.stop(Signal::TERM).await.unwrap();
}
