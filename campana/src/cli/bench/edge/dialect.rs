//! What clients say to each kind of server, and how they know the answers.
//! Pure. Never: knows more of a protocol than connecting, subscribing and pings.

use serde_json::json;

use super::wire;

/// What a server speaks inside WebSocket frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The edge: lines of JSON.
    Centrifuge,
    /// nats-server's own gateway: its protocol in binary frames.
    Nats,
    /// Socket.IO 4 over Engine.IO 4.
    SocketIo,
}

/// Where a client was when it was last connected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Of the last message.
    pub offset: u64,
    /// Of the stream.
    pub epoch: String,
}

/// What a client asks for.
#[derive(Clone, Debug, Default)]
pub struct Hello {
    /// The edge's connection token.
    pub token: String,
    /// Channel, subject or room.
    pub channel: String,
    /// What to recover from, if anything.
    pub since: Option<Position>,
}

impl Dialect {
    /// Where clients upgrade.
    pub fn path(self) -> &'static str {
        match self {
            Self::Centrifuge => campana_ws_edge::WEBSOCKET_PATH,
            Self::Nats => "/",
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket",
        }
    }

    /// A line that is a ping.
    pub fn ping(self) -> &'static [u8] {
        match self {
            Self::Centrifuge => b"{}",
            Self::Nats => b"PING\r",
            Self::SocketIo => b"2",
        }
    }

    /// The frame that answers it.
    pub fn pong(self) -> Vec<u8> {
        match self {
            Self::Centrifuge => wire::text("{}"),
            Self::Nats => wire::binary("PONG\r\n"),
            Self::SocketIo => wire::text("3"),
        }
    }

    /// What a client says, and what the server answers to it, in order.
    pub fn steps(self, hello: &Hello) -> Vec<(Option<Vec<u8>>, &'static str)> {
        let Hello { token, channel, since } = hello;
        match self {
            Self::Centrifuge => {
                let mut subscribe = json!({"channel": channel});
                if let Some(since) = since {
                    subscribe["recover"] = true.into();
                    subscribe["offset"] = since.offset.into();
                    subscribe["epoch"] = since.epoch.as_str().into();
                }
                let connect = json!({"id": 1, "connect": {"token": token}});
                let subscribe = json!({"id": 2, "subscribe": subscribe});
                vec![(Some(wire::text(&format!("{connect}\n{subscribe}"))), "{\"id\":2,")]
            }
            Self::Nats => {
                let say = format!(
                    "CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {channel} 1\r\nPING\r\n"
                );
                vec![(Some(wire::binary(&say)), "PONG\r\n")]
            }
            Self::SocketIo => vec![
                (None, "0{"),
                (Some(wire::text("40")), "40{"),
                (Some(wire::text(&format!("420[\"join\",\"{channel}\"]"))), "430["),
            ],
        }
    }

    /// How a server says no.
    pub fn refusal(self) -> &'static str {
        match self {
            Self::Centrifuge => "\"error\":{",
            Self::Nats => "-ERR",
            Self::SocketIo => "44{",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_says_what_he_has() {
        let since = Some(Position { offset: 7, epoch: "e".to_owned() });
        let hello = Hello { token: "t".to_owned(), channel: "bench:a".to_owned(), since };
        let steps = Dialect::Centrifuge.steps(&hello);
        let said = String::from_utf8_lossy(steps[0].0.as_deref().unwrap()).into_owned();
        let lines: Vec<serde_json::Value> = said[said.find('{').unwrap()..]
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines[0], json!({"id": 1, "connect": {"token": "t"}}));
        let subscribe = json!({"channel": "bench:a", "recover": true, "offset": 7, "epoch": "e"});
        assert_eq!(lines[1], json!({"id": 2, "subscribe": subscribe}));
    }
}
