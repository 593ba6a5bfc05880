//! Names of every metric of the sandbox, and the counters that `GET /api/stats` shows.
//!
//! The same event moves both, so page and dashboard cannot drift apart. Label values come from
//! closed sets; an address or a message never becomes one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

/// Messages that arrived, by channel and result.
pub const MESSAGES_TOTAL: &str = "campana_sandbox_messages_total";
/// Messages kept for the page.
pub const MESSAGES_KEPT: &str = "campana_sandbox_messages_kept";
/// Bytes of the messages kept.
pub const KEPT_BYTES: &str = "campana_sandbox_kept_bytes";
/// Messages that were forgotten to make room.
pub const EVICTED_TOTAL: &str = "campana_sandbox_evicted_total";
/// SMTP connections open now.
pub const SMTP_CONNECTIONS: &str = "campana_sandbox_smtp_connections";
/// SMTP connections accepted or refused.
pub const SMTP_CONNECTIONS_TOTAL: &str = "campana_sandbox_smtp_connections_total";
/// SMTP replies, by code.
pub const SMTP_REPLIES_TOTAL: &str = "campana_sandbox_smtp_replies_total";
/// HTTP connections open now.
pub const WEB_CONNECTIONS: &str = "campana_sandbox_web_connections";
/// Status callbacks, by how they ended.
pub const CALLBACKS_TOTAL: &str = "campana_sandbox_callbacks_total";
/// Scripted faults that were applied, by channel.
pub const FAULTS_APPLIED_TOTAL: &str = "campana_sandbox_faults_applied_total";

/// How one planned callback ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackResult {
    Answered,
    Failed,
    Refused,
    Dropped,
}

impl CallbackResult {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Dropped => "dropped",
        }
    }
}

/// Counters since the start of the process.
#[derive(Debug, Default)]
pub struct Stats {
    smtp_open: AtomicU64,
    smtp_accepted: AtomicU64,
    smtp_refused: AtomicU64,
    smtp_rejected_messages: AtomicU64,
    web_open: AtomicU64,
    callbacks_answered: AtomicU64,
    callbacks_failed: AtomicU64,
    callbacks_refused: AtomicU64,
    callbacks_dropped: AtomicU64,
    faults_applied: AtomicU64,
}

/// Connections of the SMTP side as `GET /api/stats` shows them.
#[derive(Debug, Serialize)]
pub struct SmtpStats {
    pub open: u64,
    pub accepted: u64,
    pub refused: u64,
    pub rejected_messages: u64,
}

/// Status callbacks as `GET /api/stats` shows them.
#[derive(Debug, Serialize)]
pub struct CallbackStats {
    pub answered: u64,
    pub failed: u64,
    pub refused: u64,
    pub dropped: u64,
}

impl Stats {
    pub fn smtp_opened(&self) {
        self.smtp_accepted.fetch_add(1, Relaxed);
        self.smtp_open.fetch_add(1, Relaxed);
        metrics::counter!(SMTP_CONNECTIONS_TOTAL, "result" => "accepted").increment(1);
        metrics::gauge!(SMTP_CONNECTIONS).increment(1.0);
    }

    pub fn smtp_closed(&self) {
        self.smtp_open.fetch_sub(1, Relaxed);
        metrics::gauge!(SMTP_CONNECTIONS).decrement(1.0);
    }

    pub fn smtp_refused(&self) {
        self.smtp_refused.fetch_add(1, Relaxed);
        metrics::counter!(SMTP_CONNECTIONS_TOTAL, "result" => "refused").increment(1);
    }

    pub fn smtp_rejected_message(&self) {
        self.smtp_rejected_messages.fetch_add(1, Relaxed);
    }

    pub fn smtp_replied(&self, code: u16) {
        let class = match code / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        metrics::counter!(SMTP_REPLIES_TOTAL, "class" => class).increment(1);
    }

    pub fn web_opened(&self) {
        self.web_open.fetch_add(1, Relaxed);
        metrics::gauge!(WEB_CONNECTIONS).increment(1.0);
    }

    pub fn web_closed(&self) {
        self.web_open.fetch_sub(1, Relaxed);
        metrics::gauge!(WEB_CONNECTIONS).decrement(1.0);
    }

    pub fn callback(&self, result: CallbackResult) {
        let counter = match result {
            CallbackResult::Answered => &self.callbacks_answered,
            CallbackResult::Failed => &self.callbacks_failed,
            CallbackResult::Refused => &self.callbacks_refused,
            CallbackResult::Dropped => &self.callbacks_dropped,
        };
        counter.fetch_add(1, Relaxed);
        metrics::counter!(CALLBACKS_TOTAL, "result" => result.as_str()).increment(1);
    }

    pub fn faults(&self, channel: &'static str, count: u64) {
        self.faults_applied.fetch_add(count, Relaxed);
        metrics::counter!(FAULTS_APPLIED_TOTAL, "channel" => channel).increment(count);
    }

    pub fn smtp(&self) -> SmtpStats {
        SmtpStats {
            open: self.smtp_open.load(Relaxed),
            accepted: self.smtp_accepted.load(Relaxed),
            refused: self.smtp_refused.load(Relaxed),
            rejected_messages: self.smtp_rejected_messages.load(Relaxed),
        }
    }

    pub fn callbacks(&self) -> CallbackStats {
        CallbackStats {
            answered: self.callbacks_answered.load(Relaxed),
            failed: self.callbacks_failed.load(Relaxed),
            refused: self.callbacks_refused.load(Relaxed),
            dropped: self.callbacks_dropped.load(Relaxed),
        }
    }

    pub fn web_open(&self) -> u64 {
        self.web_open.load(Relaxed)
    }

    pub fn faults_applied(&self) -> u64 {
        self.faults_applied.load(Relaxed)
    }
}

/// Gauges are floating point; counts here stay far below the 2^53 where that would lose units.
pub fn as_gauge(value: u64) -> f64 {
    value as f64
}
