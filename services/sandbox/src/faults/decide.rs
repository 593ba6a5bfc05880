//! What happens to one request: a pure function of the rules, the facts and the draws.
//!
//! Reads no clock, no generator and no shared state; the book feeds it and keeps the counts it
//! returns.

use std::time::Duration;

use super::rule::{CallbackMode, Delay, Effect, FaultChannel, MAX_DELAY_MS, Rule, Stage, When};

/// How long a hang lasts when the rule does not say: longer than any sender's deadline.
pub const DEFAULT_HANG: Duration = Duration::from_secs(300);

/// What is known about a request when a fault may strike.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub channel: FaultChannel,
    pub stage: Stage,
    pub recipients: &'a [&'a str],
}

/// A rule with what it has done so far.
#[derive(Debug, Clone)]
pub struct Counted {
    pub rule: Rule,
    /// Requests that satisfied channel, stage and recipient.
    pub seen: u64,
    pub applied: u64,
}

impl Counted {
    pub fn exhausted(&self) -> bool {
        self.rule.times.is_some_and(|times| self.applied >= times)
    }
}

/// What replaces the normal answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Reply { code: u16, enhanced: String, text: String },
    Http { status: u16, code: Option<u32>, message: Option<String>, retry_after: Option<u64> },
    Hang { when: When, limit: Duration },
    Close { when: When },
}

/// What goes wrong with the status callbacks of an accepted text message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallbackFault {
    pub lost: Option<Vec<String>>,
    pub copies: u32,
    pub reordered: bool,
    pub late: Duration,
}

/// What the receiver has to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    pub delay: Duration,
    pub action: Option<Action>,
    pub callbacks: CallbackFault,
    /// Error code with which an accepted text message fails later.
    pub outcome: Option<u32>,
    /// Rules whose `seen` goes up by one.
    pub seen: Vec<usize>,
    /// Rules whose `applied` goes up by one.
    pub applied: Vec<usize>,
}

/// Decides. `draw(n)` gives the next number in `0..1` of rule `n`'s own sequence; it is called
/// only for rules that need chance, so a rule's story does not depend on the other rules.
///
/// Delays add up; of the effects that replace the answer the first one wins and the others are
/// not used up.
pub fn decide(
    rules: &[Counted],
    facts: &Facts<'_>,
    mut draw: impl FnMut(usize) -> f64,
) -> Decision {
    let mut decision = Decision::default();
    for (index, counted) in rules.iter().enumerate() {
        let rule = &counted.rule;
        if counted.exhausted() || !concerns(rule, facts) {
            continue;
        }
        decision.seen.push(index);
        let turn = rule.matching.every.is_none_or(|n| (counted.seen + 1).is_multiple_of(n));
        if !turn || rule.matching.probability.is_some_and(|p| draw(index) >= p) {
            continue;
        }
        if apply(&rule.effect, &mut decision, || draw(index)) {
            decision.applied.push(index);
        }
    }
    decision.delay = decision.delay.min(Duration::from_millis(MAX_DELAY_MS));
    decision
}

fn concerns(rule: &Rule, facts: &Facts<'_>) -> bool {
    rule.channel == facts.channel
        && rule.effect.stage(rule.channel) == facts.stage
        && rule.matching.recipient.as_deref().is_none_or(|part| {
            let part = part.to_lowercase();
            facts.recipients.iter().any(|recipient| recipient.to_lowercase().contains(&part))
        })
}

/// Adds one effect; false if an earlier rule has already replaced the answer.
fn apply(effect: &Effect, decision: &mut Decision, draw: impl FnMut() -> f64) -> bool {
    let action = match effect {
        Effect::Delay { delay, .. } => {
            decision.delay = decision.delay.saturating_add(sample(*delay, draw));
            return true;
        }
        Effect::Callbacks { mode } => {
            misdirect(mode, &mut decision.callbacks);
            return true;
        }
        Effect::Outcome { error_code } => {
            let free = decision.outcome.is_none();
            decision.outcome.get_or_insert(*error_code);
            return free;
        }
        Effect::Reply { code, enhanced, text, .. } => Action::Reply {
            code: *code,
            enhanced: enhanced.clone().unwrap_or_else(|| format!("{}.0.0", code / 100)),
            text: text.clone().unwrap_or_else(|| "scripted fault".to_owned()),
        },
        Effect::Http { status, code, message, retry_after } => Action::Http {
            status: *status,
            code: *code,
            message: message.clone(),
            retry_after: *retry_after,
        },
        Effect::Hang { when, ms, .. } => {
            Action::Hang { when: *when, limit: ms.map_or(DEFAULT_HANG, Duration::from_millis) }
        }
        Effect::Close { when, .. } => Action::Close { when: *when },
    };
    if decision.action.is_some() {
        return false;
    }
    decision.action = Some(action);
    true
}

fn misdirect(mode: &CallbackMode, fault: &mut CallbackFault) {
    match mode {
        CallbackMode::Lost { statuses } => fault.lost = Some(statuses.clone()),
        CallbackMode::Duplicated { copies } => fault.copies = *copies,
        CallbackMode::Reordered => fault.reordered = true,
        CallbackMode::Late { ms } => fault.late += Duration::from_millis(*ms),
    }
}

/// One delay from its distribution, never longer than the limit.
fn sample(delay: Delay, mut draw: impl FnMut() -> f64) -> Duration {
    let ms = match delay {
        Delay::Fixed { ms } => return Duration::from_millis(ms),
        Delay::Uniform { min_ms, max_ms } => {
            min_ms as f64 + draw() * max_ms.saturating_sub(min_ms) as f64
        }
        Delay::Lognormal { median_ms, sigma } => {
            // Box-Muller: two even draws make one normal one. 1 - u keeps the logarithm finite.
            let radius = (-2.0 * (1.0 - draw()).ln()).sqrt();
            let normal = radius * (std::f64::consts::TAU * draw()).cos();
            median_ms * (sigma * normal).exp()
        }
    };
    Duration::from_secs_f64(ms.clamp(0.0, MAX_DELAY_MS as f64) / 1_000.0)
}
