//! W3C trace context (https://www.w3.org/TR/trace-context/, `traceparent` version 00).
//! Reads: the random generator, for fresh ids. Writes: nothing. Never: trusts a malformed header.

use std::fmt;

/// The trace id and the span id of the caller, as carried in HTTP and NATS headers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    sampled: bool,
}

impl TraceParent {
    /// A new trace.
    #[must_use]
    pub fn fresh() -> Self {
        Self { trace: uuid::Uuid::now_v7().as_u128() | 1, span: random_span(), sampled: true }
    }

    /// The same trace, one hop further.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span: random_span(), ..self }
    }

    /// Parses the header; anything malformed or all-zero is refused, as the recommendation asks.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lower_hex = |text: &str, len: usize| {
            text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !lower_hex(version, 2) || version == "ff" || (version == "00" && parts.next().is_some())
        {
            return None;
        }
        if !lower_hex(trace, 32) || !lower_hex(span, 16) || !lower_hex(flags, 2) {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        Some(Self { trace, span, sampled })
    }

    /// Trace id, span id and whether the trace is recorded.
    #[must_use]
    pub fn parts(&self) -> (u128, u64, bool) {
        (self.trace, self.span, self.sampled)
    }

    /// The same of a span of this process; `None` if an id is zero, which means "no span".
    #[must_use]
    pub fn from_parts(trace: u128, span: u64, sampled: bool) -> Option<Self> {
        (trace != 0 && span != 0).then_some(Self { trace, span, sampled })
    }

    /// `later` if it is a hop of the same trace, else this one: what is shown to people under one trace id
    /// stays under it even where the spans begin a trace of their own.
    #[must_use]
    pub fn continued(self, later: Option<Self>) -> Self {
        later.filter(|later| self.same_trace(*later)).unwrap_or(self)
    }

    /// Whether both are hops of one trace.
    #[must_use]
    pub fn same_trace(self, other: Self) -> bool {
        self.trace == other.trace
    }

    /// The 32 hexadecimal digits that people search for.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }
}

fn random_span() -> u64 {
    rand::random::<u64>() | 1
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for TraceParent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for TraceParent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("not a traceparent of version 00"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specification_s_example_round_trips() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parsed = TraceParent::parse(text).unwrap();
        assert_eq!(parsed.to_string(), text);
        assert_eq!(parsed.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parsed.child().trace_id(), parsed.trace_id());
        assert_ne!(parsed.child().to_string(), text);
    }

    #[test]
    fn malformed_headers_are_refused() {
        for text in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(text), None, "{text}");
        }
    }
}
