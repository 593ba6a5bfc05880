//! The language of fault rules, as JSON carries it, and the check that a rule makes sense.
//!
//! A rule is checked when it is set, so that the receivers never meet an impossible one.

use serde::{Deserialize, Serialize};

/// Rules that may be set at once.
pub const MAX_RULES: usize = 100;
/// The longest delay or hang a rule may ask for.
pub const MAX_DELAY_MS: u64 = 600_000;
/// The longest text a rule may carry in one field.
const MAX_TEXT: usize = 200;
/// The most copies of a callback a rule may ask for.
const MAX_COPIES: u32 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultChannel {
    Smtp,
    Twilio,
    Webhook,
}

impl FaultChannel {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Twilio => "twilio",
            Self::Webhook => "webhook",
        }
    }
}

/// The moment at which a fault strikes. HTTP channels know only `request`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Connect,
    Mail,
    Rcpt,
    Data,
    AfterDot,
    Request,
}

/// Whether the command is carried out before the connection hangs or closes: `after` is the
/// ambiguous case in which the message was taken and the sender never learns it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    #[default]
    Before,
    After,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Given by the sandbox; what a caller sends here is ignored.
    #[serde(default, skip_serializing)]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub channel: FaultChannel,
    #[serde(default, rename = "match")]
    pub matching: Match,
    /// Applications after which the rule is off; without it the rule stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    pub effect: Effect,
}

/// All given conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Part of a recipient (address, number or webhook name), case-insensitive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// Every nth request that got this far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Start of this rule's draws: the same seed gives the same story.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// Waits, then goes on; delays of several rules add up.
    Delay {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<Stage>,
        delay: Delay,
    },
    /// An SMTP refusal.
    Reply {
        stage: Stage,
        code: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        enhanced: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// An HTTP refusal; `code` is Twilio's error code.
    Http {
        status: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
    /// Answers nothing for `ms`, then closes the connection.
    Hang {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<Stage>,
        #[serde(default)]
        when: When,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ms: Option<u64>,
    },
    Close {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<Stage>,
        #[serde(default)]
        when: When,
    },
    /// Status callbacks go wrong.
    Callbacks { mode: CallbackMode },
    /// The text message is accepted and fails later with this error code.
    Outcome { error_code: u32 },
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Delay {
    Fixed {
        ms: u64,
    },
    Uniform {
        min_ms: u64,
        max_ms: u64,
    },
    /// The shape of real latencies: `median_ms` in the middle, `sigma` how long the tail is.
    Lognormal {
        median_ms: f64,
        sigma: f64,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CallbackMode {
    /// Never sent; `statuses` limits it to some.
    Lost {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        statuses: Vec<String>,
    },
    /// Each is sent `copies` times.
    Duplicated { copies: u32 },
    /// Sent in the opposite order.
    Reordered,
    /// All arrive later by this much.
    Late { ms: u64 },
}

impl Effect {
    /// The stage at which this effect strikes on the given channel.
    pub fn stage(&self, channel: FaultChannel) -> Stage {
        if channel != FaultChannel::Smtp {
            return Stage::Request;
        }
        match self {
            Self::Reply { stage, .. } => *stage,
            Self::Delay { stage, .. } | Self::Hang { stage, .. } | Self::Close { stage, .. } => {
                stage.unwrap_or(Stage::AfterDot)
            }
            Self::Http { .. } | Self::Callbacks { .. } | Self::Outcome { .. } => Stage::Request,
        }
    }
}

impl Rule {
    /// Says what is wrong with the rule, or nothing.
    pub fn check(&self) -> Result<(), String> {
        self.check_match()?;
        self.check_stage()?;
        match &self.effect {
            Effect::Delay { delay, .. } => delay.check(),
            Effect::Reply { code, enhanced, text, .. } => {
                only(self.channel == FaultChannel::Smtp, "reply is for the smtp channel")?;
                check_reply(*code, enhanced.as_deref(), text.as_deref())
            }
            Effect::Http { status, message, retry_after, .. } => {
                only(self.channel != FaultChannel::Smtp, "http is for twilio and webhook")?;
                only((200..=599).contains(status), "status must be 200 to 599")?;
                only(retry_after.is_none_or(|s| s <= 86_400), "retry_after is at most 86400 s")?;
                only(message.as_ref().is_none_or(|m| m.len() <= MAX_TEXT), "message is too long")
            }
            Effect::Hang { ms, .. } => {
                only(ms.is_none_or(|ms| ms <= MAX_DELAY_MS), "hang is at most 600000 ms")
            }
            Effect::Close { .. } => Ok(()),
            Effect::Callbacks { mode } => {
                only(self.channel == FaultChannel::Twilio, "callbacks is for twilio")?;
                mode.check()
            }
            Effect::Outcome { error_code } => {
                only(self.channel == FaultChannel::Twilio, "outcome is for twilio")?;
                only((10_000..=99_999).contains(error_code), "error_code has five digits")
            }
        }
    }

    fn check_match(&self) -> Result<(), String> {
        let m = &self.matching;
        only(m.every.is_none_or(|n| n >= 1), "every must be at least 1")?;
        only(m.probability.is_none_or(|p| (0.0..=1.0).contains(&p)), "probability is 0 to 1")?;
        let recipient = m.recipient.as_deref();
        only(recipient.is_none_or(|r| !r.is_empty() && r.len() <= MAX_TEXT), "recipient length")?;
        only(self.name.as_ref().is_none_or(|n| n.len() <= MAX_TEXT), "name is too long")?;
        only(self.times != Some(0), "times must be at least 1")
    }

    fn check_stage(&self) -> Result<(), String> {
        let given = match &self.effect {
            Effect::Delay { stage, .. }
            | Effect::Hang { stage, .. }
            | Effect::Close { stage, .. } => *stage,
            Effect::Reply { stage, .. } => Some(*stage),
            _ => None,
        };
        let smtp = self.channel == FaultChannel::Smtp;
        only(
            given.is_none_or(|stage| (stage == Stage::Request) != smtp),
            "smtp knows the stages connect, mail, rcpt, data, after_dot; the others only request",
        )?;
        let early = matches!(self.effect.stage(self.channel), Stage::Connect | Stage::Mail);
        only(
            !(early && self.matching.recipient.is_some()),
            "no recipient is known at connect or mail",
        )
    }
}

impl Delay {
    fn check(self) -> Result<(), String> {
        match self {
            Self::Fixed { ms } => only(ms <= MAX_DELAY_MS, "a delay is at most 600000 ms"),
            Self::Uniform { min_ms, max_ms } => only(
                min_ms <= max_ms && max_ms <= MAX_DELAY_MS,
                "min_ms must not exceed max_ms, which is at most 600000",
            ),
            Self::Lognormal { median_ms, sigma } => only(
                median_ms > 0.0 && median_ms <= MAX_DELAY_MS as f64 && (0.0..=5.0).contains(&sigma),
                "median_ms must be above 0 and at most 600000, sigma 0 to 5",
            ),
        }
    }
}

impl CallbackMode {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Lost { statuses } => only(statuses.len() <= 8, "at most 8 statuses"),
            Self::Duplicated { copies } => {
                only((2..=MAX_COPIES).contains(copies), "copies must be 2 to 10")
            }
            Self::Reordered => Ok(()),
            Self::Late { ms } => only(*ms <= MAX_DELAY_MS, "late is at most 600000 ms"),
        }
    }
}

/// An SMTP refusal must be one: 4xx or 5xx, with an enhanced code of the same class and a text
/// that cannot start a line of its own.
fn check_reply(code: u16, enhanced: Option<&str>, text: Option<&str>) -> Result<(), String> {
    only((400..=599).contains(&code), "code must be 400 to 599")?;
    if let Some(enhanced) = enhanced {
        let parts: Vec<&str> = enhanced.split('.').collect();
        let digits =
            |p: &&str| (1..=3).contains(&p.len()) && p.bytes().all(|byte| byte.is_ascii_digit());
        only(parts.len() == 3 && parts.iter().all(digits), "enhanced looks like 5.1.1")?;
        only(
            parts.first().is_some_and(|class| *class == (code / 100).to_string()),
            "the classes of code and enhanced must be the same",
        )?;
    }
    let plain = |t: &str| t.len() <= MAX_TEXT && t.bytes().all(|b| (b' '..=b'~').contains(&b));
    only(text.is_none_or(plain), "text must be short printable ASCII")
}

fn only(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}
