//! The tables of provider answers: data, so that a new code is a new line.
//! Reads: nothing. Writes: nothing. Never: decides anything that is not in a row.
//!
//! Sources: RFC 5321, RFC 3463 and the lists that Google and Twilio publish; Twilio itself warns that codes
//! shift. The first row that fits wins, so special rows stand before general ones.

use super::classify::{
    Enhanced,
    MessageAction::{self, Fail, Hold, Retry, RetrySlow},
    ProviderAction::{self, Breaker, Slow},
    RecipientAction::{self, OptedOut, Suppress},
};

const NO_NEWS: RecipientAction = RecipientAction::None;
const WORKS: ProviderAction = ProviderAction::None;

/// What a code means.
pub(super) struct Row {
    pub(super) message: MessageAction,
    pub(super) recipient: RecipientAction,
    pub(super) provider: ProviderAction,
    /// The least time before the next attempt.
    pub(super) wait_seconds: u64,
}

const fn row(
    message: MessageAction,
    recipient: RecipientAction,
    provider: ProviderAction,
    wait_seconds: u64,
) -> Row {
    Row { message, recipient, provider, wait_seconds }
}

/// No answer, and the provider cannot have the message.
pub(super) const LOST: Row = row(Retry, NO_NEWS, Breaker, 0);
/// No answer, and the provider may have the message: give a callback time to tell.
pub(super) const LOST_UNCONFIRMED: Row = row(Retry, NO_NEWS, Breaker, 30);
/// We refuse ourselves.
pub(super) const REFUSED: Row = row(Fail, NO_NEWS, WORKS, 0);
/// Somebody has to repair a setting; no attempt is burnt meanwhile.
pub(super) const MISCONFIGURED: Row = row(Hold, NO_NEWS, Breaker, 60);
/// Something of ours did not answer.
pub(super) const NOT_READY: Row = row(Hold, NO_NEWS, WORKS, 5);

/// `*` in an enhanced pattern fits any number.
struct SmtpRow {
    code: Option<u16>,
    enhanced: Option<&'static str>,
    row: Row,
}

const fn smtp_row(code: Option<u16>, enhanced: Option<&'static str>, row: Row) -> SmtpRow {
    SmtpRow { code, enhanced, row }
}

static SMTP: &[SmtpRow] = &[
    // Daily quota of the account: nothing is wrong with message or recipient.
    smtp_row(Some(550), Some("5.4.5"), row(Hold, NO_NEWS, Slow, 3_600)),
    // Greylisting: come back later with the same envelope.
    smtp_row(Some(451), Some("4.7.1"), row(RetrySlow, NO_NEWS, WORKS, 600)),
    // Authentication: ours to repair; no attempt is burnt.
    smtp_row(Some(454), Some("4.7.0"), row(Hold, NO_NEWS, Breaker, 60)),
    smtp_row(Some(530), None, row(Hold, NO_NEWS, Breaker, 60)),
    smtp_row(Some(534), None, row(Hold, NO_NEWS, Breaker, 60)),
    smtp_row(Some(535), None, row(Hold, NO_NEWS, Breaker, 60)),
    smtp_row(None, Some("5.7.8"), row(Hold, NO_NEWS, Breaker, 60)),
    smtp_row(None, Some("5.7.9"), row(Hold, NO_NEWS, Breaker, 60)),
    // Mailboxes.
    smtp_row(None, Some("4.2.1"), row(RetrySlow, NO_NEWS, WORKS, 600)),
    smtp_row(None, Some("4.2.2"), row(RetrySlow, NO_NEWS, WORKS, 3_600)),
    smtp_row(None, Some("5.2.2"), row(Fail, NO_NEWS, WORKS, 0)),
    smtp_row(None, Some("4.5.3"), row(Retry, NO_NEWS, WORKS, 0)),
    // Rate and reputation.
    smtp_row(None, Some("4.7.0"), row(Retry, NO_NEWS, Slow, 60)),
    smtp_row(None, Some("4.7.28"), row(Retry, NO_NEWS, Slow, 60)),
    // The relay or its network.
    smtp_row(None, Some("4.3.*"), row(Retry, NO_NEWS, Breaker, 0)),
    smtp_row(None, Some("4.4.*"), row(Retry, NO_NEWS, Breaker, 0)),
    // The address is bad for good.
    smtp_row(None, Some("5.1.1"), row(Fail, Suppress, WORKS, 0)),
    smtp_row(None, Some("5.1.2"), row(Fail, Suppress, WORKS, 0)),
    smtp_row(None, Some("5.1.3"), row(Fail, Suppress, WORKS, 0)),
    smtp_row(None, Some("5.1.10"), row(Fail, Suppress, WORKS, 0)),
    smtp_row(None, Some("5.2.1"), row(Fail, Suppress, WORKS, 0)),
    // The message is bad, or a policy refuses us: the recipient may be fine.
    smtp_row(None, Some("5.3.4"), row(Fail, NO_NEWS, WORKS, 0)),
    smtp_row(None, Some("5.6.*"), row(Fail, NO_NEWS, WORKS, 0)),
    smtp_row(None, Some("5.7.*"), row(Fail, NO_NEWS, WORKS, 0)),
    smtp_row(Some(421), None, row(Retry, NO_NEWS, Breaker, 0)),
    smtp_row(None, Some("4.*.*"), row(Retry, NO_NEWS, WORKS, 0)),
    smtp_row(None, Some("5.*.*"), row(Fail, NO_NEWS, WORKS, 0)),
    // No enhanced code.
    smtp_row(Some(452), None, row(Retry, NO_NEWS, Breaker, 60)),
];

static SMTP_TRANSIENT: Row = row(Retry, NO_NEWS, WORKS, 0);
static SMTP_PERMANENT: Row = row(Fail, NO_NEWS, WORKS, 0);

pub(super) fn smtp(code: u16, enhanced: Option<Enhanced>) -> &'static Row {
    let fits = |candidate: &&SmtpRow| {
        candidate.code.is_none_or(|wanted| wanted == code)
            && candidate.enhanced.is_none_or(|pattern| {
                enhanced.is_some_and(|enhanced| fits_pattern(pattern, enhanced))
            })
    };
    SMTP.iter()
        .find(fits)
        .map_or(if code < 500 { &SMTP_TRANSIENT } else { &SMTP_PERMANENT }, |found| &found.row)
}

fn fits_pattern(pattern: &str, Enhanced(class, subject, detail): Enhanced) -> bool {
    pattern
        .split('.')
        .zip([class, subject, detail])
        .all(|(wanted, number)| wanted == "*" || wanted.parse() == Ok(number))
}

static TWILIO: &[(u32, Row)] = &[
    // The number is bad for good.
    (21_211, row(Fail, Suppress, WORKS, 0)),
    (21_614, row(Fail, Suppress, WORKS, 0)),
    (30_005, row(Fail, Suppress, WORKS, 0)),
    (30_006, row(Fail, Suppress, WORKS, 0)),
    // The person said STOP.
    (21_610, row(Fail, OptedOut, WORKS, 0)),
    // Out of reach for now; queues that are full.
    (30_003, row(RetrySlow, NO_NEWS, WORKS, 1_800)),
    (30_008, row(RetrySlow, NO_NEWS, WORKS, 1_800)),
    (30_001, row(RetrySlow, NO_NEWS, Slow, 600)),
    (21_611, row(RetrySlow, NO_NEWS, Slow, 600)),
    // Too fast.
    (20_429, row(Retry, NO_NEWS, Slow, 1)),
    (14_107, row(Retry, NO_NEWS, Slow, 30)),
    // The text.
    (30_007, row(Fail, NO_NEWS, WORKS, 0)),
    (30_004, row(Fail, NO_NEWS, WORKS, 0)),
    (21_617, row(Fail, NO_NEWS, WORKS, 0)),
    (63_016, row(Fail, NO_NEWS, WORKS, 0)),
    // The account or its sender: ours to repair; no attempt is burnt.
    (20_003, row(Hold, NO_NEWS, Breaker, 60)),
    (21_606, row(Hold, NO_NEWS, Breaker, 60)),
    (21_212, row(Hold, NO_NEWS, Breaker, 60)),
    (30_002, row(Hold, NO_NEWS, Breaker, 60)),
    (30_034, row(Hold, NO_NEWS, Breaker, 60)),
    // A region that is not switched on and a trial account are settings too, but they concern this number
    // only: stopping the provider would let one number stop everybody's messages.
    (21_408, row(Fail, NO_NEWS, WORKS, 0)),
    (21_608, row(Fail, NO_NEWS, WORKS, 0)),
];

static TWILIO_RATE: Row = row(Retry, NO_NEWS, Slow, 1);
static TWILIO_SETTINGS: Row = row(Hold, NO_NEWS, Breaker, 60);

pub(super) fn twilio(status: u16, code: Option<u32>) -> &'static Row {
    let by_code = code.and_then(|code| TWILIO.iter().find(|(known, _)| *known == code));
    if let Some((_, found)) = by_code {
        return found;
    }
    match status {
        429 => &TWILIO_RATE,
        401 | 403 | 404 => &TWILIO_SETTINGS,
        500.. => &LOST_UNCONFIRMED,
        _ => &REFUSED,
    }
}

/// From the first status to the last one.
static WEBHOOK: &[(u16, u16, Row)] = &[
    // Redirects are not followed.
    (300, 399, row(Fail, NO_NEWS, WORKS, 0)),
    // The endpoint is gone for good.
    (410, 410, row(Fail, Suppress, WORKS, 0)),
    (429, 429, row(Retry, NO_NEWS, Slow, 1)),
    (408, 408, row(Retry, NO_NEWS, Breaker, 0)),
    (425, 425, row(Retry, NO_NEWS, WORKS, 0)),
    // A receiver that is being set up or deployed.
    (401, 401, row(RetrySlow, NO_NEWS, WORKS, 60)),
    (403, 404, row(RetrySlow, NO_NEWS, WORKS, 60)),
    (409, 409, row(Retry, NO_NEWS, WORKS, 0)),
    (423, 424, row(Retry, NO_NEWS, WORKS, 0)),
    // The same body gets the same answer.
    (400, 499, row(Fail, NO_NEWS, WORKS, 0)),
    (501, 501, row(Fail, NO_NEWS, WORKS, 0)),
    (505, 505, row(Fail, NO_NEWS, WORKS, 0)),
    (502, 504, row(Retry, NO_NEWS, Slow, 1)),
    (500, 599, row(Retry, NO_NEWS, Breaker, 0)),
];

pub(super) fn webhook(status: u16) -> &'static Row {
    WEBHOOK
        .iter()
        .find(|(first, last, _)| (*first..=*last).contains(&status))
        .map_or(&REFUSED, |(.., found)| found)
}
