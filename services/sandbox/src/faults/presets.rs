//! The ready-made rules the page offers: a table.

use serde::Serialize;

use super::rule::FaultChannel::{Smtp, Twilio, Webhook};
use super::rule::{CallbackMode, Delay, Effect, Match, Rule, Stage, When};

/// A ready-made rule with words for the page.
#[derive(Debug, Clone, Serialize)]
pub struct Preset {
    pub key: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    pub rule: Rule,
}

/// The rules the page offers.
pub fn presets() -> Vec<Preset> {
    let third = Some(0.3);
    #[rustfmt::skip]
    let rows = [
        ("mail-down", "E-mail: server down", "Every message is answered 421 4.3.2.", Smtp, None, smtp_reply(421, "4.3.2", "system not accepting messages")),
        ("mail-flaky", "E-mail: 30 % try later", "Three of ten messages are answered 451 4.3.0.", Smtp, third, smtp_reply(451, "4.3.0", "temporary failure")),
        ("mail-refused", "E-mail: refused by policy", "Every message is answered 550 5.7.1.", Smtp, None, smtp_reply(550, "5.7.1", "message refused by policy")),
        ("mail-slow", "E-mail: slow", "Answers after about 300 ms, with a long tail.", Smtp, None, slow()),
        ("mail-hang", "E-mail: no answer", "Reads the message, keeps nothing and never answers.", Smtp, None, hang()),
        ("mail-lost", "E-mail: answer lost", "Keeps the message, then closes the connection without an answer.", Smtp, None, lost()),
        ("text-down", "Texts: 503", "Every request is answered 503.", Twilio, None, unavailable(Some(20_503), None)),
        ("text-limited", "Texts: too many requests", "Every request is answered 429 with Retry-After: 2.", Twilio, None, unavailable(Some(20_429), Some(2))),
        ("text-slow", "Texts: slow", "Answers after about 300 ms, with a long tail.", Twilio, None, slow()),
        ("text-undelivered", "Texts: 30 % undelivered", "Three of ten are accepted and end undelivered with 30003.", Twilio, third, Effect::Outcome { error_code: 30_003 }),
        ("text-answer-lost", "Texts: answer lost", "Keeps the message, then closes the connection without an answer.", Twilio, None, lost()),
        ("callbacks-lost", "Texts: callbacks lost", "No status callback is sent.", Twilio, None, callbacks(CallbackMode::Lost { statuses: Vec::new() })),
        ("callbacks-doubled", "Texts: callbacks doubled", "Each status callback is sent twice.", Twilio, None, callbacks(CallbackMode::Duplicated { copies: 2 })),
        ("callbacks-reordered", "Texts: callbacks reordered", "Status callbacks arrive in the opposite order.", Twilio, None, callbacks(CallbackMode::Reordered)),
        ("hook-down", "Webhooks: 503", "Every request is answered 503 with Retry-After: 2.", Webhook, None, unavailable(None, Some(2))),
        ("hook-slow", "Webhooks: slow", "Answers after about 300 ms, with a long tail.", Webhook, None, slow()),
        ("hook-hang", "Webhooks: no answer", "Never answers.", Webhook, None, hang()),
    ];
    rows.into_iter()
        .map(|(key, title, description, channel, probability, effect)| Preset {
            key,
            title,
            description,
            rule: Rule {
                id: None,
                name: Some(title.to_owned()),
                channel,
                matching: Match { probability, ..Match::default() },
                times: None,
                effect,
            },
        })
        .collect()
}

fn smtp_reply(code: u16, enhanced: &str, text: &str) -> Effect {
    Effect::Reply {
        stage: Stage::AfterDot,
        code,
        enhanced: Some(enhanced.to_owned()),
        text: Some(text.to_owned()),
    }
}

fn unavailable(code: Option<u32>, retry_after: Option<u64>) -> Effect {
    let status = if code == Some(20_429) { 429 } else { 503 };
    Effect::Http { status, code, message: None, retry_after }
}

fn slow() -> Effect {
    Effect::Delay { stage: None, delay: Delay::Lognormal { median_ms: 300.0, sigma: 0.8 } }
}

fn hang() -> Effect {
    Effect::Hang { stage: None, when: When::Before, ms: None }
}

fn lost() -> Effect {
    Effect::Close { stage: None, when: When::After }
}

fn callbacks(mode: CallbackMode) -> Effect {
    Effect::Callbacks { mode }
}
