//! Every error, unsubscribe and disconnect code that the edge sends, in one table each.
//! Reads: nothing. Writes: nothing. Never: changes a number; clients decide by it whether to come back.
//! The numbers and texts are those of the Centrifuge client protocol.

/// An error answer to one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyError {
    /// What clients branch on.
    pub code: u32,
    /// For people.
    pub message: &'static str,
    /// Whether the client should try again by itself.
    pub temporary: bool,
}

const fn reply(code: u32, message: &'static str) -> ReplyError {
    ReplyError { code, message, temporary: false }
}

const fn passing(code: u32, message: &'static str) -> ReplyError {
    ReplyError { code, message, temporary: true }
}

/// Error answers.
pub mod error {
    use super::{ReplyError, passing, reply};

    /// Something behind the edge does not answer; try again.
    pub const INTERNAL: ReplyError = passing(100, "internal server error");
    /// No good key.
    pub const UNAUTHORIZED: ReplyError = reply(101, "unauthorized");
    /// The channel's namespace is not configured.
    pub const UNKNOWN_CHANNEL: ReplyError = reply(102, "unknown channel");
    /// Configuration or token do not allow it.
    pub const PERMISSION_DENIED: ReplyError = reply(103, "permission denied");
    /// The command is not known.
    pub const METHOD_NOT_FOUND: ReplyError = reply(104, "method not found");
    /// One subscription per channel and connection.
    pub const ALREADY_SUBSCRIBED: ReplyError = reply(105, "already subscribed");
    /// A configured limit is reached.
    pub const LIMIT_EXCEEDED: ReplyError = reply(106, "limit exceeded");
    /// The command is malformed.
    pub const BAD_REQUEST: ReplyError = reply(107, "bad request");
    /// The feature is not switched on for this channel.
    pub const NOT_AVAILABLE: ReplyError = reply(108, "not available");
    /// Get a new token and come again.
    pub const TOKEN_EXPIRED: ReplyError = reply(109, "token expired");
    /// Too fast; try again later.
    pub const TOO_MANY_REQUESTS: ReplyError = passing(111, "too many requests");
    /// The position asked for is gone.
    pub const UNRECOVERABLE_POSITION: ReplyError = reply(112, "unrecoverable position");
}

/// An unsubscribe push; from 2500 on the client subscribes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe {
    /// What clients branch on.
    pub code: u32,
    /// For people.
    pub reason: &'static str,
}

/// Unsubscribe pushes.
pub mod unsubscribe {
    use super::Unsubscribe;

    /// The server ends the subscription for good.
    pub const SERVER: Unsubscribe = Unsubscribe { code: 2000, reason: "server unsubscribe" };
    /// Messages may be missing: subscribe again and recover.
    pub const INSUFFICIENT_STATE: Unsubscribe =
        Unsubscribe { code: 2500, reason: "insufficient state" };
    /// The subscription's time is over.
    pub const EXPIRED: Unsubscribe = Unsubscribe { code: 2501, reason: "subscription expired" };
    /// What let the client in is no longer good: subscribe anew, with a new token.
    pub const STATE_INVALIDATED: Unsubscribe =
        Unsubscribe { code: 2502, reason: "state invalidated" };
}

/// The end of a connection: the code and reason of the WebSocket close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect {
    /// What clients branch on.
    pub code: u16,
    /// For people; never valid JSON, because clients try to parse it.
    pub reason: &'static str,
    /// The metric's label.
    pub label: &'static str,
}

impl Disconnect {
    /// Whether clients come back by themselves.
    #[must_use]
    pub const fn reconnects(self) -> bool {
        !matches!(self.code, 3500..=3999 | 4500..=4999 | 1009)
    }
}

const fn close(code: u16, reason: &'static str, label: &'static str) -> Disconnect {
    Disconnect { code, reason, label }
}

/// Ends of connections.
pub mod disconnect {
    use super::{Disconnect, close};

    /// The client left.
    pub const CONNECTION_CLOSED: Disconnect = close(3000, "connection closed", "client");
    /// The node stops; another one takes over.
    pub const SHUTDOWN: Disconnect = close(3001, "shutdown", "drain");
    /// Something behind the edge does not answer.
    pub const SERVER_ERROR: Disconnect = close(3004, "internal server error", "error");
    /// The token's time is over and it was not refreshed.
    pub const EXPIRED: Disconnect = close(3005, "connection expired", "auth");
    /// A server-side subscription's time is over.
    pub const SUBSCRIPTION_EXPIRED: Disconnect = close(3006, "subscription expired", "auth");
    /// The client reads more slowly than it is sent to.
    pub const SLOW: Disconnect = close(3008, "slow", "slow");
    /// Writing to the client failed or took too long.
    pub const WRITE_ERROR: Disconnect = close(3009, "write error", "slow");
    /// Messages of a server-side subscription may be missing: come again and recover.
    pub const INSUFFICIENT_STATE: Disconnect = close(3010, "insufficient state", "error");
    /// The client did not answer a ping.
    pub const NO_PONG: Disconnect = close(3012, "no pong", "idle");
    /// The client sends commands faster than allowed and does not slow down.
    pub const TOO_MANY_REQUESTS: Disconnect = close(3013, "too many requests", "limit");
    /// The token is not good.
    pub const INVALID_TOKEN: Disconnect = close(3500, "invalid token", "auth");
    /// The client breaks the protocol.
    pub const BAD_REQUEST: Disconnect = close(3501, "bad request", "protocol");
    /// No connect command in time.
    pub const STALE: Disconnect = close(3502, "stale", "idle");
    /// The server wants the client gone and not back.
    pub const FORCE_DISCONNECT: Disconnect = close(3503, "force disconnect", "server");
    /// The user has as many connections as are allowed.
    pub const CONNECTION_LIMIT: Disconnect = close(3504, "connection limit", "limit");
    /// More channels at connect than allowed.
    pub const CHANNEL_LIMIT: Disconnect = close(3505, "channel limit", "limit");
    /// Binary frames on a JSON connection.
    pub const INAPPROPRIATE_PROTOCOL: Disconnect =
        close(3506, "inappropriate protocol", "protocol");
    /// There is nobody to take one-way messages.
    pub const NOT_AVAILABLE: Disconnect = close(3508, "not available", "protocol");
    /// WebSocket: the frame breaks RFC 6455.
    pub const PROTOCOL_ERROR: Disconnect = close(1002, "protocol error", "protocol");
    /// WebSocket: a text frame is not UTF-8.
    pub const INVALID_TEXT: Disconnect = close(1007, "text is not utf-8", "protocol");
    /// WebSocket: the message is larger than allowed.
    pub const TOO_BIG: Disconnect = close(1009, "message too big", "limit");

    /// The ends that every node sees, so that their series exist from the start.
    pub const FREQUENT: [Disconnect; 8] = [
        CONNECTION_CLOSED,
        SHUTDOWN,
        SERVER_ERROR,
        EXPIRED,
        SLOW,
        NO_PONG,
        CONNECTION_LIMIT,
        BAD_REQUEST,
    ];

    /// Every value of the metric's label.
    pub const LABELS: [&str; 9] =
        ["client", "drain", "error", "auth", "slow", "idle", "limit", "protocol", "server"];
}

#[cfg(test)]
mod tests {
    use super::disconnect as d;

    #[test]
    fn clients_come_back_exactly_where_that_helps() {
        for end in
            [d::SHUTDOWN, d::SERVER_ERROR, d::EXPIRED, d::SLOW, d::INSUFFICIENT_STATE, d::NO_PONG]
        {
            assert!(end.reconnects(), "{end:?}");
        }
        for end in [d::INVALID_TOKEN, d::BAD_REQUEST, d::STALE, d::CHANNEL_LIMIT, d::TOO_BIG] {
            assert!(!end.reconnects(), "{end:?}");
        }
    }

    #[test]
    fn no_reason_is_json() {
        for end in [d::SHUTDOWN, d::SLOW, d::BAD_REQUEST, d::TOO_BIG] {
            assert!(serde_json::from_str::<serde_json::Value>(end.reason).is_err());
            assert!(d::LABELS.contains(&end.label));
        }
    }
}
