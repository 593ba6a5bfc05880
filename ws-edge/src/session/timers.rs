//! Everything in a session that happens because time passes.
//! Reads: the time it is given. Writes: effects. Never: sets a timer; it says when it wants to be asked.

use super::{Effect, Now, Report, Session, State};
use crate::codes::{disconnect, unsubscribe};
use crate::encode;
use crate::options::EdgeOptions;

/// A moment that does not come.
pub(super) const NEVER: u64 = u64::MAX;

/// Moments at which something is due, in milliseconds of the session's clock.
#[derive(Debug)]
pub(super) struct Timers {
    connect_by: u64,
    ping_at: u64,
    pong_by: u64,
    /// When the token ends; the connection may stay a little longer to be refreshed.
    pub(super) expires_at: u64,
    /// When a service is asked whether the connection may stay.
    pub(super) ask_at: u64,
    first_ping_ms: u64,
}

impl Timers {
    pub(super) fn new(options: &EdgeOptions, now: Now, first_ping_ms: u64) -> Self {
        Self {
            connect_by: now.ms.saturating_add(options.connect_timeout_ms),
            ping_at: NEVER,
            pong_by: NEVER,
            expires_at: NEVER,
            ask_at: NEVER,
            first_ping_ms: first_ping_ms.min(options.ping_interval_ms),
        }
    }

    /// The client said who it is; how long it takes to answer is not its fault.
    pub(super) fn introduced(&mut self) {
        self.connect_by = NEVER;
    }

    /// The client was turned away and should leave; one that stays silent does not stay for ever.
    pub(super) fn refused(&mut self, options: &EdgeOptions, now: Now) {
        self.connect_by = now.ms.saturating_add(options.connect_timeout_ms);
    }

    pub(super) fn connected(&mut self, now: Now) {
        self.connect_by = NEVER;
        self.ping_at = now.ms.saturating_add(self.first_ping_ms);
    }
}

/// The session's clock at a Unix time.
pub(super) fn moment(unix: Option<i64>, now: Now) -> u64 {
    let Some(unix) = unix else { return NEVER };
    let left = u64::try_from(unix.saturating_sub(now.unix)).unwrap_or(0);
    now.ms.saturating_add(left.saturating_mul(1_000))
}

impl Session {
    /// When [`Session::on_timer`] wants to be called next; `u64::MAX` for never.
    #[must_use]
    pub fn next_timer_ms(&self) -> u64 {
        if self.is_closed() {
            return NEVER;
        }
        let grace = self.rules.options.expiry_grace_ms;
        let ends = self.subscriptions.iter().map(|one| one.expires_at).min().unwrap_or(NEVER);
        let expiry = self.timers.expires_at.min(ends).saturating_add(grace);
        let asks = self.subscriptions.iter().map(|one| one.ask_at).min().unwrap_or(NEVER);
        let own = self.timers.connect_by.min(self.timers.ping_at).min(self.timers.pong_by);
        own.min(expiry).min(asks).min(self.timers.ask_at)
    }

    /// The time has come, or has not: does what is due.
    pub fn on_timer(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.is_closed() {
            return;
        }
        let grace = self.rules.options.expiry_grace_ms;
        let due = |at: u64| at <= now.ms;
        if due(self.timers.connect_by) {
            return self.close(disconnect::STALE, out);
        }
        if due(self.timers.pong_by) {
            return self.close(disconnect::NO_PONG, out);
        }
        if due(self.timers.expires_at.saturating_add(grace)) {
            return self.close(disconnect::EXPIRED, out);
        }
        while let Some(at) =
            self.subscriptions.iter().position(|one| due(one.expires_at.saturating_add(grace)))
        {
            if self.subscriptions[at].server_side {
                return self.close(disconnect::SUBSCRIPTION_EXPIRED, out);
            }
            self.end_subscription(at, unsubscribe::EXPIRED, out);
        }
        self.ask_to_stay(now, out);
        if due(self.timers.ping_at) && !self.is_closed() {
            out.push(match self.mode.frame_pings {
                true => Effect::Ping,
                false => Effect::Send(encode::ping(self.protocol)),
            });
            self.timers.ping_at = now.ms.saturating_add(self.rules.options.ping_interval_ms);
            if self.expects_pongs() {
                self.timers.pong_by = now.ms.saturating_add(self.rules.options.pong_timeout_ms);
            }
        }
    }

    /// The client answered a ping, or pretends to.
    pub(super) fn pong(&mut self, now: Now, out: &mut Vec<Effect>) {
        debug_assert!(matches!(self.state, State::Connected));
        if !self.answered(now, out) {
            self.close(disconnect::BAD_REQUEST, out);
        }
    }

    /// Something came that answers a ping; says whether one waited for its answer.
    pub(super) fn answered(&mut self, now: Now, out: &mut Vec<Effect>) -> bool {
        if self.timers.pong_by == NEVER {
            return false;
        }
        let sent_at = self.timers.pong_by.saturating_sub(self.rules.options.pong_timeout_ms);
        self.timers.pong_by = NEVER;
        out.push(Effect::Report(Report::Pong(now.ms.saturating_sub(sent_at))));
        true
    }
}
