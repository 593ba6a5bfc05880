//! The metrics of publishes, looked up now and then: a message must not pay for building labels.
//! Reads: the monotonic clock. Writes: the metrics recorder. Never: keeps a handle for longer than
//! [`HANDLE_AGE_MAX`], so that a recorder that is installed late is found.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use metrics::{Counter, Histogram, counter, histogram};

use super::{OPERATION_SECONDS, SENT};
use crate::clock;

/// How a publish can end badly.
const ERRORS: [&str; 4] = ["refused", "wrong_last_sequence", "too_large", "unavailable"];

/// After this a handle is looked up again.
const HANDLE_AGE_MAX: Duration = Duration::from_secs(5);

/// The handles of one template and one result; both are among a fixed few.
struct Handles {
    template: &'static str,
    result: &'static str,
    looked_up: Instant,
    sent: Counter,
    took: Histogram,
}

impl Handles {
    fn look_up(template: &'static str, result: &'static str, now: Instant) -> Self {
        Self {
            template,
            result,
            looked_up: now,
            sent: counter!(SENT, "messaging_system" => "nats", "messaging_operation_name" => "publish",
                "messaging_destination_template" => template, "error_type" => result),
            took: histogram!(OPERATION_SECONDS, "messaging_system" => "nats", "messaging_operation_name" => "publish",
                "messaging_destination_template" => template, "error_type" => result),
        }
    }
}

thread_local! {
    // A table of each thread's own: no lock between publishers.
    static HANDLES: RefCell<Vec<Handles>> = const { RefCell::new(Vec::new()) };
}

/// Counts `count` messages of one kind that took this long.
pub(super) fn count(template: &'static str, result: &'static str, count: u64, took: Duration) {
    let now = clock::monotonic();
    HANDLES.with_borrow_mut(|table| {
        let found = table.iter().position(|one| one.template == template && one.result == result);
        let at = found.unwrap_or_else(|| {
            table.push(Handles::look_up(template, result, now));
            // The first error of a template shall be seen as an increase.
            ERRORS
                .iter()
                .for_each(|error| Handles::look_up(template, error, now).sent.increment(0));
            table.len() - 1
        });
        if now.duration_since(table[at].looked_up) > HANDLE_AGE_MAX {
            table[at] = Handles::look_up(template, result, now);
        }
        table[at].sent.increment(count);
        table[at].took.record(took.as_secs_f64());
    });
}
