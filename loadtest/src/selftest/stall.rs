//! Keeps the generator from sending for a while. A request's body is written by the thread that
//! paces open load, after the arrival is due and before its request is sent: a writer that sleeps
//! does to it what a starved core or a long pause of the machine would. A target's writer is a
//! plain function, so what is asked of it lies in statics; one selftest runs in a process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::now_ns;
use crate::load::post::{Post, campana_body};

static ASKED_NS: AtomicU64 = AtomicU64::new(0);
static BEGAN_NS: AtomicU64 = AtomicU64::new(0);
static ENDED_NS: AtomicU64 = AtomicU64::new(0);

/// A time span as it really was, [`crate::clock::now_ns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from_ns: u64,
    pub to_ns: u64,
}

impl Span {
    /// How long it took.
    pub fn ms(self) -> f64 {
        self.to_ns.saturating_sub(self.from_ns) as f64 / 1e6
    }
}

/// Writes what Campana takes, and first sleeps if that was asked for.
pub fn body(post: &Post<'_>, out: &mut String) {
    campana_body(post, out);
    let asked_ns = ASKED_NS.swap(0, Ordering::AcqRel);
    if asked_ns > 0 {
        BEGAN_NS.store(now_ns(), Ordering::Release);
        std::thread::sleep(Duration::from_nanos(asked_ns));
        ENDED_NS.store(now_ns(), Ordering::Release);
    }
}

/// The next request shall wait this long.
pub fn ask(time: Duration) {
    BEGAN_NS.store(0, Ordering::Release);
    ENDED_NS.store(0, Ordering::Release);
    ASKED_NS.store(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Release);
}

/// Takes a wish back that nobody has carried out.
pub fn forget() {
    ASKED_NS.store(0, Ordering::Release);
}

/// When the wait that was asked for began, if it has.
pub fn began_ns() -> Option<u64> {
    Some(BEGAN_NS.load(Ordering::Acquire)).filter(|ns| *ns > 0)
}

/// The wait that was asked for, if it is over.
pub fn over() -> Option<Span> {
    let to_ns = Some(ENDED_NS.load(Ordering::Acquire)).filter(|ns| *ns > 0)?;
    Some(Span { from_ns: began_ns()?, to_ns })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_waits_and_says_how_long() {
        let post = Post { recipients: &[], channels: &[], title: "a", body: "b" };
        let (mut first, mut second) = (String::new(), String::new());
        ask(Duration::from_millis(2));
        assert!(over().is_none());
        body(&post, &mut first);
        let span = over().unwrap();
        assert!(span.ms() >= 2.0);
        body(&post, &mut second);
        assert_eq!((over(), &first), (Some(span), &second), "only one request waits");
        ask(Duration::from_secs(3_600));
        forget();
        body(&post, &mut second);
        assert!(over().is_none());
    }
}
