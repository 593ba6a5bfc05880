//! RFC 6455, case by case, from a client that writes every byte itself. Sections stand in the names.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use campana_ws_edge::WEBSOCKET_PATH;

use crate::http;
use crate::support::{Edge, World, options, token};

const TIMEOUT: Duration = Duration::from_secs(60);
const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;
const CLOSE: u8 = 0x88;
/// The sample key of section 1.3.
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const UPGRADE: [&str; 4] =
    ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", KEY];

/// A connection whose frames are written by hand.
pub struct Raw(TcpStream);

impl Raw {
    /// A connection that was upgraded.
    pub async fn open(edge: &Edge, query: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", edge.port)).await.unwrap();
        let lines = UPGRADE.join("\r\n");
        let request = format!("GET {WEBSOCKET_PATH}{query} HTTP/1.1\r\nHost: e\r\n{lines}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"));
        Self(stream)
    }

    /// A masked frame: its first byte, and the payload.
    pub async fn send(&mut self, first: u8, payload: &[u8]) {
        self.bytes(&frame(first, payload)).await;
    }

    async fn bytes(&mut self, bytes: &[u8]) {
        // The server may have closed already, which the next read shows.
        let _ = self.0.write_all(bytes).await;
    }

    /// The next frame: its first byte, and the payload; nothing at the end of the connection.
    pub async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let reading = async {
            let (first, second) = (self.0.read_u8().await.ok()?, self.0.read_u8().await.ok()?);
            assert_eq!(second & 0x80, 0, "section 5.1: a server never masks");
            let length = match second {
                126 => usize::from(self.0.read_u16().await.ok()?),
                127 => usize::try_from(self.0.read_u64().await.ok()?).unwrap(),
                length => usize::from(length),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.ok()?;
            Some((first, payload))
        };
        tokio::time::timeout(TIMEOUT, reading).await.unwrap()
    }

    /// The code of the closing frame, which must be next, and then the end.
    async fn closed(&mut self) -> Option<u16> {
        let (first, payload) = self.frame().await.expect("a closing frame");
        assert_eq!(first, CLOSE, "{payload:?}");
        // The answer to the closing frame, in case the server waits for it.
        self.send(CLOSE, &payload).await;
        assert_eq!(self.frame().await, None, "section 5.5.1: nothing follows a closing frame");
        payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]))
    }

    /// The reply to the connect command must be next.
    async fn connected(&mut self) {
        let (first, payload) = self.frame().await.expect("a reply");
        let text = String::from_utf8(payload).unwrap();
        assert_eq!(first, TEXT);
        assert!(text.starts_with("{\"id\":1,\"connect\":{"), "{text}");
    }
}

fn masked(payload: &[u8]) -> Vec<u8> {
    let key = [0x11, 0x22, 0x33, 0x44];
    let body = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
    key.iter().copied().chain(body).collect()
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    let mut head = vec![first];
    match length {
        0..=125 => head.push(0x80 | u8::try_from(length).unwrap()),
        126..=0xFFFF => {
            head.push(0x80 | 126);
            head.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend((length as u64).to_be_bytes());
        }
    }
    [head, masked(payload)].concat()
}

fn connect() -> Vec<u8> {
    json!({"id": 1, "connect": {"token": token("alice")}}).to_string().into_bytes()
}

/// Each case on a connection of its own: bytes, and the code of the closing frame.
async fn all_end_with(edge: &Edge, cases: Vec<(&str, Vec<u8>, u16)>) {
    for (name, bytes, code) in cases {
        let mut raw = Raw::open(edge, "").await;
        raw.bytes(&bytes).await;
        let (first, payload) = loop {
            match raw.frame().await.unwrap_or_else(|| panic!("{name}: no closing frame")) {
                (PONG, _) => {}
                other => break other,
            }
        };
        assert_eq!(first, CLOSE, "{name}");
        assert_eq!(u16::from_be_bytes([payload[0], payload[1]]), code, "{name}");
        let reason = std::str::from_utf8(&payload[2..]).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(reason).is_err(), "{name}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn section_5_4_messages_may_come_in_fragments() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let command = connect();
    let (begin, rest) = command.split_at(7);
    let (middle, end) = rest.split_at(20);
    let mut raw = Raw::open(&edge, "").await;
    raw.send(0x01, begin).await;
    // Section 5.5: control frames may come in between and are answered at once.
    raw.send(PING, b"between").await;
    assert_eq!(raw.frame().await, Some((PONG, b"between".to_vec())));
    raw.send(0x00, b"").await;
    raw.send(0x00, middle).await;
    raw.send(PONG, b"not asked for").await;
    raw.send(0x00, end).await;
    raw.send(0x80, b"").await;
    raw.connected().await;

    let mut raw = Raw::open(&edge, "").await;
    for (at, byte) in command.iter().enumerate() {
        raw.send(if at == 0 { 0x01 } else { 0x00 }, &[*byte]).await;
    }
    raw.send(0x80, b"").await;
    raw.connected().await;

    // All frames in one segment, and one frame in many.
    let mut raw = Raw::open(&edge, "").await;
    raw.bytes(&[frame(0x01, begin), frame(0x80, rest)].concat()).await;
    raw.connected().await;
    for byte in frame(TEXT, b"{\"id\":2,\"ping\":{}}") {
        raw.bytes(&[byte]).await;
    }
    assert_eq!(raw.frame().await, Some((TEXT, b"{\"id\":2,\"ping\":{}}".to_vec())));

    all_end_with(
        &edge,
        vec![
            ("a continuation of nothing", frame(0x80, b"{}"), 1002),
            ("an unfinished continuation of nothing", frame(0x00, b"{}"), 1002),
            ("a text inside of a text", [frame(0x01, b"{"), frame(TEXT, b"}")].concat(), 1002),
            ("a binary inside of a text", [frame(0x01, b"{"), frame(0x82, b"}")].concat(), 1002),
            (
                "a continuation after the end",
                [frame(0x01, b"{"), frame(0x80, b"}"), frame(0x80, b"")].concat(),
                // The first message is complete, and no command.
                3501,
            ),
            (
                "fragments that are too large together",
                [frame(0x01, &[b' '; 40_000]), frame(0x00, &[b' '; 40_000])].concat(),
                1009,
            ),
        ],
    )
    .await;
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn section_5_2_reserved_bits_and_opcodes_are_errors_and_5_3_so_is_a_missing_mask() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let mut cases = Vec::new();
    for bit in [0x40, 0x20, 0x10] {
        cases.push(("a reserved bit on a text", frame(TEXT | bit, b"{}"), 1002));
        cases.push(("a reserved bit on a ping", frame(PING | bit, b""), 1002));
    }
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        cases.push(("a reserved opcode", frame(0x80 | opcode, b""), 1002));
    }
    cases.push(("a text without a mask", vec![TEXT, 2, b'{', b'}'], 1002));
    cases.push(("a ping without a mask", vec![PING, 0], 1002));
    cases.push(("a closing frame without a mask", vec![CLOSE, 0], 1002));
    all_end_with(&edge, cases).await;
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn section_5_2_lengths() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    // The boundaries of the three forms, as pings are the only thing to say before connecting.
    let mut raw = Raw::open(&edge, "").await;
    for length in [0, 1, 124, 125] {
        raw.send(PING, &vec![b'p'; length]).await;
        assert_eq!(raw.frame().await, Some((PONG, vec![b'p'; length])));
    }
    let mut padded = connect();
    for length in [126 + padded.len(), 65_535, 65_536] {
        padded.resize(length, b' ');
        let mut raw = Raw::open(&edge, "").await;
        raw.send(TEXT, &padded).await;
        raw.connected().await;
    }
    all_end_with(
        &edge,
        vec![
            ("one byte more than allowed", frame(TEXT, &[b' '; 65_537]), 1009),
            (
                "an announced length of 2^62",
                [&[TEXT, 0xFF, 0x40][..], &[0; 7], &[0; 4]].concat(),
                1009,
            ),
            (
                "a length with its highest bit set",
                [&[TEXT, 0xFF, 0xFF][..], &[0xFF; 7], &[0; 4]].concat(),
                1009,
            ),
        ],
    )
    .await;
    // Senders must use the shortest form; nobody is harmed by a receiver that reads the others.
    for head in [vec![TEXT, 0x80 | 126, 0, 2], [&[TEXT, 0x80 | 127][..], &[0; 7], &[2]].concat()] {
        let mut raw = Raw::open(&edge, "").await;
        raw.bytes(&[head, masked(b"xx")].concat()).await;
        assert_eq!(raw.closed().await, Some(3501));
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn section_5_5_control_frames_are_short_and_whole() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    all_end_with(
        &edge,
        vec![
            ("a ping of 126 bytes", frame(PING, &[0; 126]), 1002),
            ("a pong of 126 bytes", frame(PONG, &[0; 126]), 1002),
            ("a closing frame of 126 bytes", frame(CLOSE, &[3; 126]), 1002),
            ("a ping in fragments", frame(0x09, b"a"), 1002),
            ("a pong in fragments", frame(0x0A, b"a"), 1002),
            ("a closing frame in fragments", frame(0x08, &[3, 232]), 1002),
        ],
    )
    .await;
    let mut raw = Raw::open(&edge, "").await;
    raw.send(TEXT, &connect()).await;
    raw.connected().await;
    // Section 5.5.2: the payload comes back, whatever it is; 5.5.3: pongs nobody asked for are fine.
    for payload in [&b""[..], b"text", &[0xFF, 0x00, 0xFE]] {
        raw.send(PONG, payload).await;
        raw.send(PING, payload).await;
        assert_eq!(raw.frame().await, Some((PONG, payload.to_vec())));
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn section_5_6_text_is_utf_8_also_across_fragments() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let invalid: [(&str, &[u8]); 8] = [
        ("a byte that never occurs", b"\"\xFF\""),
        ("a continuation byte alone", b"\"\x80\""),
        ("a cut sequence", b"\"\xE2\x82"),
        ("an overlong form", b"\"\xC0\xAF\""),
        ("an overlong form of three bytes", b"\"\xE0\x80\xAF\""),
        ("a surrogate", b"\"\xED\xA0\x80\""),
        ("beyond U+10FFFF", b"\"\xF4\x90\x80\x80\""),
        ("five bytes", b"\"\xF8\x88\x80\x80\x80\""),
    ];
    let mut cases = Vec::new();
    for (name, bytes) in invalid {
        cases.push((name, frame(TEXT, bytes), 1007));
        let (begin, end) = bytes.split_at(2);
        cases.push((name, [frame(0x01, begin), frame(0x80, end)].concat(), 1007));
    }
    all_end_with(&edge, cases).await;
    // A sequence that is split between fragments is whole again when they are joined.
    let command = json!({"id": 1, "connect": {"token": token("alice"), "name": "🔔é"}}).to_string();
    let mut raw = Raw::open(&edge, "").await;
    let bytes = command.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let first =
            if at == 0 { 0x01 } else { 0x00 } | if at + 1 == bytes.len() { 0x80 } else { 0 };
        raw.send(first, &[*byte]).await;
    }
    raw.connected().await;
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn section_7_a_closing_frame_is_answered_and_its_code_must_be_possible() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let close = |code: u16, reason: &[u8]| [&code.to_be_bytes()[..], reason].concat();
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        let mut raw = Raw::open(&edge, "").await;
        raw.send(CLOSE, &close(code, "bye 🔔".as_bytes())).await;
        assert_eq!(raw.closed().await, Some(code), "section 5.5.1: the code comes back");
    }
    let mut raw = Raw::open(&edge, "").await;
    raw.send(CLOSE, b"").await;
    assert_eq!(raw.closed().await, None);
    // Section 7.4: codes that are reserved, or that no endpoint may send.
    let impossible = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    let mut cases: Vec<(&str, Vec<u8>, u16)> =
        impossible.iter().map(|code| ("a code", frame(CLOSE, &close(*code, b"")), 1002)).collect();
    cases.push(("a code of one byte", frame(CLOSE, &[3]), 1002));
    cases.push(("a reason that is not UTF-8", frame(CLOSE, &close(1000, b"\xFF")), 1007));
    all_end_with(&edge, cases).await;
    // Section 1.4: after its closing frame a client is no longer listened to.
    let mut raw = Raw::open(&edge, "").await;
    raw.bytes(&[frame(CLOSE, &close(1000, b"")), frame(TEXT, &connect())].concat()).await;
    assert_eq!(raw.closed().await, Some(1000));
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn section_4_2_what_an_upgrade_needs() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let without = |name: &str| -> Vec<&str> {
        UPGRADE.into_iter().filter(|line| !line.starts_with(name)).collect()
    };
    let good = http::ask(&edge, "GET", WEBSOCKET_PATH, &UPGRADE, b"").await;
    assert_eq!(good.status, 101);
    // Section 1.3: the answer to the sample key.
    assert_eq!(good.headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(!good.headers.contains_key("sec-websocket-protocol"));
    let offers = [&UPGRADE[..], &["Sec-WebSocket-Extensions: permessage-deflate"]].concat();
    let plain = http::ask(&edge, "GET", WEBSOCKET_PATH, &offers, b"").await;
    assert_eq!(plain.status, 101);
    assert!(!plain.headers.contains_key("sec-websocket-extensions"));
    let named = [&UPGRADE[..], &["Sec-WebSocket-Protocol: x, centrifuge-protobuf"]].concat();
    let named = http::ask(&edge, "GET", WEBSOCKET_PATH, &named, b"").await;
    assert_eq!(named.headers["sec-websocket-protocol"], "centrifuge-protobuf");
    let letters = ["connection: keep-alive, UPGRADE", "upgrade: WebSocket"];
    let letters = [&letters[..], &UPGRADE[2..]].concat();
    assert_eq!(http::ask(&edge, "GET", WEBSOCKET_PATH, &letters, b"").await.status, 101);
    for (name, status) in [
        ("Connection", 400),
        ("Upgrade", 400),
        ("Sec-WebSocket-Version", 400),
        ("Sec-WebSocket-Key", 400),
    ] {
        let answer = http::ask(&edge, "GET", WEBSOCKET_PATH, &without(name), b"").await;
        assert_eq!(answer.status, status, "without {name}");
    }
    for version in ["8", "12", "14", "x", ""] {
        let line = format!("Sec-WebSocket-Version: {version}");
        let mut lines = without("Sec-WebSocket-Version");
        lines.push(&line);
        let answer = http::ask(&edge, "GET", WEBSOCKET_PATH, &lines, b"").await;
        assert_eq!(answer.status, 400, "version {version:?}");
    }
    let posted = http::ask(&edge, "POST", WEBSOCKET_PATH, &UPGRADE, b"").await;
    assert_eq!(posted.status, 405);
    assert_eq!(http::ask(&edge, "GET", WEBSOCKET_PATH, &[], b"").await.status, 400);
    edge.stop().await;
}
