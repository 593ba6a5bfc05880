//! A source that answers, hangs, fails and comes back, and strangers who try to make us hammer it.

use proptest::prelude::*;

use super::*;

const START: i64 = 1_800_000_000;

fn source() -> JwksRefresh {
    JwksRefresh::new(RefreshOptions::default(), 0)
}

#[test]
fn a_good_document_lives_its_time_and_no_longer_than_its_source_says() {
    let mut source = source();
    assert_eq!(source.standing(START), Standing::Missing);
    assert!(source.due(START), "the first time at once");
    assert!(!source.due(START), "it runs already");
    source.succeeded(START + 1, None);
    assert_eq!(source.standing(START + 3_600), Standing::Fresh);
    assert!(!source.due(START + 3_600));
    assert_eq!(source.due_at(START + 1), START + 3_601);
    assert!(source.due(START + 3_601));
    source.succeeded(START + 3_601, Some(60));
    assert_eq!(source.due_at(START + 3_601), START + 3_661);
    assert!(source.due(START + 3_661));
    source.succeeded(START + 3_661, Some(0));
    assert_eq!(source.due_at(START + 3_661), START + 3_691, "never all the time");
    assert!(source.due(START + 3_691));
    source.succeeded(START + 3_691, Some(i64::MAX));
    assert_eq!(source.due_at(START + 3_691), START + 3_691 + 3_600);
}

#[test]
fn unknown_keys_fetch_at_most_once_per_interval() {
    let mut source = source();
    assert!(source.unknown_key(START));
    source.succeeded(START, None);
    let fetches = (0..300).filter(|second| {
        let fetch = source.unknown_key(START + second);
        if fetch {
            source.succeeded(START + second, None);
        }
        fetch
    });
    assert_eq!(fetches.count(), 9, "after 30, 60, … 270 seconds");
}

#[test]
fn a_source_that_is_down_is_asked_less_and_less_and_its_keys_are_kept_for_a_while() {
    let mut source = source();
    assert!(source.due(START));
    source.succeeded(START, None);
    let mut tries = Vec::new();
    for second in 3_600..4_000 {
        if source.due(START + second) {
            tries.push(second);
            source.failed();
        }
    }
    assert_eq!(tries[..7], [3_600, 3_602, 3_606, 3_614, 3_630, 3_662, 3_722]);
    assert_eq!(source.standing(START + 4_000), Standing::Stale);
    assert_eq!(source.standing(START + 3_600 + 86_399), Standing::Stale);
    assert_eq!(source.standing(START + 3_600 + 86_400), Standing::TooOld);
    assert!(source.due(START + 100_000));
    source.succeeded(START + 100_000, None);
    assert_eq!(source.standing(START + 100_000), Standing::Fresh);
    assert_eq!(source.due_at(START + 100_000), START + 103_600, "failures are forgotten");
}

#[test]
fn an_attempt_that_never_ends_counts_as_failed() {
    let mut source = source();
    assert!(source.due(START));
    assert!(!source.unknown_key(START + 29));
    assert_eq!(source.due_at(START + 1), START + 30);
    assert!(source.due(START + 30));
}

#[test]
fn a_clock_set_back_stops_nothing() {
    let mut source = source();
    assert!(source.due(START));
    source.succeeded(START, None);
    assert_eq!(source.standing(START - 1), Standing::Fresh, "no key vanishes for a second");
    assert!(!source.due(START - 1) && !source.unknown_key(START - 1));
    assert_eq!(source.standing(START - 86_400), Standing::Fresh);
    assert_eq!(source.due_at(START - 86_400), START - 86_400);
    assert!(source.due(START - 86_400), "the age is not known, so look again");
    source.succeeded(START - 86_400, None);
    assert_eq!(source.standing(START - 86_400), Standing::Fresh);
}

#[test]
fn options_are_checked() {
    let ok = RefreshOptions::default();
    assert_eq!(ok.check(), Ok(()));
    assert!(RefreshOptions { ttl_seconds: 0, ..ok }.check().unwrap_err().contains("ttl_seconds"));
    assert!(RefreshOptions { retry_seconds: 61, ..ok }.check().is_err());
    assert!(RefreshOptions { stale_seconds_max: -1, ..ok }.check().is_err());
}

proptest! {
    /// Whatever happens and whoever asks: never two attempts at once, never more than the interval allows,
    /// and keys that are too old are never usable.
    #[test]
    fn the_source_is_never_hammered(
        seed: u64,
        steps in proptest::collection::vec((0_i64..200, 0_u8..4), 1..200),
    ) {
        let options = RefreshOptions::default();
        let mut source = JwksRefresh::new(options, seed);
        let (mut now, mut last, mut good) = (START, None::<i64>, None::<i64>);
        let mut running = false;
        for (pause, what) in steps {
            now += pause;
            let began = match what {
                0 => source.due(now),
                1 => source.unknown_key(now),
                2 if running => { source.succeeded(now, None); running = false; good = Some(now); false }
                3 if running => { source.failed(); running = false; false }
                _ => false,
            };
            if began {
                if let Some(last) = last {
                    prop_assert!(now - last >= 1, "twice within a second");
                    prop_assert!(!running || now - last >= options.attempt_seconds_max);
                }
                running = true;
                last = Some(now);
            }
            let usable = matches!(source.standing(now), Standing::Fresh | Standing::Stale);
            let young = good.is_some_and(|at| now - at < options.ttl_seconds + options.stale_seconds_max);
            prop_assert_eq!(usable, young);
        }
    }
}
