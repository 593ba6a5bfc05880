//! Refuses new notifications while too many wait for the dispatcher.
//! Reads: the size of the stream `REQUESTS`, once a second, less often while nobody sends. Writes: nothing. Never:
//! looks on the way of a request. The stream itself has no limit (it carries schedules), so this check is the bound.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use campana_bus::{subjects, topology};

use super::options::GatewayOptions;
use super::problem::{Code, Problem};
use super::state::App;

/// Looks that a gateway at rest leaves out between two.
const RESTS: u32 = 4;

/// The last look at the backlog.
pub(super) struct Admission {
    /// Whether somebody asked since.
    asked: AtomicBool,
    messages: AtomicU64,
    bytes: AtomicU64,
    messages_max: u64,
    bytes_max: u64,
}

impl Admission {
    pub(super) fn new(options: &GatewayOptions) -> Self {
        Self {
            asked: AtomicBool::new(false),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            messages_max: options.backlog_messages_max,
            bytes_max: options.backlog_bytes_max,
        }
    }

    fn set(&self, messages: u64, bytes: u64) {
        self.messages.store(messages, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Whether one more notification may come in.
    pub(super) fn check(&self) -> Result<(), Problem> {
        self.asked.store(true, Ordering::Relaxed);
        let full = self.messages.load(Ordering::Relaxed) > self.messages_max
            || self.bytes.load(Ordering::Relaxed) > self.bytes_max;
        if full {
            return Err(Problem::new(Code::Overloaded, "the dispatcher has to catch up first")
                .retry_after(2));
        }
        Ok(())
    }

    /// Whether nothing waited at the last look, and nobody came since this was asked last.
    fn rests(&self) -> bool {
        !self.asked.swap(false, Ordering::Relaxed) && self.messages.load(Ordering::Relaxed) == 0
    }
}

/// Looks until the soft stop.
pub(super) async fn watch(app: App) {
    let pause = Duration::from_millis(app.options.backlog_poll_ms.max(10));
    let mut left_out = RESTS;
    loop {
        if !app.admission.rests() || left_out >= RESTS {
            left_out = 0;
            look(&app).await;
        } else {
            left_out += 1;
        }
        tokio::select! {
            () = app.lifecycle.soft.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// When the server does not answer, the last figures stay: a publish will tell by itself.
async fn look(app: &App) {
    // Notifications that wait for their time are no backlog, so only what is due counts as messages; the
    // bytes are those of the whole stream, because they are what fills the disk.
    let bus = &app.deps.bus;
    let waiting = bus.count(topology::REQUESTS, subjects::REQUESTS_FILTER);
    let (Ok(messages), Ok(position)) = tokio::join!(waiting, bus.position(topology::REQUESTS))
    else {
        return;
    };
    app.admission.set(messages, position.bytes);
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    {
        app.metrics.backlog_messages.set(messages as f64);
        app.metrics.backlog_bytes.set(position.bytes as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_close_the_door_and_open_it_again() {
        let options = GatewayOptions {
            backlog_messages_max: 10,
            backlog_bytes_max: 100,
            ..GatewayOptions::default()
        };
        let admission = Admission::new(&options);
        assert!(admission.check().is_ok());
        for (messages, bytes) in [(11, 0), (0, 101)] {
            admission.set(messages, bytes);
            assert_eq!(admission.check().unwrap_err().code, Code::Overloaded);
        }
        admission.set(10, 100);
        assert!(admission.check().is_ok());
    }

    #[test]
    fn it_rests_when_nobody_came_and_nothing_waits() {
        let admission = Admission::new(&GatewayOptions::default());
        assert!(admission.rests());
        admission.check().unwrap();
        assert!(!admission.rests(), "somebody came");
        assert!(admission.rests(), "and nobody since");
        admission.set(1, 1);
        assert!(!admission.rests(), "something waits");
    }
}
