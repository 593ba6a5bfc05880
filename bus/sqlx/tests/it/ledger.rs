//! The ledger: one holder at a time, and nobody sends again blindly. The clock is a parameter.

use std::time::Duration;

use campana_bus::clock::{self, Micros};
use campana_bus::consume::Failure;
use campana_bus_sqlx::{Begin, Call, Fence, Ledger, LedgerError, SendError, Sent};
use futures::future::join_all;
use sqlx::Pool;

use crate::databases::TestDb;

const LEASE: Duration = Duration::from_secs(30);
const T0: Micros = Micros(1_800_000_000_000_000);

pub async fn suite<DB: TestDb>(pool: &Pool<DB>) {
    a_call_is_made_once(pool).await;
    one_of_many_holders_goes(pool).await;
    a_lost_call_is_unknown_and_its_holder_is_fenced_out(pool).await;
    what_is_unknown_stays_unknown_until_somebody_knows(pool).await;
    a_result_commits_with_what_follows_from_it(pool).await;
    a_whole_call(pool).await;
    what_is_unknown_is_not_pruned(pool).await;
}

async fn go<DB: TestDb>(ledger: &Ledger, pool: &Pool<DB>, key: &str, now: Micros) -> Fence {
    match ledger.begin(pool, key, 1, LEASE, now).await.unwrap() {
        Begin::Go(fence) => fence,
        other => panic!("{other:?}"),
    }
}

async fn a_call_is_made_once<DB: TestDb>(pool: &Pool<DB>) {
    let ledger = Ledger::new("once");
    let fence = go(&ledger, pool, "k", T0).await;
    let until = T0.plus_seconds(30);
    let answer = ledger.begin(pool, "k", 2, LEASE, T0.plus_seconds(29)).await.unwrap();
    assert_eq!(answer, Begin::InFlight { until });
    ledger.finish(pool, &fence, b"receipt \0 1").await.unwrap();
    let later = T0.plus_seconds(1_000_000);
    let answer = ledger.begin(pool, "k", 3, LEASE, later).await.unwrap();
    assert_eq!(answer, Begin::Done { result: b"receipt \0 1".to_vec() });
    // Another kind of call has keys of its own.
    go(&Ledger::new("twice"), pool, "k", T0).await;
    let stale = ledger.finish(pool, &fence, b"another").await;
    assert!(matches!(stale, Err(LedgerError::Stale { fence: 1 })), "a result is written once");
    let large = ledger.finish(pool, &fence, &vec![0; 70_000]).await;
    assert!(matches!(large, Err(LedgerError::TooLarge { bytes: 70_000 })));
}

async fn one_of_many_holders_goes<DB: TestDb>(pool: &Pool<DB>) {
    let ledger = Ledger::new("many");
    for round in 0..5 {
        let key = format!("k{round}");
        let begin = |now| {
            let (ledger, key) = (&ledger, &key);
            async move { ledger.begin(pool, key, 1, LEASE, now).await.unwrap() }
        };
        let answers = join_all((0..6).map(|_| begin(T0))).await;
        let went = answers.iter().filter(|answer| matches!(answer, Begin::Go(_))).count();
        let waits = answers.iter().filter(|a| matches!(a, Begin::InFlight { .. })).count();
        assert_eq!((went, waits), (1, 5), "{answers:?}");
        let answers = join_all((0..6).map(|_| begin(T0.plus_seconds(30)))).await;
        let took = answers.iter().filter(|a| matches!(a, Begin::Unknown { .. })).count();
        let waits = answers.iter().filter(|a| matches!(a, Begin::InFlight { .. })).count();
        assert_eq!((took, waits), (1, 5), "one of them has to find out: {answers:?}");
    }
}

async fn a_lost_call_is_unknown_and_its_holder_is_fenced_out<DB: TestDb>(pool: &Pool<DB>) {
    let ledger = Ledger::new("lost");
    let lost = go(&ledger, pool, "k", T0).await;
    let answer = ledger.begin(pool, "k", 2, LEASE, T0.plus_seconds(30)).await.unwrap();
    let Begin::Unknown { fence, attempt: 1 } = answer else { panic!("{answer:?}") };
    assert!(fence.number() > lost.number());
    // The first holder was only slow: nothing that it says counts any more.
    for stale in [
        ledger.finish(pool, &lost, b"late").await,
        ledger.not_sent(pool, &lost).await,
        ledger.leave_unknown(pool, &lost).await,
    ] {
        assert!(matches!(stale, Err(LedgerError::Stale { fence: 1 })), "{stale:?}");
    }
    // The other side says that nothing arrived: the next one may send.
    ledger.not_sent(pool, &fence).await.unwrap();
    let again = go(&ledger, pool, "k", T0.plus_seconds(31)).await;
    assert!(again.number() > fence.number());
    ledger.finish(pool, &again, b"done").await.unwrap();
}

async fn what_is_unknown_stays_unknown_until_somebody_knows<DB: TestDb>(pool: &Pool<DB>) {
    let ledger = Ledger::new("unknown");
    go(&ledger, pool, "k", T0).await;
    let mut now = T0.plus_seconds(30);
    for attempt in 2..6 {
        let answer = ledger.begin(pool, "k", attempt, LEASE, now).await.unwrap();
        let Begin::Unknown { fence, attempt: 1 } = answer else { panic!("{answer:?}") };
        ledger.leave_unknown(pool, &fence).await.unwrap();
        now = now.plus_seconds(1);
    }
    let answer = ledger.begin(pool, "k", 9, LEASE, now).await.unwrap();
    let Begin::Unknown { fence, .. } = answer else { panic!("{answer:?}") };
    ledger.finish(pool, &fence, b"found").await.unwrap();
    let answer = ledger.begin(pool, "k", 9, LEASE, now).await.unwrap();
    assert_eq!(answer, Begin::Done { result: b"found".to_vec() });
}

async fn a_result_commits_with_what_follows_from_it<DB: TestDb>(pool: &Pool<DB>) {
    let ledger = Ledger::new("together");
    let fence = go(&ledger, pool, "k", T0).await;
    for commits in [false, true] {
        let mut tx = pool.begin().await.unwrap();
        ledger.finish_in(&mut tx, &fence, b"r").await.unwrap();
        DB::run(&mut tx, "INSERT INTO effects (name) VALUES ('together')").await.unwrap();
        if commits { tx.commit().await } else { tx.rollback().await }.unwrap();
        let rows = DB::number(pool, "SELECT COUNT(*) FROM effects WHERE name = 'together'").await;
        assert_eq!(rows, i64::from(commits));
        let answer = ledger.begin(pool, "k", 2, LEASE, T0).await.unwrap();
        assert_eq!(matches!(answer, Begin::Done { .. }), commits);
    }
}

async fn a_whole_call<DB: TestDb>(pool: &Pool<DB>) {
    let ledger = Ledger::new("whole");
    let call = |key| Call { key, attempt: 1, lease: LEASE };
    let never_send = async |_: Fence| -> Result<Vec<u8>, SendError> { panic!("not to be sent") };
    let never_ask = async |_: Fence| -> Sent { panic!("not to be asked") };

    let refused = async |_: Fence| Err(SendError::NotSent(Failure::retry("away")));
    let answer = ledger.call(pool, call("a"), refused, never_ask).await;
    assert_eq!(answer, Err(Failure::retry("away")));
    let sent = async |_: Fence| Ok(b"receipt".to_vec());
    let answer = ledger.call(pool, call("a"), sent, never_ask).await;
    assert_eq!(answer.as_deref(), Ok(&b"receipt"[..]));
    let answer = ledger.call(pool, call("a"), never_send, never_ask).await;
    assert_eq!(answer.as_deref(), Ok(&b"receipt"[..]), "the result of the first attempt");

    // The answer was lost: within the lease nobody does anything, after it the other side is asked.
    let lost = async |_: Fence| Err(SendError::Unknown("time-out".to_owned()));
    let answer = ledger.call(pool, call("b"), lost, never_ask).await;
    assert_eq!(answer, Err(Failure::retry_after(LEASE, "time-out")));
    let answer = ledger.call(pool, call("b"), never_send, never_ask).await;
    assert!(matches!(answer, Err(Failure::Defer { .. })), "{answer:?}");
    let expire = "UPDATE campana_ledger SET lease_until = 0 WHERE scope = 'whole'";
    DB::run_all(pool, expire).await;
    let cannot_tell = async |_: Fence| Sent::CannotTell;
    let answer = ledger.call(pool, call("b"), never_send, cannot_tell).await;
    assert!(matches!(answer, Err(Failure::Dead { reason, .. }) if reason == "outcome_unknown"));
    // Redriven by a person: asked again at once.
    let not_there = async |_: Fence| Sent::No;
    let sent = async |_: Fence| Ok(b"second".to_vec());
    let answer = ledger.call(pool, call("b"), sent, not_there).await;
    assert_eq!(answer.as_deref(), Ok(&b"second"[..]));

    let lost = async |_: Fence| Err(SendError::Unknown("time-out".to_owned()));
    ledger.call(pool, call("c"), lost, never_ask).await.unwrap_err();
    DB::run_all(pool, expire).await;
    let found = async |_: Fence| Sent::Yes(b"it was charged".to_vec());
    let answer = ledger.call(pool, call("c"), never_send, found).await;
    assert_eq!(answer.as_deref(), Ok(&b"it was charged"[..]));
}

async fn what_is_unknown_is_not_pruned<DB: TestDb>(pool: &Pool<DB>) {
    let ledger = Ledger::new("prune");
    let now = clock::now();
    let done = go(&ledger, pool, "done", now).await;
    ledger.finish(pool, &done, b"").await.unwrap();
    go(&ledger, pool, "sending", now).await;
    DB::run_all(pool, "UPDATE campana_ledger SET changed_at = 1 WHERE scope = 'prune'").await;
    assert_eq!(Ledger::prune(pool, Duration::from_secs(60)).await.unwrap(), 1);
    let left = "SELECT COUNT(*) FROM campana_ledger WHERE scope = 'prune' AND call_key = 'sending'";
    assert_eq!(DB::number(pool, left).await, 1);
}
