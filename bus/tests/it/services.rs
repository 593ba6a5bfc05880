//! Services and their callers on a real server: answers, errors, limits, discovery, and a drain under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::service::ServiceExt;
use bytes::Bytes;
use campana_bus::clock::{self, Micros};
use campana_bus::service::{
    CallMeta, EndpointOptions, Reply, ServeError, Service, ServiceError, ServiceInstance,
};
use campana_bus::testing::NatsServer;
use campana_bus::trace::TraceParent;
use campana_bus::{Bus, CallError, HeaderMap, headers};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct Quote {
    sku: String,
    count: u64,
}

fn pricing(bus: &Bus) -> Service {
    let quick =
        EndpointOptions { timeout: Duration::from_millis(100), ..EndpointOptions::default() };
    Service::new(bus, "pricing", "1.0.0")
        .description("prices")
        .endpoint("quote", |quote: Quote, _: CallMeta| async move {
            match quote.sku.as_str() {
                "bell" => Ok(quote.count * 42),
                "bug" => panic!("a secret in a panic"),
                sku => Err(ServiceError::new(404, format!("no such sku:\r\n{sku}"))),
            }
        })
        .endpoint_with("slow", quick, |(): (), _: CallMeta| async move {
            std::future::pending::<()>().await;
            Ok(())
        })
        .endpoint_raw("echo", |body: Bytes, meta: CallMeta| async move {
            let mut reply = Reply::from(body);
            headers::set(&mut reply.headers, "X-Trace", &meta.trace.unwrap().trace_id());
            Ok(reply)
        })
        .endpoint_raw(
            "large",
            |_: Bytes, _: CallMeta| async move { Ok(vec![0_u8; 2 << 20].into()) },
        )
}

/// Runs a service until it is told to stop; returns when it can be found.
async fn start(
    bus: &Bus,
    service: Service,
) -> (CancellationToken, JoinHandle<Result<(), ServeError>>) {
    let before = found(bus, |_| true).await.len();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let running = tokio::spawn(async move { service.run(stopped.cancelled_owned()).await });
    found(bus, |instances| instances.len() > before).await;
    (stop, running)
}

/// Asks who is there until the answer is as wished.
async fn found(bus: &Bus, wished: impl Fn(&[ServiceInstance]) -> bool) -> Vec<ServiceInstance> {
    let asking = async {
        loop {
            let instances = bus.services(None, Duration::from_millis(200)).await.unwrap();
            if wished(&instances) {
                return instances;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("the services in time")
}

#[tokio::test]
async fn a_service_answers_and_says_what_is_wrong() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    let quote = |sku: &str| Quote { sku: sku.to_owned(), count: 2 };
    let nobody = bus.call::<_, u64>("pricing", "quote", &quote("bell"), PATIENCE).await;
    assert_eq!(nobody, Err(CallError::NoResponders));

    let (stop, running) = start(&bus, pricing(&bus)).await;
    let call =
        async |sku: &str| bus.call::<_, u64>("pricing", "quote", &quote(sku), PATIENCE).await;
    assert_eq!(call("bell").await, Ok(84));
    let message = "no such sku:  horn".to_owned();
    assert_eq!(call("horn").await, Err(CallError::Service { code: 404, message }));
    match call("bug").await {
        Err(CallError::Service { code: 500, message }) => assert!(!message.contains("secret")),
        other => panic!("{other:?}"),
    }
    assert_eq!(call("bell").await, Ok(84), "a panic harms one request only");
    let wrong = bus.call::<_, u64>("pricing", "quote", &"text", PATIENCE).await;
    assert!(matches!(wrong, Err(CallError::Service { code: 400, .. })), "{wrong:?}");
    let undecodable = bus.call::<_, String>("pricing", "quote", &quote("bell"), PATIENCE).await;
    assert!(matches!(undecodable, Err(CallError::Decode(_))), "{undecodable:?}");
    let slow = bus.call::<_, ()>("pricing", "slow", &(), PATIENCE).await;
    assert!(matches!(slow, Err(CallError::Service { code: 504, .. })), "{slow:?}");
    let large = bus.call_raw("pricing", "large", HeaderMap::new(), Bytes::new(), PATIENCE).await;
    assert!(matches!(large, Err(CallError::Service { code: 500, .. })), "{large:?}");
    let body = Bytes::from(vec![b'x'; 2 << 20]);
    let refused = bus.call_raw("pricing", "echo", HeaderMap::new(), body, PATIENCE).await;
    assert!(matches!(refused, Err(CallError::TooLarge { .. })), "{refused:?}");

    // The trace goes along; bodies are left as they are.
    let trace = TraceParent::fresh();
    let mut all = HeaderMap::new();
    headers::set(&mut all, headers::TRACEPARENT, &trace.to_string());
    let body = Bytes::from_static(b"\0\xFF");
    let (answered, echoed) =
        bus.call_raw("pricing", "echo", all, body.clone(), PATIENCE).await.unwrap();
    assert_eq!(
        (echoed, headers::get(&answered, "X-Trace")),
        (body, Some(trace.trace_id().as_str()))
    );

    stop.cancel();
    running.await.unwrap().unwrap();
    let gone = bus.call::<_, u64>("pricing", "quote", &quote("bell"), PATIENCE).await;
    assert_eq!(gone, Err(CallError::NoResponders));
}

#[tokio::test]
async fn a_service_with_too_much_to_do_says_so_at_once() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    let (release, taken) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (released, take) = (Arc::clone(&release), Arc::clone(&taken));
    let narrow = EndpointOptions { concurrency: 1, queue: 1, ..EndpointOptions::default() };
    let service = Service::new(&bus, "narrow", "0.1.0").endpoint_with(
        "wait",
        narrow,
        move |n: u32, _: CallMeta| {
            let (released, take) = (Arc::clone(&released), Arc::clone(&take));
            async move {
                take.notify_one();
                released.notified().await;
                Ok(n)
            }
        },
    );
    let (stop, running) = start(&bus, service).await;
    let mut calls: futures::stream::FuturesUnordered<_> = (0..5)
        .map(|n: u32| {
            let bus = &bus;
            async move { bus.call::<_, u32>("narrow", "wait", &n, PATIENCE).await }
        })
        .collect();
    // One at work, one waiting, three refused while nothing moves.
    for _ in 0..3 {
        let refused = calls.next().await.unwrap();
        assert!(matches!(refused, Err(CallError::Service { code: 503, .. })), "{refused:?}");
        assert!(refused.unwrap_err().is_unhandled());
    }
    taken.notified().await;
    // A drain in the middle of it: what was taken is answered.
    stop.cancel();
    for _ in 0..2 {
        release.notify_one();
        assert!(calls.next().await.unwrap().is_ok());
    }
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_whose_caller_is_gone_is_not_begun() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    let (stop, running) = start(&bus, pricing(&bus)).await;
    let mut late = HeaderMap::new();
    let past = Micros(clock::now().0 - 60_000_000).to_rfc3339();
    headers::set(&mut late, headers::DEADLINE, &past);
    let answer = bus
        .client()
        .request_with_headers("svc.pricing.echo", late, Bytes::from_static(b"x"))
        .await
        .unwrap();
    assert_eq!(headers::get(&answer.headers.unwrap(), "Nats-Service-Error-Code"), Some("504"));
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn no_request_is_lost_when_one_of_two_instances_stops() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    let other = server.bus("other").await.unwrap();
    let (first, first_running) = start(&bus, pricing(&bus)).await;
    let (second, second_running) = start(&other, pricing(&other)).await;
    let caller = server.bus("caller").await.unwrap();
    let stop_at = 400_u64;
    let answered = futures::stream::iter(0..1_000_u64)
        .map(|n| {
            let (caller, first) = (&caller, &first);
            async move {
                if n == stop_at {
                    first.cancel();
                }
                let quote = Quote { sku: "bell".to_owned(), count: n };
                caller.call::<_, u64>("pricing", "quote", &quote, PATIENCE).await
            }
        })
        .buffered(32)
        .enumerate()
        .map(|(n, answer)| assert_eq!(answer, Ok(n as u64 * 42)))
        .count()
        .await;
    assert_eq!(answered, 1_000);
    first_running.await.unwrap().unwrap();
    second.cancel();
    second_running.await.unwrap().unwrap();
}

#[tokio::test]
async fn services_are_found_and_count_what_they_do() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    let (stop, running) = start(&bus, pricing(&bus)).await;
    for sku in ["bell", "bell", "horn"] {
        let quote = Quote { sku: sku.to_owned(), count: 1 };
        let _ = bus.call::<_, u64>("pricing", "quote", &quote, PATIENCE).await;
    }
    // Counted after the answer is out.
    let counted = |all: &[ServiceInstance]| {
        all.iter().flat_map(|one| &one.endpoints).any(|endpoint| endpoint.requests == 3)
    };
    let all = found(&bus, counted).await;
    assert_eq!((all.len(), all[0].name.as_str(), all[0].version.as_str()), (1, "pricing", "1.0.0"));
    let quote = all[0].endpoints.iter().find(|endpoint| endpoint.name == "quote").unwrap();
    assert_eq!(
        (quote.errors, quote.last_error.as_str(), quote.subject.as_str()),
        (1, "404", "svc.pricing.quote")
    );

    // Other libraries understand the answers, and theirs are understood.
    for (verb, subject) in
        [("PING", "$SRV.PING"), ("INFO", "$SRV.INFO.pricing"), ("STATS", "$SRV.STATS.pricing")]
    {
        let subject =
            if verb == "STATS" { format!("{subject}.{}", all[0].id) } else { subject.to_owned() };
        let answer = bus.client().request(subject, Bytes::new()).await.unwrap().payload;
        match verb {
            "PING" => {
                let ping: async_nats::service::PingResponse =
                    serde_json::from_slice(&answer).unwrap();
                assert_eq!(
                    (ping.name.as_str(), ping.kind.as_str()),
                    ("pricing", "io.nats.micro.v1.ping_response")
                );
            }
            "INFO" => {
                let info: async_nats::service::Info = serde_json::from_slice(&answer).unwrap();
                assert_eq!((info.endpoints.len(), info.description.as_str()), (4, "prices"));
            }
            _ => {
                let stats: async_nats::service::Stats = serde_json::from_slice(&answer).unwrap();
                assert_eq!(stats.endpoints.iter().map(|one| one.requests).sum::<usize>(), 3);
            }
        }
    }
    let foreign = bus.client().service_builder().start("foreign", "2.0.0").await.unwrap();
    let mut endpoint = foreign.endpoint("svc.foreign.hello").await.unwrap();
    let answering = async {
        let request = endpoint.next().await.unwrap();
        let error = async_nats::service::error::Error { status: "go away".to_owned(), code: 418 };
        request.respond(Err(error)).await.unwrap();
    };
    let asking = bus.call::<_, ()>("foreign", "hello", &(), PATIENCE);
    let (_, answer) = tokio::join!(answering, asking);
    assert_eq!(answer, Err(CallError::Service { code: 418, message: "go away".to_owned() }));
    let both = found(&bus, |all| all.len() == 2).await;
    assert_eq!((both[0].name.as_str(), both[0].endpoints[0].requests), ("foreign", 1));
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_service_that_breaks_the_protocol_does_not_start() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    let run = |service: Service| service.run(std::future::pending());
    let echo = |service: Service, name: &str| {
        service.endpoint(name, |n: u32, _: CallMeta| async move { Ok(n) })
    };
    let new = |name: &str, version: &str| Service::new(&bus, name, version);
    assert_eq!(run(new("a", "1.0.0")).await, Err(ServeError::Empty));
    assert!(matches!(run(echo(new("a.b", "1.0.0"), "e")).await, Err(ServeError::Name(_))));
    assert!(matches!(run(echo(new("a", "1.0.0"), "e.>")).await, Err(ServeError::Name(_))));
    assert!(matches!(run(echo(new("a", "one"), "e")).await, Err(ServeError::Version(_))));
    let twice = echo(echo(new("a", "1.0.0"), "e"), "e");
    assert_eq!(run(twice).await, Err(ServeError::Twice("e".to_owned())));
}

#[tokio::test]
async fn no_more_handlers_are_at_work_than_the_endpoint_allows() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    let at_work = Arc::new(AtomicUsize::new(0));
    let options = EndpointOptions { concurrency: 2, ..EndpointOptions::default() };
    let asked = bus.clone();
    let service = Service::new(&bus, "narrow", "1.0.0").endpoint_with(
        "work",
        options,
        move |(): (), _: CallMeta| {
            let (bus, at_work) = (asked.clone(), Arc::clone(&at_work));
            async move {
                let together = at_work.fetch_add(1, Ordering::SeqCst) + 1;
                // Long enough for everybody who may begin to do so.
                for _ in 0..5 {
                    bus.client().flush().await.unwrap();
                }
                at_work.fetch_sub(1, Ordering::SeqCst);
                Ok(together)
            }
        },
    );
    let (stop, running) = start(&bus, service).await;
    let calls = (0..20).map(|_| bus.call::<(), usize>("narrow", "work", &(), PATIENCE));
    for together in futures::future::join_all(calls).await {
        let together = together.unwrap();
        assert!(together <= 2, "{together} handlers at work");
    }
    stop.cancel();
    running.await.unwrap().unwrap();
}
