//! Every row of the tables.

use MessageAction::{Fail, Hold, Retry, RetrySlow};

use super::*;

type Wanted = (MessageAction, RecipientAction, ProviderAction);
const NO_NEWS: RecipientAction = RecipientAction::None;
const SUPPRESS: RecipientAction = RecipientAction::Suppress;
const WORKS: ProviderAction = ProviderAction::None;
const BREAKER: ProviderAction = ProviderAction::Breaker;
const SLOW: ProviderAction = ProviderAction::Slow;

fn check(signal: &Signal, wanted: Wanted, reason: &str) {
    let class = classify(signal);
    assert_eq!((class.message, class.recipient, class.provider), wanted, "{signal:?}");
    assert_eq!(class.reason, reason);
}

#[test]
fn smtp_replies() {
    for (reply, wanted, reason) in [
        ("421 Service not available", (Retry, NO_NEWS, BREAKER), "smtp_421"),
        ("421 4.7.0 Try again later", (Retry, NO_NEWS, SLOW), "smtp_4.7.0"),
        ("451 4.3.0 Local error", (Retry, NO_NEWS, BREAKER), "smtp_4.3.0"),
        ("450 4.4.2 Bad connection", (Retry, NO_NEWS, BREAKER), "smtp_4.4.2"),
        ("450 4.2.1 Receiving too fast", (RetrySlow, NO_NEWS, WORKS), "smtp_4.2.1"),
        ("452 4.2.2 Mailbox full", (RetrySlow, NO_NEWS, WORKS), "smtp_4.2.2"),
        ("552 5.2.2 Mailbox full", (Fail, NO_NEWS, WORKS), "smtp_5.2.2"),
        ("452 4.5.3 Too many recipients", (Retry, NO_NEWS, WORKS), "smtp_4.5.3"),
        ("450 4.7.28 Rate", (Retry, NO_NEWS, SLOW), "smtp_4.7.28"),
        ("451 4.7.1 Greylisted", (RetrySlow, NO_NEWS, WORKS), "smtp_4.7.1"),
        ("454 4.7.0 Temporary authentication failure", (Hold, NO_NEWS, BREAKER), "smtp_4.7.0"),
        ("530 5.7.0 Authentication required", (Hold, NO_NEWS, BREAKER), "smtp_5.7.0"),
        ("534 5.7.9 Mechanism too weak", (Hold, NO_NEWS, BREAKER), "smtp_5.7.9"),
        ("535 5.7.8 Bad credentials", (Hold, NO_NEWS, BREAKER), "smtp_5.7.8"),
        ("535 Bad credentials", (Hold, NO_NEWS, BREAKER), "smtp_535"),
        ("550 5.4.5 Daily sending quota exceeded", (Hold, NO_NEWS, SLOW), "smtp_5.4.5"),
        ("550 5.1.1 No such user", (Fail, SUPPRESS, WORKS), "smtp_5.1.1"),
        ("550 5.1.2 No such domain", (Fail, SUPPRESS, WORKS), "smtp_5.1.2"),
        ("501 5.1.3 Bad address", (Fail, SUPPRESS, WORKS), "smtp_5.1.3"),
        ("550 5.1.10 Null MX", (Fail, SUPPRESS, WORKS), "smtp_5.1.10"),
        ("550 5.2.1 Disabled", (Fail, SUPPRESS, WORKS), "smtp_5.2.1"),
        ("552 5.3.4 Too big", (Fail, NO_NEWS, WORKS), "smtp_5.3.4"),
        ("554 5.6.0 Bad message", (Fail, NO_NEWS, WORKS), "smtp_5.6.0"),
        ("550 5.7.1 Policy", (Fail, NO_NEWS, WORKS), "smtp_5.7.1"),
        ("550 5.7.26 Unauthenticated", (Fail, NO_NEWS, WORKS), "smtp_5.7.26"),
        ("450 4.9.9 Unheard of", (Retry, NO_NEWS, WORKS), "smtp_4.9.9"),
        ("550 5.9.9 Unheard of", (Fail, NO_NEWS, WORKS), "smtp_5.9.9"),
        ("452 Insufficient storage", (Retry, NO_NEWS, BREAKER), "smtp_452"),
        ("450 Busy", (Retry, NO_NEWS, WORKS), "smtp_450"),
        ("550 No", (Fail, NO_NEWS, WORKS), "smtp_550"),
    ] {
        let code = reply[..3].parse().unwrap();
        check(&Signal::Smtp { code, enhanced: find_enhanced(&reply[3..]) }, wanted, reason);
    }
}

#[test]
fn greylisting_and_quota_wait_long_enough() {
    let wait = |code, enhanced| classify(&Signal::Smtp { code, enhanced: Some(enhanced) }).wait;
    assert!(wait(451, Enhanced(4, 7, 1)) >= Duration::from_secs(300));
    assert!(wait(550, Enhanced(5, 4, 5)) >= Duration::from_secs(3_600));
}

#[test]
fn twilio_answers() {
    const OPTED_OUT: RecipientAction = RecipientAction::OptedOut;
    for (status, code, wanted, reason) in [
        (400, Some(21_211), (Fail, SUPPRESS, WORKS), "twilio_21211"),
        (400, Some(21_614), (Fail, SUPPRESS, WORKS), "twilio_21614"),
        (400, Some(21_610), (Fail, OPTED_OUT, WORKS), "twilio_21610"),
        (400, Some(30_005), (Fail, SUPPRESS, WORKS), "twilio_30005"),
        (400, Some(30_006), (Fail, SUPPRESS, WORKS), "twilio_30006"),
        (400, Some(30_003), (RetrySlow, NO_NEWS, WORKS), "twilio_30003"),
        (400, Some(30_008), (RetrySlow, NO_NEWS, WORKS), "twilio_30008"),
        (400, Some(30_001), (RetrySlow, NO_NEWS, SLOW), "twilio_30001"),
        (429, Some(21_611), (RetrySlow, NO_NEWS, SLOW), "twilio_21611"),
        (429, Some(20_429), (Retry, NO_NEWS, SLOW), "twilio_20429"),
        (429, None, (Retry, NO_NEWS, SLOW), "twilio_http_429"),
        (400, Some(14_107), (Retry, NO_NEWS, SLOW), "twilio_14107"),
        (400, Some(30_007), (Fail, NO_NEWS, WORKS), "twilio_30007"),
        (400, Some(30_004), (Fail, NO_NEWS, WORKS), "twilio_30004"),
        (400, Some(21_617), (Fail, NO_NEWS, WORKS), "twilio_21617"),
        (400, Some(63_016), (Fail, NO_NEWS, WORKS), "twilio_63016"),
        (401, Some(20_003), (Hold, NO_NEWS, BREAKER), "twilio_20003"),
        (400, Some(21_606), (Hold, NO_NEWS, BREAKER), "twilio_21606"),
        (400, Some(21_212), (Hold, NO_NEWS, BREAKER), "twilio_21212"),
        (400, Some(30_002), (Hold, NO_NEWS, BREAKER), "twilio_30002"),
        (400, Some(30_034), (Hold, NO_NEWS, BREAKER), "twilio_30034"),
        (400, Some(21_408), (Fail, NO_NEWS, WORKS), "twilio_21408"),
        (400, Some(21_608), (Fail, NO_NEWS, WORKS), "twilio_21608"),
        (401, None, (Hold, NO_NEWS, BREAKER), "twilio_http_401"),
        (400, None, (Fail, NO_NEWS, WORKS), "twilio_http_400"),
        (503, None, (Retry, NO_NEWS, BREAKER), "twilio_http_503_unconfirmed"),
    ] {
        check(&Signal::Twilio { status, code }, wanted, reason);
    }
    assert!(classify(&Signal::Twilio { status: 500, code: None }).unconfirmed);
    assert!(!classify(&Signal::Twilio { status: 400, code: None }).unconfirmed);
}

#[test]
fn webhook_statuses() {
    for (status, wanted) in [
        (301, (Fail, NO_NEWS, WORKS)),
        (400, (Fail, NO_NEWS, WORKS)),
        (401, (RetrySlow, NO_NEWS, WORKS)),
        (404, (RetrySlow, NO_NEWS, WORKS)),
        (408, (Retry, NO_NEWS, BREAKER)),
        (410, (Fail, SUPPRESS, WORKS)),
        (413, (Fail, NO_NEWS, WORKS)),
        (422, (Fail, NO_NEWS, WORKS)),
        (425, (Retry, NO_NEWS, WORKS)),
        (429, (Retry, NO_NEWS, SLOW)),
        (500, (Retry, NO_NEWS, BREAKER)),
        (501, (Fail, NO_NEWS, WORKS)),
        (502, (Retry, NO_NEWS, SLOW)),
        (503, (Retry, NO_NEWS, SLOW)),
        (504, (Retry, NO_NEWS, SLOW)),
        (599, (Retry, NO_NEWS, BREAKER)),
        (999, (Fail, NO_NEWS, WORKS)),
    ] {
        check(&Signal::Webhook { status }, wanted, &format!("http_{status}"));
    }
}

#[test]
fn silence_is_retried_and_marked() {
    let lost = |unconfirmed| Signal::Lost { protocol: "smtp", unconfirmed };
    check(&lost(false), (Retry, NO_NEWS, BREAKER), "smtp_no_answer");
    check(&lost(true), (Retry, NO_NEWS, BREAKER), "smtp_unconfirmed");
    check(&Signal::Refused("bad_address"), (Fail, NO_NEWS, WORKS), "bad_address");
    check(&Signal::Misconfigured("smtp_tls_failed"), (Hold, NO_NEWS, BREAKER), "smtp_tls_failed");
    check(&Signal::NotReady("store_away"), (Hold, NO_NEWS, WORKS), "store_away");
}

#[test]
fn enhanced_codes_are_found_and_ip_addresses_are_not_taken_for_one() {
    assert_eq!(find_enhanced("5.1.1 no"), Some(Enhanced(5, 1, 1)));
    assert_eq!(find_enhanced("[192.0.2.1] 4.7.28 rate"), Some(Enhanced(4, 7, 28)));
    assert_eq!(find_enhanced("No such user 5.1.1: rejected"), Some(Enhanced(5, 1, 1)));
    for text in ["", "no", "5.1", "3.1.1", "5.1.1.1", "5.1111.1", "5..1"] {
        assert_eq!(find_enhanced(text), None, "{text}");
    }
}
