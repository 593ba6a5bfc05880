//! The metrics of every delivery, looked up now and then: a message to ten thousand clients must not pay ten thousand
//! times for building labels.
//! Reads: the monotonic clock. Writes: the metrics recorder. Never: keeps a handle for longer than
//! [`HANDLE_AGE_MAX`], so that a recorder that is installed late is found.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use campana_bus::clock;
use metrics::{Counter, Histogram, counter, histogram};

use super::{BYTES_SENT, MESSAGES_SENT, PUBLISH_LAG, TRANSPORT};
use crate::transport::Kind;

/// After this a handle is looked up again.
const HANDLE_AGE_MAX: Duration = Duration::from_secs(5);
/// Uses between two looks at the clock.
const USES_PER_LOOK: u32 = 64;

struct Transport {
    kind: Kind,
    messages: Counter,
    bytes: Counter,
}

struct Namespace {
    name: Box<str>,
    lag: Histogram,
}

/// The handles of one thread; transports and namespaces are few.
struct Handles {
    looked_up: Instant,
    uses: u32,
    transports: Vec<Transport>,
    namespaces: Vec<Namespace>,
}

impl Handles {
    /// Looks at the clock now and then, because that is a share of what a delivery costs.
    fn is_old(&mut self) -> bool {
        self.uses = self.uses.wrapping_add(1);
        if self.uses > USES_PER_LOOK && !self.uses.is_multiple_of(USES_PER_LOOK) {
            return false;
        }
        clock::monotonic().duration_since(self.looked_up) > HANDLE_AGE_MAX
    }
}

thread_local! {
    // A table of each thread's own: no lock between connections.
    static HANDLES: RefCell<Option<Handles>> = const { RefCell::new(None) };
}

fn with<R>(use_it: impl FnOnce(&mut Handles) -> R) -> R {
    HANDLES.with_borrow_mut(|kept| {
        if kept.as_mut().is_some_and(Handles::is_old) {
            *kept = None;
        }
        use_it(kept.get_or_insert_with(|| Handles {
            looked_up: clock::monotonic(),
            uses: 0,
            transports: Vec::new(),
            namespaces: Vec::new(),
        }))
    })
}

/// Counts what one write brought to a client.
pub(crate) fn sent(kind: Kind, messages: usize, bytes: usize) {
    with(|handles| {
        let found = handles.transports.iter().position(|one| one.kind == kind);
        let at = found.unwrap_or_else(|| {
            let messages = counter!(MESSAGES_SENT, TRANSPORT => kind.label());
            let bytes = counter!(BYTES_SENT, TRANSPORT => kind.label());
            handles.transports.push(Transport { kind, messages, bytes });
            handles.transports.len() - 1
        });
        let transport = &handles.transports[at];
        transport.messages.increment(messages as u64);
        transport.bytes.increment(bytes as u64);
    });
}

/// Records how old a publication was when it was written.
pub(super) fn lag(namespace: &str, lag: Duration) {
    with(|handles| {
        let found = handles.namespaces.iter().position(|one| *one.name == *namespace);
        let at = found.unwrap_or_else(|| {
            let lag = histogram!(PUBLISH_LAG, "channel_namespace" => namespace.to_owned());
            handles.namespaces.push(Namespace { name: namespace.into(), lag });
            handles.namespaces.len() - 1
        });
        handles.namespaces[at].lag.record(lag.as_secs_f64());
    });
}
