//! Calls of services: which there are, who asks, and what becomes of the answers.

use campana_bus::CallError;

use super::*;

fn calling(protocol: Protocol) -> World {
    let method = |method: &str, timeout_ms| RpcOptions {
        method: method.to_owned(),
        service: "pricing".to_owned(),
        endpoint: format!("{method}-endpoint"),
        timeout_ms,
    };
    let options = EdgeOptions {
        rpc: vec![method("quote", 700), method("buy", 1)],
        rpc_calls_per_client_max: 2,
        rpc_answer_bytes_max: 100,
        ..options()
    };
    let mut world = World::speaking(protocol, options);
    world.say(&json!({"id": 1, "connect": {"token": token(60)}}));
    world.answer();
    world.sent.clear();
    world
}

fn answered(world: &mut World, result: Result<&[u8], CallError>) -> Value {
    world.say(&json!({"id": 5, "rpc": {"method": "quote"}}));
    let result = result.map(Bytes::copy_from_slice).map_err(CallFailure::from);
    world.done(Done::Called(5, result));
    world.sent.pop().unwrap()
}

#[test]
fn a_call_goes_where_configuration_says_with_the_caller_s_name() {
    for protocol in [Protocol::Json, Protocol::Protobuf] {
        let mut world = calling(protocol);
        world.say(&json!({"id": 2, "rpc": {"method": "quote", "data": {"sku": "bell"}}}));
        let call = world.calls.pop().unwrap();
        assert_eq!((call.service.as_str(), call.endpoint.as_str()), ("pricing", "quote-endpoint"));
        assert_eq!((call.command, call.timeout.as_millis()), (2, 700));
        assert_eq!(call.data.as_ref(), br#"{"sku":"bell"}"#);
        assert_eq!(
            (call.tenant.as_str(), call.info.as_str()),
            ("acme", r#"{"user":"alice","client":"cli_1"}"#)
        );
        world.done(Done::Called(2, Ok(Bytes::from_static(b"[4, 2]"))));
        assert_eq!(world.sent, [json!({"id": 2, "rpc": {"data": [4, 2]}})]);
        assert_eq!(world.error(&json!({"id": 3, "rpc": {"method": "sell"}})), 104);
        assert_eq!(world.error(&json!({"id": 3, "rpc": {}})), 104);
    }
}

#[test]
fn only_some_calls_wait_at_a_time() {
    let mut world = calling(Protocol::Json);
    for id in 2..=3 {
        world.say(&json!({"id": id, "rpc": {"method": "quote"}}));
    }
    assert_eq!(world.error(&json!({"id": 4, "rpc": {"method": "quote"}})), 111);
    world.done(Done::Called(3, Ok(Bytes::new())));
    assert_eq!(world.sent.pop(), Some(json!({"id": 3, "rpc": {}})));
    world.say(&json!({"id": 5, "rpc": {"method": "quote"}}));
    assert_eq!(world.calls.len(), 3);
}

#[test]
fn each_failure_has_its_code() {
    let service = |code, message: &str| CallError::Service { code, message: message.to_owned() };
    let long = "x".repeat(1_000);
    for (error, code, temporary) in [
        (service(404, "no such sku"), 404, Value::Null),
        (service(499, &long), 499, Value::Null),
        (service(500, "secret stack trace"), 100, json!(true)),
        (service(503, "busy"), 111, json!(true)),
        (service(3501, "odd"), 100, json!(true)),
        (service(0, "odd"), 100, json!(true)),
        (CallError::Timeout, 100, json!(true)),
        (CallError::NoResponders, 100, json!(true)),
        (CallError::TooLarge { bytes: 2, max: 1 }, 106, Value::Null),
        (CallError::Closed, 100, json!(true)),
    ] {
        let mut world = calling(Protocol::Json);
        let reply = answered(&mut world, Err(error.clone()));
        assert_eq!(
            (&reply["error"]["code"], &reply["error"]["temporary"]),
            (&json!(code), &temporary)
        );
        let message = reply["error"]["message"].as_str().unwrap();
        assert!(message.len() <= 200 && !message.contains("secret"), "{message}");
        assert_eq!(world.reports.last(), Some(&Report::Refused(code)));
    }
}

#[test]
fn answers_that_a_client_cannot_take_are_errors() {
    let mut world = calling(Protocol::Json);
    assert_eq!(answered(&mut world, Ok(&[b'1'; 101]))["error"]["code"], 106);
    assert_eq!(answered(&mut world, Ok(&[0xff]))["error"]["code"], 100);
    assert_eq!(answered(&mut world, Ok(b"plain text"))["rpc"]["data"], "plain text");
    let mut world = calling(Protocol::Protobuf);
    assert_eq!(answered(&mut world, Ok(&[0xff]))["rpc"]["data"], json!([0xff]));
}

#[test]
fn a_one_way_message_goes_to_its_service_and_is_never_answered() {
    for protocol in [Protocol::Json, Protocol::Protobuf] {
        let mut options = options();
        options.send.service = "chat".to_owned();
        options.send.endpoint = "typing".to_owned();
        options.rpc_calls_per_client_max = 2;
        let mut world = World::speaking(protocol, options);
        world.say(&json!({"id": 1, "connect": {"token": token(60)}}));
        world.answer();
        world.sent.clear();
        world.say(&json!({"send": {"data": {"typing": true}}}));
        let call = world.calls.pop().unwrap();
        assert_eq!((call.service.as_str(), call.endpoint.as_str()), ("chat", "typing"));
        assert_eq!((call.command, call.data.as_ref()), (0, &br#"{"typing":true}"#[..]));
        for result in [Ok(Bytes::from_static(b"1")), Err(CallError::Timeout.into())] {
            world.say(&json!({"send": {"data": 1}}));
            world.done(Done::Called(0, result));
        }
        assert_eq!((world.sent.len(), world.closed), (0, None));
        world.say(&json!({"send": {"data": 2}}));
        world.say(&json!({"send": {"data": 3}}));
        assert_eq!((world.sent.len(), world.closed), (0, Some(3013)));
    }
    let mut world = World::connected();
    world.say(&json!({"send": {"data": 1}}));
    assert_eq!(world.closed, Some(3508));
}
