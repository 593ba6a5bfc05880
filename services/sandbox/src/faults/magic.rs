//! Recipients that misbehave by their name, so that a person can try a failure without a script.
//!
//! All tables; the only state is the bounded memory of who was greylisted.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::decide::{Action, CallbackFault, DEFAULT_HANG, Decision};
use super::rule::{Stage, When};

/// What `slow` means without a number.
const SLOW: Duration = Duration::from_secs(2);
/// The longest `slow-<ms>`.
const MAX_SLOW_MS: u64 = 60_000;
/// Pairs of sender and recipient that the greylist remembers; the oldest is forgotten first.
const GREYLIST_MEMORY: usize = 10_000;

/// What the page tells people to try.
pub const MAGIC: [(&str, &str); 15] = [
    ("bounce@…", "550 5.1.1 no such user"),
    ("greylist@…", "451 4.7.1 the first time"),
    ("full@…", "452 4.2.2 mailbox full"),
    ("spam@…", "550 5.7.1 refused by policy"),
    ("quota@…", "550 5.4.5 daily quota"),
    ("slow@…", "answers after 2 s"),
    ("hang@…", "never answers"),
    ("lost@…", "kept, but the answer is lost"),
    ("+15005550001", "21211 invalid number"),
    ("+15005550009", "21614 not a mobile number"),
    ("+15005550429", "429 too many requests"),
    ("+15005553003", "accepted, then undelivered 30003"),
    ("+15005550992", "accepted, callbacks lost"),
    ("webhook/status-503", "answers this status"),
    ("webhook/slow-500", "answers after 500 ms"),
];

/// Who has been greylisted once and is let through the next time.
#[derive(Debug, Default)]
pub struct GreylistMemory {
    known: HashSet<(String, String)>,
    order: VecDeque<(String, String)>,
}

impl GreylistMemory {
    /// True the first time this sender writes to this recipient.
    pub fn first_time(&mut self, sender: &str, recipient: &str) -> bool {
        let pair = (sender.to_lowercase(), recipient.to_lowercase());
        if !self.known.insert(pair.clone()) {
            return false;
        }
        self.order.push_back(pair);
        if self.order.len() > GREYLIST_MEMORY
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

/// What a magic mailbox does at a stage. `greylisted` is asked only for `greylist@…`.
pub fn smtp(stage: Stage, recipient: &str, greylisted: impl FnOnce() -> bool) -> Decision {
    let local = recipient.split('@').next().unwrap_or_default().to_ascii_lowercase();
    let local = local.split('+').next().unwrap_or_default();
    let mut decision = Decision::default();
    decision.action = match (stage, local) {
        (Stage::Rcpt, "bounce") => reply(550, "5.1.1", "no such user here"),
        (Stage::Rcpt, "disabled") => reply(550, "5.2.1", "mailbox disabled"),
        (Stage::Rcpt, "full") => reply(452, "4.2.2", "mailbox full"),
        (Stage::Rcpt, "busy") => reply(421, "4.3.2", "system not accepting messages"),
        (Stage::Rcpt, "quota") => reply(550, "5.4.5", "daily sending quota exceeded"),
        (Stage::Rcpt, "greylist") if greylisted() => {
            reply(451, "4.7.1", "greylisted, try again later")
        }
        (Stage::AfterDot, "spam") => reply(550, "5.7.1", "message refused by policy"),
        (Stage::AfterDot, "hang") => Some(Action::Hang { when: When::Before, limit: DEFAULT_HANG }),
        (Stage::AfterDot, "drop") => Some(Action::Close { when: When::Before }),
        (Stage::AfterDot, "lost") => Some(Action::Close { when: When::After }),
        (Stage::AfterDot, "slow") => {
            decision.delay = SLOW;
            None
        }
        _ => None,
    };
    decision
}

/// What a magic telephone number does. The first block is Twilio's own list of test numbers, the
/// others are the sandbox's: the last digits name the HTTP status or the later error.
pub fn twilio(number: &str) -> Decision {
    let mut decision = Decision::default();
    let Some(digits) = number.strip_prefix("+1500555") else {
        return decision;
    };
    decision.action = match digits {
        "0001" => twilio_error(400, 21_211, None),
        "0002" => twilio_error(400, 21_612, None),
        "0003" => twilio_error(400, 21_408, None),
        "0004" => twilio_error(400, 21_610, None),
        "0009" => twilio_error(400, 21_614, None),
        "0429" => twilio_error(429, 20_429, Some(1)),
        "0500" => twilio_error(500, 20_500, None),
        "0503" => twilio_error(503, 20_503, Some(1)),
        "0504" => Some(Action::Hang { when: When::Before, limit: DEFAULT_HANG }),
        "0990" => Some(Action::Close { when: When::Before }),
        "0991" => Some(Action::Close { when: When::After }),
        _ => None,
    };
    match digits {
        "0200" => decision.delay = SLOW,
        "0992" => decision.callbacks.lost = Some(Vec::new()),
        "0993" => {
            decision.callbacks =
                CallbackFault { copies: 2, reordered: true, ..CallbackFault::default() };
        }
        // +15005553003 is accepted and ends undelivered with 30003.
        _ => {
            decision.outcome = digits
                .strip_prefix("30")
                .filter(|rest| rest.len() == 2)
                .and_then(|rest| rest.parse::<u32>().ok())
                .map(|n| 30_000 + n);
        }
    }
    decision
}

/// What Twilio's test sender numbers do.
pub fn twilio_sender(number: &str) -> Option<u32> {
    match number {
        "+15005550001" => Some(21_212),
        "+15005550007" => Some(21_606),
        "+15005550008" => Some(21_611),
        _ => None,
    }
}

/// What a magic webhook name does.
pub fn webhook(name: &str) -> Decision {
    let mut decision = Decision::default();
    let number = |prefix: &str| name.strip_prefix(prefix)?.parse::<u64>().ok();
    if let Some(status) = number("status-").and_then(|n| u16::try_from(n).ok()) {
        if (200..=599).contains(&status) {
            let retry_after = matches!(status, 429 | 503).then_some(1);
            decision.action = Some(Action::Http { status, code: None, message: None, retry_after });
        }
    } else if let Some(ms) = number("slow-") {
        decision.delay = Duration::from_millis(ms.min(MAX_SLOW_MS));
    } else {
        match name {
            "slow" => decision.delay = SLOW,
            "hang" => {
                decision.action = Some(Action::Hang { when: When::Before, limit: DEFAULT_HANG });
            }
            "drop" => decision.action = Some(Action::Close { when: When::Before }),
            "lost" => decision.action = Some(Action::Close { when: When::After }),
            _ => {}
        }
    }
    decision
}

fn reply(code: u16, enhanced: &str, text: &str) -> Option<Action> {
    Some(Action::Reply { code, enhanced: enhanced.to_owned(), text: text.to_owned() })
}

fn twilio_error(status: u16, code: u32, retry_after: Option<u64>) -> Option<Action> {
    Some(Action::Http { status, code: Some(code), message: None, retry_after })
}
